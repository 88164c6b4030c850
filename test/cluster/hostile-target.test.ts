import type { ServerResponse } from "node:http";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { isNotFound } from "../../controller/kube/errors.ts";
import type { EndpointSlice, Service } from "../../controller/kube/objects.ts";
import { LINKS } from "../../controller/kube/resource.ts";
import { ControllerProgram } from "./controller-program.ts";
import { type Behaviour, HostileServer, pour } from "./hostile-server.ts";
import { RecordingProxy } from "./recording-proxy.ts";
import { until } from "./until.ts";
import { World } from "./world.ts";

const GB = 1024 ** 3;
/** What the program holds at the most, whatever they do. */
const MEMORY_MIB = 700;

let world: World;
let hostile: HostileServer;
let proxy: RecordingProxy;
let program: ControllerProgram;

/** An exported Service of a hostile target, with whatever is wrong with it. */
function service(name: string, metadata: object = {}, spec: object = {}): Service {
  const labels = { "mirror.linkerd.io/exported": "true", "isthmus.test/world": world.id };
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: {
      name,
      namespace: world.namespace,
      uid: name,
      resourceVersion: "5",
      labels,
      ...metadata,
    },
    spec: { ports: [{ name: "http", port: 80, protocol: "TCP" }], ...spec },
  } as Service;
}

/** The slice of a hostile target's service, with one pod. */
function slice(name: string, endpoints: unknown = [{ addresses: ["10.9.0.1"], hostname: "pod-0" }]) {
  const labels = { ...service(name).metadata.labels, "kubernetes.io/service-name": name };
  const { metadata } = service(name, { labels });
  return {
    ...service(name),
    kind: "EndpointSlice",
    metadata,
    addressType: "IPv4",
    endpoints,
  } as EndpointSlice;
}

function listOf(items: unknown[], metadata: object = {}): string {
  return JSON.stringify({
    kind: "ServiceList",
    apiVersion: "v1",
    metadata: { resourceVersion: "10", ...metadata },
    items,
  });
}

/**
 * An honest list of these, and of nothing else; a watch of them stays open, and silent, unless `watch` does something with
 * it.
 */
function lists(items: () => unknown[], watch?: Behaviour, resource = "services"): Behaviour {
  return (call) => {
    const isAsked = call.resource === resource;
    if (!call.watch) {
      call.response.end(listOf(isAsked ? items() : []));
      return;
    }
    call.response.flushHeaders();
    return isAsked ? watch?.(call) : undefined;
  };
}

/** The same answer to everything. */
const says = (status: number, body: string | Buffer, headers: Record<string, string> = {}): Behaviour => {
  return ({ response }) => void response.writeHead(status, headers).end(body);
};

const event = (type: string, object: unknown) => `${JSON.stringify({ type, object })}\n`;
const html = "<html><head><title>Welcome</title></head><body>It works!</body></html>";
const nested = `${"[".repeat(1_500_000)}${"]".repeat(1_500_000)}`;

/** So many objects a page, made as they are sent: the test's own memory is bounded too. */
function many(count: number, page: number, make: (n: number) => unknown): Behaviour {
  return async ({ watch, query, response }) => {
    if (watch) return void response.flushHeaders();
    const limit = Math.min(Number(query.get("limit") ?? page), page);
    const from = Number(query.get("continue") ?? 0);
    const to = Math.min(count, from + limit);
    const more = to < count ? { continue: String(to) } : {};
    response.write(
      `{"kind":"ServiceList","metadata":${JSON.stringify({ resourceVersion: "10", ...more })},"items":[`,
    );
    for (let n = from; n < to && !response.destroyed; n++) {
      await pour(response, `${n === from ? "" : ","}${JSON.stringify(make(n))}`, 1);
    }
    response.end("]}");
  };
}

