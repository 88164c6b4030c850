import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { KubeClient } from "../../controller/kube/client.ts";
import { systemClock } from "../../controller/kube/clock.ts";
import { silentLog } from "../../controller/kube/log.ts";
import type { Service } from "../../controller/kube/objects.ts";
import { Reflector, type ReflectorOptions } from "../../controller/kube/reflector.ts";
import { SERVICES } from "../../controller/kube/resource.ts";
import { Store } from "../../controller/kube/store.ts";
import { FakeApi } from "../support/fake-api.ts";
import { eventually } from "../support/wait.ts";

function service(name: string, labels: Record<string, string> = {}, namespace = "default"): Service {
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name, namespace, labels },
    spec: { ports: [{ port: 80 }] },
  };
}

/** Every pause that was asked for, none of them waited for; and no watch ever lasts. */
function impatientClock() {
  const pauses: number[] = [];
  const clock = {
    ...systemClock,
    monotonic: () => 0,
    sleep: async (ms: number, signal?: AbortSignal) => {
      pauses.push(ms);
      await systemClock.sleep(1, signal);
    },
  };
  return { clock, pauses };
}

describe("a reflector", () => {
  let api: FakeApi;
  let client: KubeClient;
  let stop: AbortController;
  const running: Promise<void>[] = [];
  let reflectors: Reflector<Service>[];

  beforeEach(async () => {
    reflectors = [];
    api = await FakeApi.start();
    client = new KubeClient({ cluster: "east", credentials: api.credentials() });
    stop = new AbortController();
  });

  afterEach(async () => {
    stop.abort();
    await Promise.all(running.splice(0));
    await client.close();
    await api.close();
  });

  function reflect(options: Partial<ReflectorOptions<Service>> = {}) {
    const store = new Store<Service>();
    const { clock, pauses } = impatientClock();
    const reflector = new Reflector({
      client,
      resource: SERVICES,
      sink: store,
      clock,
      log: silentLog,
      ...options,
    });
    reflectors.push(reflector);
    running.push(reflector.run(stop.signal));
    return { store, reflector, pauses };
  }

  /** Both ends know of an open watch. */
  const watched = () =>
    eventually(() => api.watches.size > 0 && reflectors.some(({ connected }) => connected));
  const lists = () => api.requests.filter(({ method, watch }) => method === "GET" && !watch);
  const watchRequests = () => api.requests.filter(({ watch }) => watch);

  test("delivers what is there, then every change", async () => {
    api.objects.create(SERVICES, service("a"));
    api.objects.create(SERVICES, service("b"));
    const { store, reflector } = reflect();
    await reflector.synced;
    expect(store.keys().sort()).toEqual(["default/a", "default/b"]);

    await watched();
    api.objects.create(SERVICES, service("c"));
    api.objects.modify(SERVICES, { namespace: "default", name: "a" }, (object) => {
      object.metadata.labels = { changed: "yes" };
      return object;
    });
    api.objects.delete(SERVICES, { namespace: "default", name: "b" });
    await eventually(() => !store.has("default/b"));
    expect(store.keys().sort()).toEqual(["default/a", "default/c"]);
    expect(store.get("default/a")?.metadata.labels).toEqual({ changed: "yes" });
  });

  test("takes a long list page by page, and delivers it only when it is complete", async () => {
    for (let n = 0; n < 7; n++) api.objects.create(SERVICES, service(`s${n}`));
    const resets: number[] = [];
    const store = new Store<Service>();
    const reset = store.reset.bind(store);
    store.reset = (objects, version) => {
      resets.push(objects.length);
      reset(objects, version);
    };
    const { reflector } = reflect({ sink: store, pageSize: 3 });
    await reflector.synced;
    expect(resets).toEqual([7]);
    expect(lists().map(({ query }) => query.get("limit"))).toEqual(["3", "3", "3"]);
  });

  test("leaves what it knew alone when a list breaks off half-way", async () => {
    for (let n = 0; n < 4; n++) api.objects.create(SERVICES, service(`s${n}`));
    const { store, reflector } = reflect({ pageSize: 2 });
    await reflector.synced;
    await watched();
    api.faults.inject({ kind: "drop" }, { times: 3, when: ({ query }) => query.has("continue") });
    const sizes: number[] = [];
    store.onChange(() => sizes.push(store.size));
    api.objects.compact();
    api.watches.end();
    await eventually(() => reflector.state().lists === 2);
    expect(sizes).toEqual([]);
    expect(store.size).toBe(4);
  });

  test("lists in one piece when the place to continue from is forgotten between two pages", async () => {
    for (let n = 0; n < 4; n++) api.objects.create(SERVICES, service(`s${n}`));
    api.faults.inject(
      { kind: "status", status: 410, reason: "Expired" },
      { when: ({ query }) => query.has("continue") },
    );
    const { store, reflector } = reflect({ pageSize: 2 });
    await reflector.synced;
    expect(store.size).toBe(4);
    expect(lists().map(({ query }) => query.get("limit"))).toEqual(["2", "2", null]);
  });

  test("does not list again when the watch ends, but goes on from the last resourceVersion", async () => {
    const { store, reflector } = reflect();
    await watched();
    api.objects.create(SERVICES, service("a"));
    await eventually(() => store.has("default/a"));
    api.watches.end();
    api.objects.create(SERVICES, service("b"));
    await eventually(() => store.has("default/b"));
    expect(reflector.state()).toMatchObject({ lists: 1, lastError: undefined });
    expect(watchRequests()[1]?.query.get("resourceVersion")).toBe(
      store.get("default/a")?.metadata.resourceVersion,
    );
  });

  test("goes on from the last bookmark", async () => {
    reflect();
    await watched();
    api.watches.bookmark(4711);
    api.watches.end();
    await eventually(() => watchRequests().length === 2);
    expect(watchRequests()[1]?.query.get("resourceVersion")).toBe("4711");
    expect(watchRequests()[1]?.query.get("allowWatchBookmarks")).toBe("true");
  });

  test("goes on from the last resourceVersion after the connection broke", async () => {
    const { store, reflector } = reflect();
    await watched();
    api.dropConnections();
    api.objects.create(SERVICES, service("a"));
    await eventually(() => store.has("default/a"));
    expect(reflector.state().lists).toBe(1);
  });

  test("lists again when the server has forgotten the resourceVersion, without calling that a failure", async () => {
    const { store, reflector, pauses } = reflect();
    await reflector.synced;
    await watched();
    await api.unreachable();
    api.objects.create(SERVICES, service("a"));
    api.objects.compact();
    await api.listen();
    await eventually(() => store.has("default/a"));
    await eventually(() => reflector.state().connected);
    expect(reflector.state()).toMatchObject({ lists: 2, lastError: undefined });
    expect(pauses.length).toBeGreaterThan(0);
  });

  test("notices an object that was deleted and made anew while nobody watched", async () => {
    api.objects.create(SERVICES, service("a"));
    const { store, reflector } = reflect();
    await reflector.synced;
    await watched();
    const first = store.get("default/a")?.metadata.uid;
    await api.unreachable();
    api.objects.delete(SERVICES, { namespace: "default", name: "a" });
    const second = api.objects.create(SERVICES, service("a")).metadata.uid;
    api.objects.compact();
    await api.listen();
    await eventually(() => store.get("default/a")?.metadata.uid === second);
    expect(second).not.toBe(first);
  });

  test("tells an error within the stream from the end of the stream", async () => {
    const { reflector } = reflect();
    await watched();
    const states: (string | undefined)[] = [];
    reflector.onStateChange(() => states.push(reflector.state().lastError));
    api.watches.fail({ kind: "Status", code: 500, reason: "InternalError", message: "etcd is on fire" });
    await eventually(() => reflector.state().watches === 2);
    expect(states[0]).toContain("etcd is on fire");
    expect(reflector.state()).toMatchObject({ lists: 1, connected: true, lastError: undefined });
  });

  test("waits longer from failure to failure, up to a bound, and never gives up", async () => {
    api.faults.inject({ kind: "status", status: 500 }, { times: 14 });
    const { reflector, pauses } = reflect({ random: () => 1 });
    await reflector.synced;
    expect(pauses.slice(0, 14)).toEqual([
      100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000, 30000, 30000, 30000,
    ]);
  });

  test("waits as long as a Retry-After says", async () => {
    api.faults.inject({ kind: "status", status: 429, reason: "TooManyRequests", retryAfterSeconds: 7 });
    const { reflector, pauses } = reflect();
    await reflector.synced;
    expect(pauses).toEqual([7000]);
  });

  test("does not pause when a watch ends that was open for a while", async () => {
    let now = 0;
    const { clock, pauses } = impatientClock();
    const { reflector } = reflect({ clock: { ...clock, monotonic: () => now } });
    for (let n = 1; n <= 3; n++) {
      await eventually(() => reflector.state().watches === n);
      now += 1_000;
      api.watches.end();
    }
    await eventually(() => reflector.state().watches === 4);
    expect(pauses).toEqual([]);
  });

  test("does not ask all the time when a server ends every watch at once", async () => {
    const { pauses } = reflect({ random: () => 1 });
    for (let n = 1; n <= 4; n++) {
      await eventually(() => watchRequests().length === n && api.watches.size === 1);
      api.watches.end();
    }
    await eventually(() => watchRequests().length === 5);
    expect(pauses).toEqual([100, 200, 400, 800]);
  });

  test("does not list all the time when a server forgets every resourceVersion at once", async () => {
    const { pauses } = reflect({ random: () => 1 });
    for (let n = 1; n <= 4; n++) {
      await eventually(() => watchRequests().length === n && api.watches.size === 1);
      api.watches.fail({ kind: "Status", code: 410, reason: "Expired", message: "too old" });
    }
    await eventually(() => lists().length === 5);
    expect(pauses).toEqual([200, 400, 800]);
  });

  test("lists again when a watch goes back in history, as after a restored backup", async () => {
    const { store, reflector } = reflect();
    await watched();
    api.objects.create(SERVICES, service("a"));
    await eventually(() => store.has("default/a"));
    api.watches.bookmark(50);
    await eventually(() => reflector.state().lists === 2);
    expect(store.has("default/a")).toBe(true);
  });

  test("opens another watch when one is silent for longer than bookmarks are apart, and is not taken aback", async () => {
    const { store, reflector } = reflect({ idleTimeoutMs: 50 });
    await watched();
    let changes = 0;
    reflector.onStateChange(() => changes++);
    await eventually(() => reflector.state().watches >= 2);
    expect({ changes, connected: reflector.connected, error: reflector.error }).toEqual({
      changes: 0,
      connected: true,
      error: undefined,
    });
    api.objects.create(SERVICES, service("a"));
    await eventually(() => store.has("default/a"));
    expect(reflector.state().lists).toBe(1);
  });

  test("takes a watch that stops within an event for a failure", async () => {
    api.faults.inject({ kind: "stall", body: '{"type":"ADDED","obj' }, { when: ({ watch }) => watch });
    const { reflector } = reflect({ idleTimeoutMs: 50 });
    const errors: unknown[] = [];
    reflector.onStateChange(() => errors.push(reflector.error));
    await eventually(() => reflector.state().watches >= 2);
    expect(errors.map(String).join()).toContain("stopped in the middle of its answer");
  });

  test("lists again when eight watches in a row have said nothing", async () => {
    let now = 0;
    const clock = { ...systemClock, monotonic: () => (now += 2_000) };
    const { store } = reflect({ idleTimeoutMs: 20, clock });
    const watchesUpTo = (list: number) => api.requests.indexOf(lists()[list]!) - list;
    await eventually(() => lists().length === 2);
    expect(watchesUpTo(1)).toBe(8);
    // Those before one that says something do not count.
    await eventually(() => watchRequests().length >= 12);
    api.objects.create(SERVICES, service("a"));
    await eventually(() => store.has("default/a"));
    const before = watchRequests().length;
    await eventually(() => lists().length === 3);
    expect(watchesUpTo(2)).toBeGreaterThanOrEqual(before + 8);
  });

  test("spreads the ends of watches over five to ten minutes", async () => {
    reflect({ random: () => 0 });
    reflect({ random: () => 0.999 });
    await eventually(() => watchRequests().length === 2);
    const seconds = watchRequests().map(({ query }) => Number(query.get("timeoutSeconds")));
    expect(seconds.sort()).toEqual([300, 600]);
  });

  test("passes selectors and the namespace on, and sees an object leave the selection", async () => {
    api.objects.create(SERVICES, service("in", { pick: "me" }));
    api.objects.create(SERVICES, service("out"));
    api.objects.create(SERVICES, service("elsewhere", { pick: "me" }, "kube-system"));
    const { store, reflector } = reflect({ labelSelector: "pick=me", namespace: "default" });
    await reflector.synced;
    await watched();
    expect(store.keys()).toEqual(["default/in"]);
    api.objects.modify(SERVICES, { namespace: "default", name: "in" }, (object) => {
      object.metadata.labels = {};
      return object;
    });
    await eventually(() => store.size === 0);
  });

  test("keeps nothing of managedFields, and of the rest what the transform keeps", async () => {
    const managed = service("a");
    managed.metadata.managedFields = [{ manager: "kubectl" }];
    managed.metadata.annotations = { big: "x".repeat(1000) };
    api.objects.create(SERVICES, managed);
    const { store, reflector } = reflect({
      transform: (object) => {
        delete object.metadata.annotations;
        return object;
      },
    });
    await reflector.synced;
    expect(store.get("default/a")?.metadata).not.toHaveProperty("managedFields");
    expect(store.get("default/a")?.metadata).not.toHaveProperty("annotations");
  });

  test("takes an object that the transform drops as not there", async () => {
    api.objects.create(SERVICES, service("a"));
    const { store, reflector } = reflect({
      transform: (object) => (object.metadata.labels?.hide ? undefined : object),
    });
    await reflector.synced;
    await watched();
    expect(store.size).toBe(1);
    api.objects.modify(SERVICES, { namespace: "default", name: "a" }, (object) => {
      object.metadata.labels = { hide: "yes" };
      return object;
    });
    await eventually(() => store.size === 0);
  });

  test("survives a sink that throws: says so, and brings everything again", async () => {
    const store = new Store<Service>();
    let poison = true;
    const sink = {
      apply: (object: Service) => {
        if (poison) throw new Error("a bug in the handler");
        store.apply(object);
      },
      delete: (object: Service) => store.delete(object),
      reset: (objects: Service[], version?: string) => store.reset(objects, version),
    };
    const { reflector } = reflect({ sink });
    const errors: (string | undefined)[] = [];
    reflector.onStateChange(() => errors.push(reflector.state().lastError));
    await watched();
    api.objects.create(SERVICES, service("a"));
    await eventually(() => store.has("default/a"));
    expect(errors.join()).toContain("a bug in the handler");
    poison = false;
    await watched();
    api.objects.create(SERVICES, service("b"));
    await eventually(() => store.has("default/b"));
  });

  test("does not take a list that is longer than the sink's capacity, and keeps what it had", async () => {
    api.objects.create(SERVICES, service("a"));
    const store = new Store<Service>({ capacity: 3 });
    const { reflector } = reflect({ sink: store, pageSize: 2 });
    await reflector.synced;
    await watched();
    for (let n = 0; n < 5; n++) api.objects.create(SERVICES, service(`s${n}`));
    await eventually(() => reflector.state().lastError?.includes("more than 3 objects: it is not taken"));
    expect(store.has("default/a")).toBe(true);
    expect(store.size).toBe(3);
    for (let n = 0; n < 5; n++) api.objects.delete(SERVICES, { namespace: "default", name: `s${n}` });
    await eventually(() => store.size === 1 && reflector.connected);
  });

  test("does not take a list that is heavier than the sink takes", async () => {
    for (const name of ["a", "b", "c"]) api.objects.create(SERVICES, service(name, { x: "y".repeat(1_000) }));
    const store = new Store<Service>({ maxBytes: 3_200 });
    const { reflector } = reflect({ sink: store });
    await eventually(() => reflector.state().lastError?.includes("more than 3200 bytes: it is not taken"));
    api.objects.delete(SERVICES, { namespace: "default", name: "c" });
    await eventually(() => store.size === 2 && reflector.connected);
  });

  test.each([false, true])(
    "asks for fewer objects a page where a page is longer than the client takes (HTTP/1.1: %s)",
    async (http1) => {
      const server = await FakeApi.start({ http1 });
      for (let n = 0; n < 20; n++) {
        server.objects.create(SERVICES, service(`s${n}`, { x: "y".repeat(100_000) }));
      }
      const narrow = new KubeClient({
        cluster: "east",
        credentials: server.credentials(),
        maxResponseBytes: 500_000,
        connections: 2,
      });
      const { store, reflector } = reflect({ client: narrow });
      await reflector.synced;
      expect(store.size).toBe(20);
      expect(reflector.state()).toMatchObject({ lists: 1, lastError: undefined });
      stop.abort();
      await Promise.all(running);
      await narrow.close();
      await server.close();
    },
  );

  test("gives up a list whose single object is longer than the client takes", async () => {
    api.objects.create(SERVICES, service("a", { x: "y".repeat(10_000) }));
    const narrow = new KubeClient({
      cluster: "east",
      credentials: api.credentials(),
      maxResponseBytes: 5_000,
    });
    const { reflector } = reflect({ client: narrow });
    await eventually(() => reflector.state().lastError?.includes("the answer is longer than 5000 bytes"));
    stop.abort();
    await Promise.all(running);
    await narrow.close();
  });

  test("does not call itself connected by turns where every watch breaks as soon as it is open", async () => {
    const states: boolean[] = [];
    api.faults.inject({ kind: "body", body: "garbage\n" }, { times: 1000, when: ({ watch }) => watch });
    const { reflector } = reflect();
    reflector.onStateChange(() => states.push(reflector.connected));
    await eventually(() => reflector.state().watches > 10);
    expect(reflector.error).toBeDefined();
    expect(states.filter(Boolean).length).toBeLessThanOrEqual(2);
  });

  test("says so when every watch is ended as soon as it is open", async () => {
    api.faults.inject({ kind: "body", body: "" }, { times: 1000, when: ({ watch }) => watch });
    const { reflector } = reflect();
    await eventually(() => reflector.state().lastError?.includes("every watch of services is ended"));
    expect(reflector.connected).toBe(false);
  });

  test("recognizes a list without an end", async () => {
    api.objects.create(SERVICES, service("a"));
    api.objects.create(SERVICES, service("b"));
    api.faults.inject({ kind: "endless-list" }, { times: 100 });
    const { reflector } = reflect({ sink: new Store<Service>({ capacity: 20 }), pageSize: 1 });
    await eventually(() => reflector.error);
    expect(reflector.state().lastError).toContain("twice");
    expect(reflector.isSynced).toBe(false);
  });

  test.each([
    ["HTML", "<html>Sign in</html>", 'the answer is no JSON but "<html>Sign in</html>"'],
    ["nothing", "", "the answer is no JSON but nothing"],
    ["another object", '{"kind":"Pod"}', "the answer is no list of services"],
    ["a list of nameless things", '{"metadata":{},"items":[{}]}', "the answer is no list of services"],
  ])("says that no API server answered when the answer is %s", async (_what, body, message) => {
    api.faults.inject({ kind: "body", body });
    const { reflector } = reflect();
    const errors: (string | undefined)[] = [];
    reflector.onStateChange(() => errors.push(reflector.state().lastError));
    await reflector.synced;
    expect(errors[0]).toContain(message);
  });

  test("goes on after garbage in the stream of a watch", async () => {
    api.faults.inject({ kind: "body", body: "{broken\n" }, { when: ({ watch }) => watch });
    const { store, reflector } = reflect();
    await eventually(() => watchRequests().length === 2);
    api.objects.create(SERVICES, service("a"));
    await eventually(() => store.has("default/a"));
    expect(reflector.state().lastError).toBeUndefined();
  });

  test("uses new credentials at once, without a new list", async () => {
    api.tokens.set("second", Number.POSITIVE_INFINITY);
    const { store, reflector } = reflect();
    await watched();
    client.swapCredentials(api.credentials("second"));
    api.tokens.delete("fake-token");
    await eventually(() => watchRequests().length === 2);
    expect(watchRequests()[1]?.token).toBe("second");
    api.objects.create(SERVICES, service("a"));
    await eventually(() => store.has("default/a"));
    expect(reflector.state()).toMatchObject({ lists: 1, lastError: undefined });
  });

  test("hurries once for new credentials, and not again later", async () => {
    let now = 0;
    const { clock, pauses } = impatientClock();
    const { reflector } = reflect({ clock: { ...clock, monotonic: () => now } });
    await eventually(() => reflector.state().watches === 1);
    now += 1_000;
    client.swapCredentials(api.credentials());
    await eventually(() => reflector.state().watches === 2);
    api.faults.inject({ kind: "status", status: 429, retryAfterSeconds: 7 });
    now += 1_000;
    api.watches.end();
    await eventually(() => reflector.state().watches === 3);
    expect(pauses).toEqual([7000]);
  });

  test("does not sit out a pause when new credentials come", async () => {
    const patient = {
      ...systemClock,
      sleep: (_ms: number, signal?: AbortSignal) => systemClock.sleep(2 ** 30, signal),
    };
    api.tokens.set("second", Number.POSITIVE_INFINITY);
    api.tokens.delete("fake-token");
    const { reflector } = reflect({ clock: patient });
    await eventually(() => reflector.error);
    expect(reflector.state().lastError).toContain("401 Unauthorized");
    client.swapCredentials(api.credentials("second"));
    await reflector.synced;
  });

  test("shows since when it may be out of date", async () => {
    const clock = { ...impatientClock().clock, now: () => 1234 };
    const { reflector } = reflect({ clock });
    await watched();
    await eventually(() => reflector.connected);
    expect(reflector.state().staleSince).toBeUndefined();
    await api.unreachable();
    await eventually(() => !reflector.connected);
    expect(reflector.state().staleSince).toBe(1234);
    expect(reflector.state().lastError).toMatch(/127\.0\.0\.1:\d+/);
    await api.listen();
    await eventually(() => reflector.connected);
    expect(reflector.state()).toMatchObject({ staleSince: undefined, lastError: undefined });
  });

  test("ends when it is told to, in a pause as well as in a watch", async () => {
    reflect();
    await watched();
    api.faults.inject({ kind: "status", status: 500 }, { times: 1000 });
    reflect();
    await eventually(() => lists().length > 3);
    stop.abort();
    await Promise.all(running);
    await eventually(() => api.watches.size === 0);
  });
});
