import { afterEach, describe, expect, test } from "@jest/globals";
import { Counter, Registry } from "prom-client";
import { type AdminOptions, AdminServer, parseAddress } from "../../controller/kube/admin.ts";
import { Initialized } from "../../controller/kube/initialized.ts";
import { createLog, silentLog } from "../../controller/kube/log.ts";

describe("the admin server", () => {
  let admin: AdminServer;
  let url: string;

  afterEach(async () => {
    await admin.close();
  });

  async function start(options: Partial<AdminOptions> = {}) {
    const initialized = new Initialized();
    const registry = new Registry();
    admin = new AdminServer({ address: "127.0.0.1:0", registry, initialized, log: silentLog, ...options });
    url = `http://127.0.0.1:${await admin.listen()}`;
    return { initialized, registry };
  }

  async function ask(path: string, init?: RequestInit): Promise<[number, string]> {
    const response = await fetch(url + path, init);
    return [response.status, await response.text()];
  }

  test("lives before it is ready, and is ready when every handle is done", async () => {
    const { initialized } = await start();
    const services = initialized.handle("list of services");
    const links = initialized.handle("list of links");
    expect(await ask("/live")).toEqual([200, "live\n"]);
    services.done();
    expect(await ask("/ready")).toEqual([503, "not ready:\n- list of links\n"]);
    links.done();
    expect(await ask("/ready?verbose")).toEqual([200, "ready\n"]);
  });

  test("is not ready while something says so, also later", async () => {
    const problems: string[] = [];
    await start({ notReady: () => problems });
    expect((await ask("/ready"))[0]).toBe(200);
    problems.push("HAProxy does not answer");
    expect(await ask("/ready")).toEqual([503, "not ready:\n- HAProxy does not answer\n"]);
  });

  test("shows the metrics of its registry", async () => {
    const { registry } = await start();
    new Counter({ name: "isthmus_writes_total", help: "Writes.", registers: [registry] }).inc(3);
    expect((await ask("/metrics"))[1]).toContain("isthmus_writes_total 3");
  });

  test("shows every part of the state as it is when asked", async () => {
    await start();
    let n = 0;
    admin.state("queue", () => ({ depth: ++n }));
    admin.state("leader", () => null);
    await ask("/state");
    expect(JSON.parse((await ask("/state"))[1])).toEqual({ queue: { depth: 2 }, leader: null });
    expect(() => admin.state("queue", () => 1)).toThrow('there is a state "queue" already');
  });

  test("answers paths of its role, and tells them when the one who asked has gone", async () => {
    await start();
    const gone = new Promise<void>((resolve) => {
      admin.route(
        "/wait",
        (signal) =>
          new Promise((answer) => {
            signal.addEventListener("abort", () => {
              resolve();
              answer({ status: 200, body: "too late" });
            });
          }),
      );
    });
    admin.route("/drain", async () => ({ status: 200, body: "drained\n" }));
    expect(await ask("/drain")).toEqual([200, "drained\n"]);
    const impatient = new AbortController();
    const asked = ask("/wait", { signal: impatient.signal }).catch((error: Error) => error.name);
    await ask("/live");
    impatient.abort();
    expect(await asked).toBe("AbortError");
    await gone;
  });

  test("says what can be asked, and that nothing can be changed", async () => {
    await start();
    expect(await ask("/")).toEqual([404, "ask for /live, /ready, /metrics or /state\n"]);
    expect(await ask("/live", { method: "POST" })).toEqual([405, "only GET is answered here\n"]);
    expect(await ask("/live", { method: "HEAD" })).toEqual([200, ""]);
  });

  test("survives a provider that throws, and logs it", async () => {
    const lines: string[] = [];
    await start({ log: createLog({ write: (line) => lines.push(line) }) });
    admin.state("broken", () => {
      throw new Error("a bug");
    });
    expect((await ask("/state"))[0]).toBe(500);
    expect(lines.join()).toContain("a bug");
    expect((await ask("/live"))[0]).toBe(200);
  });

  test("says which flag is wrong when its address is taken", async () => {
    await start();
    const port = Number(new URL(url).port);
    const options = { registry: new Registry(), initialized: new Initialized(), log: silentLog };
    const second = new AdminServer({ address: `127.0.0.1:${port}`, ...options });
    await expect(second.listen()).rejects.toThrow(`--admin-address 127.0.0.1:${port}: listen EADDRINUSE`);
  });
});

describe("an address to listen on", () => {
  test.each([
    [":9990", { host: undefined, port: 9990 }],
    ["127.0.0.1:9990", { host: "127.0.0.1", port: 9990 }],
    ["[::1]:0", { host: "::1", port: 0 }],
    ["localhost:80", { host: "localhost", port: 80 }],
  ])("%s", (text, expected) => {
    expect(parseAddress(text)).toEqual(expected);
  });

  test.each(["9990", "::1:9990", "localhost", ":70000", "", "http://x:1"])("is not %j", (text) => {
    expect(() => parseAddress(text)).toThrow(`${JSON.stringify(text)} is no address to listen on`);
  });
});

describe("readiness by handles", () => {
  test("comes when all handles are done, and wakes those who wait", async () => {
    const initialized = new Initialized();
    expect(initialized.ready).toBe(true);
    const [a, b] = [initialized.handle("a"), initialized.handle("b")];
    let woken = false;
    const waiting = initialized.wait().then(() => {
      woken = true;
    });
    a.done();
    a.done();
    expect([initialized.ready, woken, initialized.waitingFor()]).toEqual([false, false, ["b"]]);
    b.done();
    await waiting;
    expect(initialized.ready).toBe(true);
    await initialized.wait();
  });
});