/** What a target does, and by which reason its Link says so. */
const behaviours: Record<string, [reason: string, Behaviour]> = {
  garbage: ["BadAnswer", says(200, Buffer.from(Array.from({ length: 4096 }, (_, n) => (n * 7919) % 256)))],
  html: ["BadAnswer", says(200, html, { "content-type": "text/html" })],
  "html-502": ["Unreachable", says(502, html, { "content-type": "text/html" })],
  "not-found": ["BadAnswer", says(404, html)],
  redirect: ["BadAnswer", says(302, "", { location: "https://169.254.169.254/latest/meta-data" })],
  gzip: ["BadAnswer", says(200, gzipSync("x".repeat(1e7)), { "content-encoding": "gzip" })],
  empty: ["BadAnswer", says(200, "")],
  nested: ["BadAnswer", says(200, nested)],
  "no-list": ["BadAnswer", says(200, '{"metadata":{"resourceVersion":"1"},"items":{"a":1}}')],
  nameless: ["BadAnswer", says(200, '{"metadata":{"resourceVersion":"1"},"items":[{"metadata":{}}]}')],
  "no-version": ["BadAnswer", says(200, '{"metadata":{},"items":[]}')],
  "too-many-requests": ["Unreachable", says(429, "{}", { "retry-after": "86400" })],
  half: [
    "Unreachable",
    ({ response }) => {
      response.writeHead(200, { "content-length": "100000" });
      response.write('{"metadata":{"resourceVersion":"1"},"items":[', () => response.destroy());
    },
  ],
  silence: [
    "Unreachable",
    ({ response }) => void response.write('{"metadata":{"resourceVersion":"1"},"items":['),
  ],
  "no-answer": ["Unreachable", () => undefined],
  "same-place": ["BadAnswer", ({ response }) => void response.end(listOf([service("a")], { continue: "x" }))],
  "same-page": [
    "BadAnswer",
    ({ response, before }) => void response.end(listOf([service("a")], { continue: `x${before}` })),
  ],
  "empty-pages": [
    "BadAnswer",
    ({ response, before }) => void response.end(listOf([], { continue: `x${before}` })),
  ],
  "endless-list": [
    "LimitExceeded",
    ({ response, before }) => {
      const items = Array.from({ length: 500 }, (_, n) => service(`s${before}-${n}`));
      response.end(listOf(items, { continue: `x${before}` }));
    },
  ],
  "10-gb": [
    "LimitExceeded",
    async ({ response }) => {
      response.write('{"metadata":{"resourceVersion":"1"},"items":["');
      await pour(response, "x".repeat(65_536), 10 * GB);
    },
  ],
  "endless-event": [
    "LimitExceeded",
    lists(
      () => [],
      ({ response }) => pour(response, "x".repeat(65_536), 10 * GB),
    ),
  ],
  "20001-services": ["LimitExceeded", many(20_001, 500, (n) => service(`s${n}`))],
  "huge-services": [
    "LimitExceeded",
    many(20_000, 500, (n) => service(`s${n}`, { annotations: { note: "x".repeat(250_000) } })),
  ],
  // What is too large is not remembered, and the service refused by itself.
  "huge-services-one-by-one": [
    "Connected",
    lists(
      () => [],
      async ({ response }) => {
        for (let n = 0; n < 20_000 && !response.destroyed; n++) {
          const large = service(`s${n}`, {
            resourceVersion: String(20 + n),
            annotations: { note: "x".repeat(250_000) },
          });
          await pour(response, event("ADDED", large), 1);
        }
      },
    ),
  ],
  backwards: [
    "BadAnswer",
    lists(
      () => [service("a")],
      ({ response }) => void response.write(event("MODIFIED", service("a", { resourceVersion: "3" }))),
    ),
  ],
  "watch-garbage": [
    "BadAnswer",
    lists(
      () => [],
      ({ response }) => void response.write("garbage\n"),
    ),
  ],
  "short-watches": [
    "BadAnswer",
    lists(
      () => [],
      ({ response }) => void response.end(),
    ),
  ],
  "wrong-types": ["BadAnswer", lists(() => [service("a", { labels: { "isthmus.test/world": 5 } })])],
  "wrong-ports": ["BadAnswer", lists(() => [service("a", {}, { ports: [{ port: "80" }, 7] })])],
  "wrong-types-in-watch": [
    "BadAnswer",
    lists(
      () => [],
      ({ response }) =>
        void response.write(event("ADDED", service("a", { resourceVersion: "11", annotations: { a: {} } }))),
    ),
  ],
  unasked: [
    "Connected",
    lists(
      () => [service("unasked-listed", { labels: {} })],
      ({ response }) => {
        const sent = { resourceVersion: "11" };
        response.write(event("ADDED", service("unasked-labels", { ...sent, labels: {} })));
        response.write(event("ADDED", service("unasked-system", { ...sent, namespace: "kube-system" })));
        response.write(event("DELETED", service("never-there", sent)));
      },
    ),
  ],
  "bad-names": [
    "BadAnswer",
    lists(() =>
      ["../../../etc", "UPPER", "a.b", "ünïcode", "__proto__", "x".repeat(64), "a b", "-a"].map((name) =>
        service(name),
      ),
    ),
  ],
};

