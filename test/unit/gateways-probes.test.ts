import { once } from "node:events";
import { createServer, type RequestListener, type Server } from "node:http";
import { type AddressInfo, createServer as createTcpServer } from "node:net";
import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { systemClock } from "../../controller/kube/clock.ts";
import { httpProbe, probeSettings } from "../../controller/mirror/gateways/probe.ts";
import { Probes, type ProbeTarget } from "../../controller/mirror/gateways/probes.ts";
import { FakeClock, settle } from "../support/fake-clock.ts";

describe("how a Link's gateways are probed", () => {
  test("is as the schema says where the Link does not", () => {
    const defaults = { port: 4191, path: "/ready", periodMs: 3_000, timeoutMs: 5_000, failureThreshold: 3 };
    expect(probeSettings({})).toEqual(defaults);
  });

  test("is as the Link says, in durations as Go writes them; the port is that of the gateway's Service, if it has one", () => {
    const probe = { path: "/live", port: 1, period: "1m30s", timeout: "1.5s", failureThreshold: 7 };
    const settings = { port: 30_191, path: "/live", periodMs: 90_000, timeoutMs: 1_500, failureThreshold: 7 };
    expect(probeSettings(probe, 30_191)).toEqual(settings);
  });

  test("is neither all the time nor never", () => {
    expect(probeSettings({ period: "1ms", timeout: "1ms" })).toMatchObject({ periodMs: 500, timeoutMs: 100 });
    const forever = { period: "9999h", timeout: "9999h" };
    expect(probeSettings(forever)).toMatchObject({ periodMs: 3_600_000, timeoutMs: 60_000 });
  });
});

