import { type AddressInfo, connect as connectTo, createServer, type Socket } from "node:net";
import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { KubeClient, type KubeClientOptions } from "../../controller/kube/client.ts";
import {
  FencedError,
  isAlreadyExists,
  isConflict,
  isForbidden,
  isGone,
  isInvalid,
  isNotFound,
  isTooManyRequests,
  isUnauthorized,
  isUnreachable,
  type KubeError,
  type UnreachableError,
} from "../../controller/kube/errors.ts";
import type { Service } from "../../controller/kube/objects.ts";
import { LINKS, NAMESPACES, SERVICES } from "../../controller/kube/resource.ts";
import { FakeApi } from "../support/fake-api.ts";
import { aLink } from "../support/mirror-objects.ts";
import { eventually } from "../support/wait.ts";

const REF = { namespace: "default", name: "a" };

function service(name = "a", port = 80): Service {
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: { namespace: "default", name },
    spec: { ports: [{ port }] },
  };
}

/** What a promise is rejected with. */
async function failure(promise: Promise<unknown>): Promise<unknown> {
  return await promise.then(
    (value) => {
      throw new Error(`not rejected, but ${JSON.stringify(value)}`);
    },
    (error) => error,
  );
}

describe("a client of an API server", () => {
  let api: FakeApi;
  let client: KubeClient;
  const clients: KubeClient[] = [];

  function connect(options: Partial<KubeClientOptions> = {}): KubeClient {
    const made = new KubeClient({ cluster: "east", credentials: api.credentials(), ...options });
    clients.push(made);
    return made;
  }

  beforeEach(async () => {
    api = await FakeApi.start();
    client = connect();
  });

  afterEach(async () => {
    await Promise.all(clients.splice(0).map((each) => each.close()));
    await api.close();
  });

  test("creates, reads, replaces, patches and deletes", async () => {
    const created = await client.create(SERVICES, service());
    expect(created.metadata.uid).toBeDefined();
    expect(await client.get(SERVICES, REF)).toEqual(created);

    const updated = await client.update(SERVICES, {
      ...created,
      spec: { ...created.spec, ports: [{ port: 81 }] },
    });
    expect(updated.spec?.ports).toEqual([{ port: 81 }]);

    const patched = await client.patch(
      SERVICES,
      REF,
      { metadata: { labels: { a: "b" } } },
      { type: "merge" },
    );
    expect(patched.metadata.labels).toEqual({ a: "b" });

    const remove = [{ op: "remove", path: "/metadata/labels/a" }];
    expect((await client.patch(SERVICES, REF, remove, { type: "json" })).metadata.labels).toEqual({});

    await client.delete(SERVICES, REF);
    expect(isNotFound(await failure(client.get(SERVICES, REF)))).toBe(true);
  });

  test("applies as a field manager: what is not given any more goes, what others set stays", async () => {
    const apply = (annotations: Record<string, string>, fieldManager: string, force = false) =>
      client.apply(
        NAMESPACES,
        { apiVersion: "v1", kind: "Namespace", metadata: { name: "default", annotations } },
        { fieldManager, force },
      );
    await apply({ ours: "1", shared: "ours" }, "isthmus");
    await apply({ theirs: "1" }, "other");
    const again = await apply({ shared: "ours" }, "isthmus");
    expect(again.metadata.annotations).toEqual({ shared: "ours", theirs: "1" });

    const conflict = await failure(apply({ shared: "theirs" }, "other"));
    expect(isConflict(conflict) && conflict.detail).toContain("metadata.annotations.shared");
    expect((await apply({ shared: "theirs" }, "other", true)).metadata.annotations).toMatchObject({
      shared: "theirs",
    });
    expect(api.requests.at(-1)).toMatchObject({
      contentType: "application/apply-patch+yaml",
      method: "PATCH",
    });
  });

  test("stores nothing in a dry run", async () => {
    await client.create(SERVICES, service(), { dryRun: true });
    await client.apply(SERVICES, service(), { fieldManager: "isthmus", dryRun: true });
    expect(api.objects.list(SERVICES)).toEqual([]);
  });

  test("writes a status apart from its object", async () => {
    api.objects.create(LINKS, aLink());
    const ref = { namespace: "isthmus", name: "remote" };
    const body = { status: { mirroredServices: 3 }, spec: { targetClusterName: "other" } };
    const link = await client.patch(LINKS, ref, body, { type: "merge", subresource: "status" });
    expect(link.status?.mirroredServices).toBe(3);
    expect(link.spec.targetClusterName).toBe("remote");
    expect(link.metadata).toHaveProperty("generation", 1);
  });

  test("deletes only the very object that was meant", async () => {
    const first = api.objects.create(SERVICES, service());
    const other = { preconditions: { uid: "another" } };
    expect(isConflict(await failure(client.delete(SERVICES, REF, other)))).toBe(true);
    const { uid, resourceVersion } = first.metadata;
    await client.delete(SERVICES, REF, { preconditions: { uid, resourceVersion } });
    expect(api.objects.list(SERVICES)).toEqual([]);
  });

  test("gives the items of a list the type that servers leave out", async () => {
    api.objects.create(SERVICES, service());
    const { items, metadata } = await client.list(SERVICES, { namespace: "default" });
    expect(items[0]).toMatchObject({ apiVersion: "v1", kind: "Service", metadata: { name: "a" } });
    expect(metadata.resourceVersion).toBe(String(api.objects.version));
  });

  test("asks the server to select", async () => {
    api.objects.create(SERVICES, service("a"));
    api.objects.create(SERVICES, service("b"));
    const { items } = await client.list(SERVICES, { fieldSelector: "metadata.name=b" });
    expect(items.map(({ metadata }) => metadata.name)).toEqual(["b"]);
    expect(api.requests.at(-1)?.path).toBe("/api/v1/services?fieldSelector=metadata.name%3Db");
  });

  test("brings the events of a watch, and ends when its signal does", async () => {
    const stop = new AbortController();
    const seen: string[] = [];
    let opened = false;
    const watching = (async () => {
      const query = { resourceVersion: String(api.objects.version), onOpen: () => (opened = true) };
      for await (const { type, object } of client.watch(SERVICES, query, stop.signal)) {
        seen.push(`${type} ${object.metadata.resourceVersion}`);
      }
    })();
    await eventually(() => opened);
    const { resourceVersion } = api.objects.create(SERVICES, service()).metadata;
    await eventually(() => seen.length === 1);
    stop.abort(new Error("enough"));
    expect(await failure(watching)).toEqual(new Error("enough"));
    expect(seen).toEqual([`ADDED ${resourceVersion}`]);
    await eventually(() => api.watches.size === 0);
  });

  test("keeps far more watches than a connection has streams, and writes beside them", async () => {
    const stop = new AbortController();
    let open = 0;
    const seen = new Set<number>();
    const watch = async (number: number) => {
      const query = { resourceVersion: "1", namespace: "default", onOpen: () => void open++ };
      for await (const { type } of client.watch(SERVICES, query, stop.signal)) {
        if (type === "ADDED") seen.add(number);
      }
    };
    const watching = Promise.allSettled(Array.from({ length: 350 }, (_, number) => watch(number)));
    await eventually(() => open === 350);
    // Each hears of it: none is kept waiting for a stream, and neither is the write.
    await client.create(SERVICES, service());
    await eventually(() => seen.size === 350);
    // Some of a hundred streams each.
    expect(api.connections).toBeLessThanOrEqual(6);
    stop.abort();
    await watching;
    await eventually(() => api.watches.size === 0);
  });

  test("closes a watch that nobody reads any longer", async () => {
    api.objects.create(SERVICES, service());
    for await (const _ of client.watch(SERVICES, { resourceVersion: "1" }, new AbortController().signal))
      break;
    await eventually(() => api.watches.size === 0);
  });

  test("takes events apart wherever the network cut them", async () => {
    const names = Array.from({ length: 50 }, (_, n) => `service-${n}-${"ü".repeat(n)}`);
    const lines = names.map((name) =>
      JSON.stringify({
        type: "ADDED",
        object: { metadata: { name, annotations: { big: "x".repeat(5000) } } },
      }),
    );
    api.faults.inject({ kind: "body", body: `${lines.join("\n")}\n{"type":"ADDED","obj` });
    const seen: string[] = [];
    const watch = client.watch(SERVICES, { resourceVersion: "1" }, new AbortController().signal);
    for await (const { object } of watch) seen.push((object as Service).metadata.name);
    expect(seen).toEqual(names);
  });

  describe("names what went wrong", () => {
    test.each([
      [404, "NotFound", isNotFound],
      [409, "AlreadyExists", isAlreadyExists],
      [409, "Conflict", isConflict],
      [410, "Expired", isGone],
      [401, "Unauthorized", isUnauthorized],
      [403, "Forbidden", isForbidden],
      [422, "Invalid", isInvalid],
      [429, "TooManyRequests", isTooManyRequests],
    ])("%i %s", async (status, reason, predicate) => {
      const all = [
        isNotFound,
        isAlreadyExists,
        isConflict,
        isGone,
        isUnauthorized,
        isForbidden,
        isInvalid,
        isTooManyRequests,
      ];
      api.faults.inject({ kind: "status", status, reason, message: "because" });
      const error = await failure(client.get(SERVICES, REF));
      expect(all.filter((each) => each(error))).toEqual([predicate]);
      expect((error as KubeError).message).toBe(
        `cluster east: GET /api/v1/namespaces/default/services/a: ${status} ${reason}: because`,
      );
    });

    test("with how long to wait", async () => {
      api.faults.inject({ kind: "status", status: 429, retryAfterSeconds: 3 });
      expect(await failure(client.get(SERVICES, REF))).toHaveProperty("retryAfterMs", 3000);
    });

    test("when a proxy answers in HTML", async () => {
      api.faults.inject({ kind: "body", status: 502, body: "<h1>Bad Gateway</h1>" });
      expect(await failure(client.get(SERVICES, REF))).toMatchObject({
        name: "KubeError",
        status: 502,
        detail: '"<h1>Bad Gateway</h1>"',
      });
    });

    test("when it is a redirection, which is not followed", async () => {
      api.faults.inject({
        kind: "body",
        status: 302,
        body: "",
        headers: { location: "https://evil.example/" },
      });
      const error = await failure(client.get(SERVICES, REF));
      expect((error as UnreachableError).detail).toBe(
        "the answer is a redirection (302) to https://evil.example/, which is not followed",
      );
    });

    test("when nothing listens", async () => {
      await api.unreachable();
      const error = await failure(client.get(SERVICES, REF));
      expect(error).toMatchObject({
        reason: "refused",
        detail: expect.stringContaining("connection refused by 127.0.0.1"),
      });
    });

    test("when the server's certificate is another's", async () => {
      const { tls } = api.credentials();
      const wrongName = connect({
        credentials: { ...api.credentials(), tls: { ...tls, servername: "other.example" } },
      });
      expect(await failure(wrongName.get(SERVICES, REF))).toMatchObject({
        reason: "certificate",
        detail: expect.stringContaining("is for another name"),
      });
      const untrusted = connect({
        credentials: { ...api.credentials(), tls: { servername: "kubernetes.fake" } },
      });
      expect(await failure(untrusted.get(SERVICES, REF))).toMatchObject({
        reason: "certificate",
        detail: expect.stringContaining("is not signed by a trusted authority"),
      });
    });

    test("when the answer does not begin in time", async () => {
      api.faults.inject({ kind: "hang" });
      const error = await failure(client.get(SERVICES, REF, { timeoutMs: 50 }));
      expect(error).toMatchObject({
        reason: "timeout",
        detail: expect.stringContaining("no answer from 127.0.0.1"),
      });
      expect(await client.list(NAMESPACES)).toHaveProperty("items");
    });

    test("when the connection breaks in the middle of a write, whose outcome is then unknown", async () => {
      api.faults.inject({ kind: "drop-after" });
      const error = await failure(client.create(SERVICES, service()));
      expect(isUnreachable(error) && error.reason).toBe("disconnected");
      expect(isAlreadyExists(await failure(client.create(SERVICES, service())))).toBe(true);
    });

    test("when the credentials cannot be had", async () => {
      const headers = () => Promise.reject(new Error("the token file is gone"));
      const broken = connect({ credentials: { ...api.credentials(), headers } });
      expect(await failure(broken.get(SERVICES, REF))).toMatchObject({
        reason: "credentials",
        detail: "the token file is gone",
      });
    });
  });

  test("takes no more of an answer than it should", async () => {
    const small = connect({ maxResponseBytes: 1000 });
    api.faults.inject({ kind: "body", body: `{"metadata":{"name":"${"x".repeat(2000)}"}}` });
    expect(await failure(small.get(SERVICES, REF))).toMatchObject({
      detail: "the answer is longer than 1000 bytes",
    });
    api.faults.inject({ kind: "body", body: "x".repeat(2000) });
    const watch = small.watch(SERVICES, { resourceVersion: "1" }, new AbortController().signal);
    expect(await failure(watch.next())).toMatchObject({
      detail: "an event of the watch is longer than 1000 bytes",
    });
  });

  test("asks the fence of a write when its turn has come, and sends nothing where that is shut", async () => {
    const shut = () => {
      throw new FencedError("shut");
    };
    expect(await failure(client.create(SERVICES, service(), { fence: shut }))).toEqual(
      new FencedError("shut"),
    );
    await client.create(SERVICES, service(), { fence: () => undefined });
    expect(await failure(client.delete(SERVICES, REF, { fence: shut }))).toEqual(new FencedError("shut"));
    expect(api.requests.map(({ method }) => method)).toEqual(["POST"]);
    expect(api.connections).toBe(1);
  });

  test.each([false, true])(
    "asks the fence only once there is a connection (HTTP/1.1: %s), and never sends a write given up before",
    async (http1) => {
      const old = await FakeApi.start({ http1 });
      // A network in which connecting takes until it is let through.
      const held: (() => void)[] = [];
      const network = createServer((socket) => {
        held.push(() => {
          const onward = connectTo(Number(new URL(old.url).port), "127.0.0.1");
          socket.pipe(onward).pipe(socket);
          socket.on("error", () => undefined);
          onward.on("error", () => undefined);
        });
      });
      await new Promise<void>((resolve) => network.listen(0, "127.0.0.1", resolve));
      const { port } = network.address() as AddressInfo;
      const server = `https://127.0.0.1:${port}`;
      const distant = connect({ credentials: { ...old.credentials(), server }, connections: 1 });
      let open = true;
      const fence = () => {
        if (!open) throw new FencedError("shut");
      };
      const stop = new AbortController();
      const writes = [
        failure(distant.create(SERVICES, service("fenced"), { fence, unthrottled: true })),
        failure(distant.create(SERVICES, service("given-up"), { signal: stop.signal, unthrottled: true })),
      ];
      const good = distant.create(SERVICES, service("good"), { unthrottled: true });
      await eventually(() => held.length === 1);
      open = false;
      stop.abort(new Error("given up"));
      for (const go of held) go();
      expect(await Promise.all(writes)).toEqual([new FencedError("shut"), new Error("given up")]);
      await good;
      expect(old.objects.list(SERVICES).map(({ metadata }) => metadata.name)).toEqual(["good"]);
      await distant.close();
      network.close();
      await old.close();
    },
  );

  test("leaves a server alone for no longer than a minute, whatever it asks for", async () => {
    api.faults.inject({ kind: "status", status: 429, retryAfterSeconds: 86_400 });
    expect(await failure(client.get(SERVICES, REF))).toMatchObject({ retryAfterMs: 60_000 });
    api.faults.inject({ kind: "body", status: 429, body: "{}", headers: { "retry-after": "86400" } });
    expect(await failure(client.get(SERVICES, REF))).toMatchObject({ retryAfterMs: 60_000 });
  });

  test("ends a call when its signal does, with the signal's reason", async () => {
    api.faults.inject({ kind: "hang" });
    const stop = new AbortController();
    const call = failure(client.get(SERVICES, REF, { signal: stop.signal }));
    await eventually(() => api.requests.length === 1);
    stop.abort(new Error("enough"));
    expect(await call).toEqual(new Error("enough"));
    expect(await failure(client.get(SERVICES, REF, { signal: stop.signal }))).toEqual(new Error("enough"));
  });

  test("uses one connection for everything, watches included", async () => {
    const query = { resourceVersion: String(api.objects.version) };
    const { signal } = new AbortController();
    const watches = Array.from({ length: 20 }, () => client.watch(SERVICES, query, signal));
    const first = watches.map((watch) => watch.next());
    await eventually(() => api.watches.size === 20);
    await Promise.all(Array.from({ length: 50 }, (_, n) => client.create(SERVICES, service(`s${n}`))));
    for (const { value } of await Promise.all(first)) expect(value).toMatchObject({ type: "ADDED" });
    expect(api.connections).toBe(1);
    await Promise.all(watches.map((watch) => watch.return(undefined)));
  });

  test("leaves a connection that died without a word, though nobody closed it", async () => {
    // Between client and server, a network that swallows what is sent on the connections it had.
    const dead: Socket[] = [];
    const network = createServer((socket) => {
      const onward = connectTo(Number(new URL(api.url).port), "127.0.0.1");
      socket.pipe(onward).pipe(socket);
      dead.push(socket, onward);
    });
    await new Promise<void>((resolve) => network.listen(0, "127.0.0.1", resolve));
    const { port } = network.address() as AddressInfo;
    const distant = connect({ credentials: { ...api.credentials(), server: `https://127.0.0.1:${port}` } });
    await distant.list(SERVICES);
    for (const socket of dead) socket.unpipe().pause();

    const error = await failure(distant.list(SERVICES, {}, { timeoutMs: 50 }));
    expect(isUnreachable(error) && error.reason).toBe("timeout");
    await eventually(() => distant.list(SERVICES, {}, { timeoutMs: 50 }));
    expect(api.connections).toBe(2);
    for (const socket of dead) socket.destroy();
    network.close();
  });

  test("connects anew, once, after the connection broke", async () => {
    await client.list(SERVICES);
    api.dropConnections();
    await eventually(() => client.list(SERVICES));
    await Promise.all(Array.from({ length: 10 }, () => client.list(SERVICES)));
    expect(api.connections).toBe(2);
  });

  test("bounds its connections to a server that speaks HTTP/1.1 only", async () => {
    const old = await FakeApi.start({ http1: true });
    const narrow = connect({ credentials: old.credentials(), connections: 3 });
    await Promise.all(Array.from({ length: 30 }, (_, n) => narrow.create(SERVICES, service(`s${n}`))));
    expect(old.objects.list(SERVICES)).toHaveLength(30);
    expect(old.connections).toBeLessThanOrEqual(3);
    await old.close();
  });

  test("finishes calls with the old credentials when new ones come, and makes the next with the new", async () => {
    api.tokens.set("second", Number.POSITIVE_INFINITY);
    const held = api.faults.inject({ kind: "delay", ms: 50 });
    const old = client.list(SERVICES);
    await eventually(() => api.requests.length === 1);
    client.swapCredentials(api.credentials("second"));
    await client.list(SERVICES);
    await old;
    held();
    expect(api.requests.map(({ token }) => token)).toEqual(["fake-token", "second"]);
  });

  test("can be pointed at another server", async () => {
    const other = await FakeApi.start();
    client.swapCredentials(other.credentials());
    expect(client.server).toBe(other.url);
    await client.list(SERVICES);
    expect([api.requests.length, other.requests.length]).toEqual([0, 1]);
    await client.close();
    await other.close();
  });

  test("leaves what comes before /api in the server's URL in its place", async () => {
    const proxied = connect({
      credentials: { ...api.credentials(), server: `${api.url}/k8s/clusters/c-1/` },
    });
    await failure(proxied.list(SERVICES));
    expect(api.requests.at(-1)?.path).toBe("/k8s/clusters/c-1/api/v1/services");
  });

  test("leaves nothing behind on a signal that outlives its calls", async () => {
    const { signal } = new AbortController();
    let listeners = 0;
    const { addEventListener, removeEventListener } = signal;
    signal.addEventListener = (...all: Parameters<typeof addEventListener>) => {
      listeners++;
      addEventListener.apply(signal, all);
    };
    signal.removeEventListener = (...all: Parameters<typeof removeEventListener>) => {
      listeners--;
      removeEventListener.apply(signal, all);
    };
    await client.list(SERVICES, {}, { signal });
    await client.create(SERVICES, service(), { signal });
    await failure(client.get(SERVICES, { namespace: "default", name: "none" }, { signal }));
    for await (const _ of client.watch(SERVICES, { resourceVersion: "1" }, signal)) break;
    expect(listeners).toBe(0);
  });
});