/** Those of which something is mirrored. */
const mirrored: Record<string, Behaviour> = {
  "managed-fields": lists(() =>
    Array.from({ length: 3 }, (_, n) =>
      service(`managed-${n}`, { managedFields: [{ manager: "x".repeat(1_000_000) }] }),
    ),
  ),
  "odd-keys": lists(() => [
    service("odd-keys", {
      annotations: { constructor: "a", toString: "b", hasOwnProperty: "c", "example.com/ü": "ü" },
    }),
    service("plain-keys"),
    JSON.parse(
      JSON.stringify(service("proto")).replace(
        '"labels":{',
        '"labels":{"__proto__":"polluted","constructor":"c",',
      ),
    ),
  ]),
};

const answered = (name: string): Behaviour => behaviours[name]![1];
const podSlice = () => [slice("headless")];

/** What a target that was honest answers to its next lists and watches of one resource, and by which reason its Link says so. */
const turns: [resource: string, name: string, reason: string, Behaviour][] = [
  ["services", "garbage", "BadAnswer", answered("garbage")],
  ["services", "html", "BadAnswer", answered("html")],
  ["services", "half", "Unreachable", answered("half")],
  ["services", "same-page", "BadAnswer", answered("same-page")],
  ["services", "10-gb", "LimitExceeded", answered("10-gb")],
  ["services", "20001-services", "LimitExceeded", answered("20001-services")],
  ["services", "bad-names", "BadAnswer", answered("bad-names")],
  ["endpointslices", "garbage", "BadAnswer", answered("garbage")],
  ["endpointslices", "html", "BadAnswer", answered("html")],
  ["endpointslices", "half", "Unreachable", answered("half")],
  ["endpointslices", "same-page", "BadAnswer", answered("same-page")],
  ["endpointslices", "10-gb", "LimitExceeded", answered("10-gb")],
  ["endpointslices", "40001-slices", "LimitExceeded", many(40_001, 500, (n) => slice(`s${n}`))],
  [
    "endpointslices",
    "wrong-types",
    "BadAnswer",
    lists(() => [slice("headless", [{ addresses: 7 }])], undefined, "endpointslices"),
  ],
  [
    "endpointslices",
    "watch-garbage",
    "BadAnswer",
    lists(podSlice, ({ response }) => void response.write("garbage\n"), "endpointslices"),
  ],
  [
    "endpointslices",
    "wrong-types-in-watch",
    "BadAnswer",
    lists(
      podSlice,
      ({ response }) => {
        const wrong = slice("headless", {});
        wrong.metadata.resourceVersion = "11";
        response.write(event("MODIFIED", wrong));
      },
      "endpointslices",
    ),
  ],
  [
    "endpointslices",
    "endless-event",
    "LimitExceeded",
    lists(podSlice, ({ response }) => pour(response, "x".repeat(65_536), 10 * GB), "endpointslices"),
  ],
];

