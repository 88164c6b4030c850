import { fork } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, jest, test } from "@jest/globals";
import type { StackError } from "../../stacks/engines/engine.ts";
import { type Call, StackApi } from "../support/stack-api.ts";
import { StackProgram } from "../support/stack-program.ts";
import { eventually } from "../support/wait.ts";

jest.setTimeout(120_000);

let program: StackProgram;
let api: StackApi;

beforeEach(async () => {
  program = await StackProgram.create();
  api = await StackApi.start();
});

afterEach(async () => {
  await api.stop();
  await program.remove();
});

const provider = () =>
  `const provider = new k8s.Provider("east", { kubeconfig: ${JSON.stringify(api.kubeconfig)} });`;
const map = (name: string, more = "", data = "{}") => `
  const ${name} = new k8s.core.v1.ConfigMap("${name}", { metadata: { name: "${name}", namespace: "default" }, data: ${data} },
    { provider, ${more} });`;
const path = (name: string) => `/api/v1/namespaces/default/configmaps/${name}`;
const isWrite = (call: Call, name: string) =>
  call.method === "PATCH" && call.path === path(name) && !call.query.has("dryRun");
const refused = {
  status: 422,
  body: { kind: "Status", message: 'data: Invalid value: "a-long-secret-value"' },
};

const failure = (promise: Promise<unknown>): Promise<StackError> =>
  promise.then(
    () => Promise.reject(new Error("it ended well")),
    (error: StackError) => error,
  );

describe("a resource that fails", () => {
  test("lets the work under way finish, keeps what was done, and is told with its URN and cluster", async () => {
    api.before = async (call) => {
      if (isWrite(call, "bad")) {
        // The other one is under way by now, and held until the failure is answered.
        await eventually(() => api.calls.some((other) => isWrite(other, "slow")));
        return refused;
      }
      if (isWrite(call, "slow")) await eventually(() => api.calls.some((other) => isWrite(other, "bad")));
      return undefined;
    };
    const body = `${provider()} ${map("bad")} ${map("slow")} ${map("after", "dependsOn: [bad]")}`;
    const error = await failure(program.up(body));
    expect(error.message).toMatch(/^ConfigMap default\/bad in cluster east: data: Invalid value/);
    expect(error.urn).toBe("urn:pulumi:demo-a::isthmus::kubernetes:core/v1:ConfigMap::bad");
    expect(error.result.resources.map(({ name }) => name)).toEqual(["slow"]);
    expect(api.writes.filter((call) => call.endsWith("/after"))).toEqual([]);

    api.before = () => undefined;
    const next = await program.up(body);
    expect(next.changes).toMatchObject({ create: 2, same: 1 });
  });

  test("says nothing secret that the API server repeats", async () => {
    api.before = (call) => (isWrite(call, "bad") ? refused : undefined);
    const error = await failure(
      program.up(`${provider()} ${map("bad", "", `pulumi.secret({ key: "a-long-secret-value" })`)}`),
    );
    expect(error.message).toContain('Invalid value: "[secret]"');
    expect(JSON.stringify(program.events)).not.toContain("a-long-secret-value");
  });

  test("that was refused leaves nothing behind to delete", async () => {
    api.before = (call) => (isWrite(call, "bad") ? refused : undefined);
    await failure(program.up(`${provider()} ${map("bad")}`));
    const result = await program.up(`${provider()}`);
    expect(result.changes.delete).toBe(0);
  });

  test("by a server error after the write may be there: it is brought up or deleted by the next run", async () => {
    api.before = (call) => {
      if (!isWrite(call, "unclear")) return undefined;
      api.objects.set(call.path, call.body ?? {});
      return { status: 500, body: { message: "etcd leader changed" } };
    };
    await failure(program.up(`${provider()} ${map("unclear")}`));
    api.before = () => undefined;
    await program.up(`${provider()}`);
    expect(api.objects.has(path("unclear"))).toBe(false);
  });

  test("is tried again as often as a busy API server asks for", async () => {
    let refusals = 2;
    api.before = (call) =>
      isWrite(call, "busy") && refusals-- > 0
        ? { status: 429, body: { message: "slow down" }, headers: { "retry-after": "0.01" } }
        : undefined;
    expect((await program.up(`${provider()} ${map("busy")}`)).changes.create).toBe(1);
  });
});

describe("a cluster that cannot be reached", () => {
  test("fails a preview and an up by its name and address, and what to check", async () => {
    const body = `${provider()} ${map("a")}`;
    await api.stop();
    for (const run of [() => program.preview(body), () => program.up(body)]) {
      expect((await failure(run())).message).toMatch(
        /^cluster east \(http:\/\/127\.0\.0\.1:\d+\) cannot be reached: .*ECONNREFUSED.*Check that it runs/,
      );
    }
    api = await StackApi.start();
  });

  test("can be given up: what was in it is forgotten where that is asked for", async () => {
    const settings = `{ kubeconfig: ${JSON.stringify(api.kubeconfig)}, deleteUnreachable: true }`;
    await program.up(`const provider = new k8s.Provider("east", ${settings}); ${map("a")}`);
    await api.stop();
    const result = await program.destroy();
    expect(result.changes.delete).toBe(1);
    expect(JSON.stringify(program.events)).toMatch(/ConfigMap default\/a is forgotten, not deleted/);
    api = await StackApi.start();
  });
});