describe("a probe", () => {
  const probe = httpProbe(systemClock);
  const servers: Server[] = [];
  const none = new AbortController().signal;

  afterEach(() => {
    for (const server of servers.splice(0)) {
      server.closeAllConnections();
      server.close();
    }
  });

  async function serve(listener: RequestListener): Promise<number> {
    const server = createServer(listener).listen(0, "127.0.0.1");
    servers.push(server);
    await once(server, "listening");
    return (server.address() as AddressInfo).port;
  }

  const ask = (port: number, changes: { timeout?: string; path?: string; host?: string } = {}) => {
    const { host = "127.0.0.1", ...settings } = changes;
    return probe({ ...probeSettings(settings, port), ip: "127.0.0.1", host }, none);
  };

  test("finds a gateway alive that answers 200, on a connection that is closed", async () => {
    const seen: unknown[] = [];
    const port = await serve(({ method, url, headers }, response) => {
      seen.push([method, url, headers.host, headers.connection]);
      response.end("ok");
    });
    await ask(port, { path: "/ready?full", host: "gw.example.com" });
    expect(seen).toEqual([["GET", "/ready?full", `gw.example.com:${port}`, "close"]]);
  });

  test.each([204, 301, 404, 500, 503])("finds none in an answer of %d", async (status) => {
    const port = await serve((_, response) => response.writeHead(status, { location: "/" }).end());
    await expect(ask(port)).rejects.toThrow(`127.0.0.1:${port} answers ${status}`);
  });

  test("gives up a gateway that takes the call and says nothing", async () => {
    const port = await serve(() => undefined);
    await expect(ask(port, { timeout: "500ms" })).rejects.toThrow(
      `no answer from 127.0.0.1:${port} within 500 ms`,
    );
  });

  test("says where nothing listens", async () => {
    const port = await serve(() => undefined);
    servers.splice(0).forEach((server) => void server.close());
    await expect(ask(port)).rejects.toThrow("nothing listens there");
  });

  test("says what is no HTTP", async () => {
    const server = createTcpServer((socket) => {
      socket.on("error", () => undefined);
      socket.end("SSH-2.0-OpenSSH\r\n");
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    try {
      await expect(ask((server.address() as AddressInfo).port)).rejects.toThrow();
    } finally {
      server.close();
    }
  });

  test("reads no more of a huge answer than its status, and hangs up", async () => {
    let sent = 0;
    let closed: () => void = () => undefined;
    const hungUp = new Promise<void>((resolve) => {
      closed = resolve;
    });
    const port = await serve((_, response) => {
      const chunk = Buffer.alloc(65_536);
      const more = () => {
        while (sent < 1e9 && response.write(chunk)) sent += chunk.length;
      };
      response.on("drain", more);
      response.on("close", () => closed());
      more();
    });
    await ask(port);
    await hungUp;
    expect(sent).toBeLessThan(1e9);
  });

  test("takes no answer with endless headers", async () => {
    const port = await serve((_, response) => {
      response.setHeader("x", "y".repeat(10_000));
      response.end();
    });
    await expect(ask(port)).rejects.toThrow();
  });

  test("of a path that cannot be asked for fails, and nothing else does", async () => {
    await expect(ask(1, { path: "/with space" })).rejects.toThrow();
  });

  test("uses no proxy that the environment names", async () => {
    const proxied: unknown[] = [];
    const proxy = await serve((request, response) => {
      proxied.push(request.url);
      response.end();
    });
    const port = await serve((_, response) => response.end());
    process.env.http_proxy = process.env.HTTP_PROXY = `http://127.0.0.1:${proxy}`;
    try {
      await ask(port);
    } finally {
      delete process.env.http_proxy;
      delete process.env.HTTP_PROXY;
    }
    expect(proxied).toEqual([]);
  });

  test("that is wanted no longer ends", async () => {
    const stop = new AbortController();
    const port = await serve(() => stop.abort());
    const asking = probe({ ...probeSettings({}, port), ip: "127.0.0.1", host: "127.0.0.1" }, stop.signal);
    await expect(asking).rejects.toThrow("wanted no longer");
    await expect(
      probe({ ...probeSettings({}, port), ip: "127.0.0.1", host: "127.0.0.1" }, stop.signal),
    ).rejects.toThrow();
  });
});

describe("an address that is probed", () => {
  let clock: FakeClock;
  let well: boolean | string;
  let probed: string[];
  let results: unknown[];
  let verdicts: string[];
  let probes: Probes;
  let stop: AbortController;
  let running: Promise<void>;
  let random: number;

  const target = (changes: Partial<ProbeTarget> = {}): ProbeTarget => ({
    ip: "203.0.113.1",
    host: "203.0.113.1",
    settings: probeSettings({ period: "3s", timeout: "5s", failureThreshold: 3 }),
    alive: true,
    ...changes,
  });

  beforeEach(() => {
    clock = new FakeClock();
    well = true;
    probed = [];
    results = [];
    verdicts = [];
    random = 0;
    stop = new AbortController();
    probes = new Probes({
      probe: async ({ ip }) => {
        probed.push(ip);
        if (well !== true) throw new Error(well || "refused");
      },
      clock,
      random: () => random,
      onProbe: (link, { cause }) => results.push([link, cause]),
      onVerdict: (link, key, flipped) =>
        verdicts.push(
          `${link} ${key} ${probes.of(link, key)?.alive ? "alive" : "dead"}${flipped ? "!" : ""}`,
        ),
    });
    running = probes.run(stop.signal);
  });
  afterEach(async () => {
    stop.abort();
    await running;
    expect(clock.pending()).toEqual([]);
  });

  test("is probed at once, and then each period", async () => {
    probes.want("link", new Map([["a", target()]]));
    await settle();
    expect(probed).toHaveLength(1);
    await clock.advance(2_999);
    expect(probed).toHaveLength(1);
    await clock.advance(1);
    expect(probed).toHaveLength(2);
  });

  test("is probed up to a tenth of the period later, so that not all are in one moment", async () => {
    random = 0.5;
    probes.want("link", new Map([["a", target()]]));
    await settle();
    expect(clock.pending()).toEqual([3_150]);
  });

  test("is dead after so many failures in a row, and alive after one success", async () => {
    probes.want("link", new Map([["a", target()]]));
    await settle();
    expect(verdicts).toEqual(["link a alive"]);
    well = false;
    await clock.advance(6_000);
    well = true;
    await clock.advance(3_000);
    well = false;
    await clock.advance(6_000);
    expect(verdicts).toEqual(["link a alive"]);
    await clock.advance(3_000);
    expect(verdicts).toEqual(["link a alive", "link a dead!"]);
    await clock.advance(30_000);
    well = true;
    await clock.advance(3_000);
    expect(verdicts).toEqual(["link a alive", "link a dead!", "link a alive!"]);
  });

  test("keeps what it died of, however it fails afterwards", async () => {
    well = "refused";
    probes.want("link", new Map([["a", target()]]));
    await clock.advance(6_000);
    expect(probes.of("link", "a")).toMatchObject({ alive: false, decided: true, cause: "refused" });
    well = "no answer";
    await clock.advance(6_000);
    expect(probes.of("link", "a")?.cause).toBe("refused");
    well = true;
    await clock.advance(3_000);
    expect(probes.of("link", "a")).toMatchObject({ alive: true, cause: undefined });
  });

  test("tells of every probe, also of those that find nothing new", async () => {
    well = false;
    probes.want("link", new Map([["a", target()]]));
    await clock.advance(3_000);
    expect(results).toEqual([
      ["link", "refused"],
      ["link", "refused"],
    ]);
  });

  test("that was dead before stays dead until a probe succeeds; its first failure says why", async () => {
    well = false;
    probes.want("link", new Map([["a", target({ alive: false })]]));
    expect(probes.of("link", "a")).toMatchObject({ alive: false, decided: false });
    await settle();
    expect(probes.of("link", "a")).toMatchObject({ alive: false, decided: true, cause: "refused" });
    expect(verdicts).toEqual(["link a dead"]);
    well = true;
    await clock.advance(3_000);
    expect(verdicts).toEqual(["link a dead", "link a alive!"]);
  });

  test("that was alive before stays alive until it has failed often enough", async () => {
    well = false;
    probes.want("link", new Map([["a", target()]]));
    await clock.advance(3_000);
    expect(probes.of("link", "a")).toMatchObject({ alive: true, decided: false });
    await clock.advance(3_000);
    expect(probes.of("link", "a")).toMatchObject({ alive: false, decided: true });
  });

  test("keeps what is known of it when it is probed otherwise, and is probed so at once", async () => {
    well = false;
    probes.want("link", new Map([["a", target()]]));
    await clock.advance(6_000);
    probed.length = 0;
    probes.want("link", new Map([["a", target({ settings: probeSettings({ period: "10s" }) })]]));
    expect(probes.of("link", "a")).toMatchObject({ alive: false, decided: true, cause: "refused" });
    await settle();
    expect(probed).toHaveLength(1);
    expect(clock.pending()).toEqual([10_000]);
  });

  test("that is wanted as before is left alone", async () => {
    probes.want("link", new Map([["a", target()]]));
    await settle();
    probes.want("link", new Map([["a", target()]]));
    await settle();
    expect(probed).toHaveLength(1);
  });

  test("that is wanted no longer is not probed any more; those of other Links are", async () => {
    probes.want("link", new Map([["a", target()]]));
    probes.want("other", new Map([["a", target({ ip: "203.0.113.2" })]]));
    await settle();
    probes.want("link", new Map());
    probed.length = 0;
    await clock.advance(3_000);
    expect(probed).toEqual(["203.0.113.2"]);
    expect(probes.of("link", "a")).toBeUndefined();
  });

  test("of a name that has no IP address fails like one that does not answer", async () => {
    probes.want("link", new Map([["a", target({ ip: undefined, host: "gw.example.com" })]]));
    await clock.advance(6_000);
    expect(probes.of("link", "a")).toMatchObject({
      alive: false,
      cause: "the host name gw.example.com cannot be looked up",
    });
    expect(probed).toEqual([]);
  });
});