/** A target that is honest until it is told to turn, and again once it is told to repent. */
class Turncoat {
  readonly services = [service("kept"), service("headless", {}, { clusterIP: "None" })];
  readonly #watches = new Set<ServerResponse>();
  readonly #resource: string;
  readonly #does: Behaviour;
  #isHostile = false;

  constructor(resource: string, does: Behaviour) {
    this.#resource = resource;
    this.#does = does;
  }

  readonly answer: Behaviour = (call) => {
    const { resource, watch, response } = call;
    if (watch) this.#watches.add(response);
    if (this.#isHostile && resource === this.#resource) return this.#does(call);
    const items = resource === "services" ? () => this.services : podSlice;
    return lists(items, undefined, resource)(call);
  };

  turn(): void {
    this.#isHostile = true;
    this.#expire();
  }

  repent(): void {
    this.#isHostile = false;
    this.#expire();
  }

  /** Whoever watches must list again. */
  #expire(): void {
    const status = { kind: "Status", code: 410, reason: "Expired", message: "too old resource version" };
    for (const response of this.#watches) response.end(event("ERROR", status));
    this.#watches.clear();
  }
}

const turncoats: Record<string, Turncoat> = {};

const linkName = (behaviour: string) => `h-${behaviour}`;

beforeAll(async () => {
  world = await World.create();
  const all = Object.fromEntries(Object.entries(behaviours).map(([name, [, does]]) => [name, does]));
  for (const [resource, name, , does] of turns)
    turncoats[`${resource}-${name}`] = new Turncoat(resource, does);
  const turning = Object.entries(turncoats).map(([name, { answer }]) => [name, answer]);
  hostile = await HostileServer.start({ ...all, ...mirrored, ...Object.fromEntries(turning) });
  proxy = await RecordingProxy.open("program", [], world.sourceCredentials);
  await world.link();
  program = await ControllerProgram.start("program", proxy.kubeconfig(), world.isthmus);
  await world.export("before");
  await until(() => world.mirror("before-remote"));
});

afterAll(async () => {
  await program.destroy();
  await world.destroy();
  await hostile.close();
  await proxy.close();
});

async function linkTo(behaviour: string): Promise<string> {
  const name = linkName(behaviour);
  await world.putCredentials(hostile.kubeconfig(behaviour), name);
  await world.putLink({}, name);
  return name;
}

async function unlink(name: string): Promise<void> {
  const ref = { namespace: world.isthmus, name };
  await world.source.delete(LINKS, ref);
  await until(async () => {
    const gone = await world.source.get(LINKS, ref).then(
      () => false,
      (error) => isNotFound(error),
    );
    if (!gone) throw new Error(`Link ${name} is still there`);
  });
}

describe("a target that answers by", () => {
  test.each(Object.entries(behaviours).map(([name, [reason]]) => [name, reason] as const))(
    "%s has the condition %s and an Event, and beside it a good one is mirrored",
    async (behaviour, reason) => {
      const name = await linkTo(behaviour);
      const since = performance.now();
      await world.export(`beside-${behaviour}`);
      await until(() => world.mirror(`beside-${behaviour}-remote`));
      const ms = performance.now() - since;
      const condition = await until(async () => {
        const found = await world.condition("Connected", name);
        if (found?.reason !== reason) throw new Error(JSON.stringify(found));
        return found;
      }, 180_000);
      expect(condition.message.length).toBeLessThanOrEqual(512);
      await until(async () => {
        const events = await world.events();
        if (!events.some((each) => each.involvedObject?.name === name && each.reason === reason))
          throw new Error(`no Event ${reason} on ${name}`);
      });
      const { resident, peak } = await program.memory();
      console.log(
        `${behaviour}: ${condition.reason}; good one mirrored in ${ms.toFixed(0)} ms; memory ${resident} MiB, ${peak} at the most; ${hostile.calls.get(behaviour)} calls`,
      );
      const { services } = await world.names();
      services.push(...(await world.names("kube-system")).services);
      // Nothing of it has come into the source, but for what it lists before it goes back on its word.
      expect(services.filter((each) => each.endsWith(`-${name}`) && each !== `a-${name}`)).toEqual([]);
      await unlink(name);
    },
  );

  test("a megabyte of managedFields with each Service is mirrored, page by page", async () => {
    const name = await linkTo("managed-fields");
    for (let n = 0; n < 3; n++) await until(() => world.mirror(`managed-${n}-${name}`));
    await unlink(name);
  });

  test("keys that are traps for programs like this one is mirrored as far as the source takes them", async () => {
    const name = await linkTo("odd-keys");
    await until(() => world.mirror(`plain-keys-${name}`));
    await world.serviceReason("odd-keys", "Refused", name);
    await world.serviceReason("proto", "Refused", name);
    await unlink(name);
  });
});

describe("a target that turns hostile keeps its mirrors, and is mirrored again once it is honest:", () => {
  test.each(turns.map(([resource, name, reason]) => [resource, name, reason] as const))(
    "its %s become %s, which is told as %s",
    async (resource, behaviour, reason) => {
      const target = `${resource}-${behaviour}`;
      const turncoat = turncoats[target]!;
      const name = await linkTo(target);
      for (const each of ["kept", "headless", "pod-0"]) await until(() => world.slice(`${each}-${name}`));
      await world.reason("Synced", "Synced", name);
      await until(async () =>
        expect((await world.slice(`headless-${name}`)).endpoints).toMatchObject([{ hostname: "pod-0" }]),
      );
      const were = await mirrorsOf(name);
      turncoat.turn();
      const condition = await until(() => world.reason("Connected", reason, name), 90_000);
      expect(condition.status).toBe("False");
      await world.export(`beside-${target}`);
      await until(() => world.mirror(`beside-${target}-remote`));
      expect(await mirrorsOf(name)).toEqual(were);
      turncoat.services.push(service("news"));
      turncoat.repent();
      await until(() => world.slice(`news-${name}`), 90_000);
      await until(() => world.reason("Connected", "Connected", name), 90_000);
      expect(await mirrorsOf(name)).toMatchObject(were);
      await unlink(name);
    },
  );

  /** uid and version of everything that stands for a target. */
  async function mirrorsOf(link: string): Promise<Record<string, string>> {
    const all = Object.entries(await world.fingerprint());
    return Object.fromEntries(
      all.filter(([object]) => /^(Service|EndpointSlice) /.test(object) && object.includes(`-${link}`)),
    );
  }
});

test("after all that it is one and the same process, of bounded memory, that has not been busy", async () => {
  expect(program.running).toBe(true);
  const before = await program.cpuSeconds();
  const calls = () => [...hostile.calls.values()].reduce((sum, each) => sum + each, 0);
  const asked = calls();
  const since = performance.now();
  await world.export("after");
  await until(() => world.mirror("after-remote"));
  await until(async () => {
    if (performance.now() - since < 10_000) throw new Error("ten seconds are to be looked at");
  });
  const { resident, peak } = await program.memory();
  console.log(
    `memory ${resident} MiB, ${peak} at the most; in 10 s ${((await program.cpuSeconds()) - before).toFixed(1)} s of processor time and ${calls() - asked} calls to ${hostile.calls.size} hostile targets`,
  );
  for (const [name, count] of [...hostile.calls].sort((a, b) => b[1] - a[1]).slice(0, 8))
    console.log(`  ${name}: ${count} calls`);
  expect(peak).toBeLessThan(MEMORY_MIB);
});