describe("a run that is ended", () => {
  test("by its signal finishes what is being written, and the next goes on from there", async () => {
    const controller = new AbortController();
    api.before = (call) => {
      if (isWrite(call, "first")) controller.abort(new Error("interrupted"));
      return undefined;
    };
    const body = `${provider()} ${map("first")} ${map("second", "dependsOn: [first]")}`;
    const engine = await program.engine(body);
    const error = await failure(engine.up("demo-a", { signal: controller.signal }));
    expect(error.message).toMatch(/it was interrupted; what was done until then is kept/);
    expect(error.result.resources.map(({ name }) => name)).toEqual(["first"]);
    expect((await program.up(body)).changes).toMatchObject({ create: 1, same: 1 });
  });

  test("by a kill leaves a state to go on from, and a lock that is taken over", async () => {
    const body = `${provider()} ${map("first")} ${map("second", "dependsOn: [first]")}`;
    const entry = await program.write(body);
    let held: () => void = () => undefined;
    const reached = new Promise<void>((resolve) => {
      api.before = async (call) => {
        if (!isWrite(call, "second")) return undefined;
        // Written, but the answer never comes: the worst moment.
        api.objects.set(call.path, call.body ?? {});
        resolve();
        await new Promise<void>((release) => {
          held = release;
        });
        return undefined;
      };
    });
    const runner = fork(join(import.meta.dirname, "../support/run-stack.ts"), [program.folder, entry], {
      execArgv: ["--disable-warning=ExperimentalWarning"],
    });
    await reached;
    runner.kill("SIGKILL");
    await once(runner, "close");
    held();
    api.before = () => undefined;
    expect(JSON.parse(await readFile(program.stateFile, "utf8")).stacks["demo-a"].resources).toHaveLength(4);
    const next = await program.up(body);
    expect(next.changes).toMatchObject({ create: 0, update: 1, same: 1 });
    await program.destroy();
    expect([...api.objects.keys()]).toEqual([]);
  });

  test("cannot be joined by another on the same mesh", async () => {
    const first = await program.engine(`${provider()} ${map("a")}`);
    const second = await program.engine(`${provider()} ${map("a")}`);
    await first.exclusively(async () => {
      await expect(second.up("demo-a")).rejects.toThrow(/Another run is at work on this mesh: process \d+/);
    });
    expect((await second.up("demo-a")).changes.create).toBe(1);
  });
});

describe("replacing", () => {
  test("makes the new object before the old one goes, where both can be", async () => {
    const named = (name: string) => `${provider()}
      new k8s.core.v1.ConfigMap("map", { metadata: { name: "${name}", namespace: "default" } }, { provider });`;
    await program.up(named("old"));
    api.calls.length = 0;
    const result = await program.up(named("new"));
    expect(result.resources).toMatchObject([{ op: "replace", diff: ["metadata.name"] }]);
    expect(result.changes).toMatchObject({ replace: 1, delete: 0 });
    expect(api.writes).toEqual([`PATCH ${path("new")}`, `DELETE ${path("old")}`]);
  });

  test("deletes first where the program asks for it, and where the API refuses to change an object", async () => {
    await program.up(`${provider()} ${map("a", "", `{ k: "1" }`)}`);
    api.calls.length = 0;
    api.before = (call) =>
      call.query.has("dryRun") ? { status: 422, body: { message: "data: field is immutable" } } : undefined;
    const result = await program.up(`${provider()} ${map("a", "", `{ k: "2" }`)}`);
    expect(result.resources).toMatchObject([{ op: "replace", diff: ["data.k"] }]);
    expect(api.writes).toEqual([`DELETE ${path("a")}`, `PATCH ${path("a")}`]);
  });

  test("is what a change becomes where the program says so", async () => {
    await program.up(`${provider()} ${map("a", "", `{ k: "1" }`)}`);
    const planned = await program.preview(
      `${provider()} ${map("a", `replaceOnChanges: ["data"]`, `{ k: "2" }`)}`,
    );
    expect(planned.resources).toMatchObject([{ op: "replace", diff: ["data.k"] }]);
  });
});

describe("deleting", () => {
  test("leaves an object that is to be retained, and one that goes with another", async () => {
    await program.up(
      `${provider()} ${map("kept", "retainOnDelete: true")} ${map("owner")} ${map("owned", "deletedWith: owner")}`,
    );
    api.calls.length = 0;
    const result = await program.up(`${provider()}`);
    expect(result.changes.delete).toBe(3);
    expect(api.writes).toEqual([`DELETE ${path("owner")}`]);
  });
});
