import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { Registry } from "prom-client";
import { type GatewayReference, type Link, type LinkSpec, linkLabelValue } from "../../contract/index.ts";
import { silentLog } from "../../controller/kube/log.ts";
import { keyOf, type Service } from "../../controller/kube/objects.ts";
import { Store } from "../../controller/kube/store.ts";
import { type DataPlane, desiredService } from "../../controller/mirror/desired.ts";
import type { LinkEvent } from "../../controller/mirror/events.ts";
import { Backends } from "../../controller/mirror/gateways/backends.ts";
import { gatewayKey } from "../../controller/mirror/gateways/choice.ts";
import type { FoundService } from "../../controller/mirror/gateways/gateway-services.ts";
import { Gateways } from "../../controller/mirror/gateways/gateways.ts";
import { GatewayMetrics } from "../../controller/mirror/gateways/metrics.ts";
import { Ways } from "../../controller/mirror/gateways/ways.ts";
import { BY_LINK, BY_TARGET, mirrorStore } from "../../controller/mirror/source.ts";
import { linkStatus } from "../../controller/mirror/status.ts";
import { FakeClock, settle } from "../support/fake-clock.ts";
import { aGatewayService, aLink, anEgressPod, anExport, ready } from "../support/mirror-objects.ts";

/** Links' gateways with everything around them made up: what answers, what names stand for, what the targets say. */
class Scene {
  readonly clock = new FakeClock();
  readonly links = new Store<Link>()
    .index(BY_TARGET, (link) => [link.spec.targetClusterName])
    .index(BY_LINK, (link) => [linkLabelValue(link.metadata)]);
  readonly mirrors = mirrorStore();
  readonly pods = new Store<ReturnType<typeof anEgressPod>>();
  /** IP addresses that do not answer, and how. */
  readonly dead = new Map<string, string>();
  readonly probed: string[] = [];
  readonly names = new Map<string, string[]>();
  readonly said = new Map<string, FoundService>();
  wanted: GatewayReference[] = [];
  listed = true;
  readonly changes: string[] = [];
  readonly news: string[] = [];
  readonly events: LinkEvent[] = [];
  readonly registry = new Registry();
  readonly #stop = new AbortController();
  readonly gateways: Gateways;
  readonly backends: Backends;
  #running: Promise<void> | undefined;

  constructor(dataPlane: DataPlane = "linkerd") {
    this.gateways = new Gateways({
      source: { links: this.links, services: this.mirrors },
      dataPlane,
      target: () => ({
        services: {
          of: (ref) => (this.said.has(gatewayKey(ref)) ? this.said.get(gatewayKey(ref)) : "unknown"),
          wanted: this.wanted,
        },
        listed: this.listed,
      }),
      clock: this.clock,
      random: () => 0,
      log: silentLog,
      events: { record: (_, event) => void this.events.push(event) },
      metrics: new GatewayMetrics(this.registry),
      onChange: (link, urgent) => this.changes.push(`${link.metadata.name}${urgent ? " urgent" : ""}`),
      onNews: (link) => this.news.push(link.metadata.name),
      lookup: async (host) => {
        const ips = this.names.get(host);
        if (ips === undefined) throw new Error(`${host} is not known`);
        return { ips, ttlMs: 60_000 };
      },
      probe: async ({ ip, port }) => {
        this.probed.push(`${ip}:${port}`);
        const cause = this.dead.get(ip);
        if (cause !== undefined) throw new Error(cause);
      },
    });
    this.backends = new Backends({ pods: this.pods } as never, this.gateways, dataPlane);
  }

  async start(): Promise<void> {
    this.#running = this.gateways.run(this.#stop.signal);
    await settle();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  put(spec: Partial<LinkSpec>, changes: Partial<Link["metadata"]> = {}, status?: Link["status"]): Link {
    const link = { ...aLink(spec, changes), ...(status && { status }) };
    this.links.apply(link);
    return link;
  }

  /** The target says this of a gateway's Service. */
  async say(service: Service | undefined, ref: GatewayReference): Promise<void> {
    this.said.set(gatewayKey(ref), service);
    for (const key of this.links.keys()) this.gateways.refresh(key);
    await settle();
  }

  /** What the controller writes: the status that follows from what is known now. */
  report(link: Link): Link {
    const condition = this.gateways.conditionOf(link);
    const connection = { status: "True", reason: "Connected", message: "" } as const;
    const status = linkStatus(
      link,
      {
        ...{ connection, listed: true, isPending: false, services: [] },
        others: condition ? [condition] : [],
        gateways: this.gateways.statusOf(link),
      },
      new Date(this.clock.now()),
    );
    const written = { ...link, status };
    this.links.apply(written);
    return written;
  }

  ips(link: Link, ref?: GatewayReference): string[] {
    return this.backends.of(link, ref).addresses.map(({ ip, ready: well }) => `${ip}${well ? "" : " dead"}`);
  }
}

let scene: Scene;
afterEach(() => scene.stop());

const probe = { period: "3s", failureThreshold: 3 };
const gateway = { namespace: "isthmus", name: "isthmus-gateway" };
/** Long enough for three failures after a success. */
const DEATH = 9_000;

describe("a Link's own gateway", () => {
  beforeEach(async () => {
    scene = new Scene();
    await scene.start();
  });

  test("is reached as the Link says", () => {
    const link = scene.put({ gatewayAddresses: ["192.0.2.1", "192.0.2.2"], gatewayPort: 5000 });
    expect(scene.backends.of(link)).toEqual({
      addresses: ready("192.0.2.1", "192.0.2.2"),
      port: 5000,
      identity: "gateway.remote.demo.mesh",
    });
  });

  test("is reached as its Service says, once that is known, and when that changes", async () => {
    const link = scene.put({ gateway });
    await settle();
    expect(scene.backends.of(link)).toMatchObject({ addresses: ready("192.0.2.127"), port: 4143 });
    scene.changes.length = 0;
    const spec = { ports: [{ name: "mc-gateway", port: 5143 }] };
    await scene.say(aGatewayService({ spec, identity: "gateway.evil.demo.mesh" }), gateway);
    expect(scene.backends.of(link)).toEqual({
      addresses: ready("203.0.113.1"),
      port: 5143,
      identity: "gateway.remote.demo.mesh",
    });
    await scene.say(aGatewayService({ spec, ingress: [{ ip: "203.0.113.2" }] }), gateway);
    expect(scene.ips(link)).toEqual(["203.0.113.2"]);
    expect(scene.changes).toEqual(["remote", "remote"]);
    scene.gateways.refresh(keyOf(link));
    expect(scene.changes).toHaveLength(2);
  });

  test.each<[string, Service | undefined, string]>([
    ["is gone", undefined, "the target has no Service isthmus/isthmus-gateway"],
    ["has no address of a load balancer", aGatewayService({ ingress: [] }), "no address yet"],
    ["has an address that it may not have", aGatewayService({ ingress: [{ ip: "127.0.0.1" }] }), "127.0.0.1"],
  ])(
    "is reached as the Link says while its Service %s, and the condition says so",
    async (_, service, words) => {
      const link = scene.put({ gateway, probe });
      await scene.say(service, gateway);
      expect(scene.ips(link)).toEqual(["192.0.2.127"]);
      expect(scene.gateways.conditionOf(link)).toMatchObject({
        reason: "GatewayAlive",
        message: expect.stringContaining(words),
      });
      const bare = scene.put({ gateway, gatewayAddresses: [] }, { generation: 2 });
      expect(scene.backends.of(bare)).toEqual({ addresses: [] });
      expect(scene.gateways.conditionOf(bare)).toMatchObject({
        status: "False",
        reason: "NoGateway",
        message: expect.stringContaining(words),
      });
    },
  );

  test("is none where the Link names none", () => {
    const link = scene.put({ gatewayAddresses: [], probe });
    expect(scene.backends.of(link)).toEqual({ addresses: [] });
    expect(scene.gateways.statusOf(link)).toEqual([]);
    expect(scene.gateways.conditionOf(link)).toMatchObject({ status: "Unknown", reason: "NoGateway" });
  });

  test("that is not known yet leaves what exists alone", () => {
    const link = scene.put({ gateway, gatewayAddresses: [] });
    expect(scene.backends.of(link)).toEqual({ addresses: [], pending: true });
    expect(scene.gateways.conditionOf(link)).toBeUndefined();
  });

  test("is as the status has it while the target cannot be asked, unless the Link was changed since", () => {
    const status = {
      observedGeneration: 1,
      gateways: [{ addresses: [{ address: "203.0.113.7", alive: true }], port: 5143 }],
    };
    const link = scene.put({ gateway }, {}, status);
    expect(scene.backends.of(link)).toMatchObject({ addresses: ready("203.0.113.7"), port: 5143 });
    const changed = scene.put({ gateway }, { generation: 2 }, status);
    expect(scene.backends.of(changed)).toMatchObject({ addresses: ready("192.0.2.127"), port: 4143 });
  });
});

describe("the probes of a gateway", () => {
  beforeEach(async () => {
    scene = new Scene();
    await scene.start();
  });

  test("are not made where the Link asks for none: it is taken to be alive, and the condition says so", async () => {
    const link = scene.put({});
    scene.dead.set("192.0.2.127", "refused");
    await scene.clock.advance(60_000);
    expect(scene.probed).toEqual([]);
    expect(scene.ips(link)).toEqual(["192.0.2.127"]);
    expect(scene.gateways.conditionOf(link)).toMatchObject({ status: "Unknown", reason: "GatewayNotProbed" });
  });

  test("ask the port of the Link, or that of the Service that is followed", async () => {
    scene.put({ probe: { ...probe, port: 5191 }, gateway });
    await settle();
    expect(scene.probed).toEqual(["192.0.2.127:5191"]);
    await scene.say(aGatewayService(), gateway);
    expect(scene.probed).toEqual(["192.0.2.127:5191", "203.0.113.1:4191"]);
  });

  test("find one address dead and not the other, urgently, and tell of it once", async () => {
    const link = scene.put({ gatewayAddresses: ["192.0.2.1", "192.0.2.2"], probe });
    await settle();
    expect(scene.gateways.conditionOf(link)).toMatchObject({
      status: "True",
      message: "2 of 2 addresses answer their probes",
    });
    scene.changes.length = 0;
    scene.dead.set("192.0.2.2", "refused");
    await scene.clock.advance(DEATH + 3_000);
    expect(scene.ips(link)).toEqual(["192.0.2.1", "192.0.2.2 dead"]);
    expect(scene.changes).toEqual(["remote urgent"]);
    expect(scene.events).toEqual([
      {
        type: "Warning",
        reason: "GatewayDead",
        message: "address 192.0.2.2 of the gateway does not answer its probes: refused (cluster remote)",
      },
    ]);
    const condition = scene.gateways.conditionOf(link);
    expect(condition).toMatchObject({
      status: "True",
      reason: "GatewayAlive",
      message: "1 of 2 addresses answer their probes; 192.0.2.2: refused",
    });
    expect(scene.gateways.statusOf(link)[0]?.addresses).toEqual([
      { address: "192.0.2.1", alive: true },
      { address: "192.0.2.2", alive: false },
    ]);
    scene.dead.set("192.0.2.2", "no answer");
    scene.news.length = 0;
    await scene.clock.advance(60_000);
    expect(scene.gateways.conditionOf(link)).toEqual(condition);
    expect([scene.news, scene.events.length, scene.changes.length]).toEqual([[], 1, 1]);
  });

  test("find the gateway dead when no address answers, and alive when one does again", async () => {
    const link = scene.put({ gatewayAddresses: ["192.0.2.1", "192.0.2.2"], probe });
    scene.dead.set("192.0.2.1", "refused").set("192.0.2.2", "no answer");
    await scene.clock.advance(DEATH);
    expect(scene.gateways.conditionOf(link)).toMatchObject({
      status: "False",
      reason: "GatewayDead",
      message: "the gateway does not answer its probes: 192.0.2.1: refused, 192.0.2.2: no answer",
    });
    scene.dead.delete("192.0.2.2");
    scene.changes.length = 0;
    await scene.clock.advance(3_000);
    expect(scene.changes).toEqual(["remote"]);
    expect(scene.gateways.conditionOf(link)).toMatchObject({ status: "True", reason: "GatewayAlive" });
    expect(scene.events.map(({ type, reason }) => `${type} ${reason}`)).toEqual([
      "Warning GatewayDead",
      "Warning GatewayDead",
      "Normal GatewayAlive",
    ]);
  });

  test("name three addresses in a message, and count the others", async () => {
    const gatewayAddresses = Array.from({ length: 5 }, (_, i) => `192.0.2.${i + 1}`);
    const link = scene.put({ gatewayAddresses, probe });
    for (const address of gatewayAddresses) scene.dead.set(address, "refused");
    await scene.clock.advance(DEATH);
    expect(scene.gateways.conditionOf(link)?.message).toMatch(/192\.0\.2\.3: refused, and 2 more$/);
  });

  test("end with the Link, and so do its series", async () => {
    const link = scene.put({ probe });
    await settle();
    expect(await scene.registry.metrics()).toContain('gateway_probes{target_cluster_name="remote"');
    scene.links.delete(link);
    scene.probed.length = 0;
    await scene.clock.advance(10_000);
    expect(scene.probed).toEqual([]);
    expect(await scene.registry.metrics()).not.toContain("remote");
  });

  test("end when the Link asks for them no longer: a dead gateway is taken to be alive then", async () => {
    scene.put({ probe });
    scene.dead.set("192.0.2.127", "refused");
    await scene.clock.advance(DEATH);
    const link = scene.put({}, { generation: 2 });
    scene.probed.length = 0;
    await scene.clock.advance(10_000);
    expect(scene.probed).toEqual([]);
    expect(scene.ips(link)).toEqual(["192.0.2.127"]);
  });

  test("are made for the oldest of two Links to one target only, and for the other when that goes", async () => {
    const first = scene.put({ probe });
    const second = scene.put(
      { probe, gatewayAddresses: ["192.0.2.2"] },
      { name: "twin", creationTimestamp: "2026-02-01T00:00:00Z" },
    );
    await settle();
    expect(scene.probed).toEqual(["192.0.2.127:4191"]);
    expect(scene.gateways.conditionOf(second)).toBeUndefined();
    scene.links.delete(first);
    await settle();
    expect(scene.probed).toContain("192.0.2.2:4191");
    expect(scene.gateways.conditionOf(second)).toMatchObject({ reason: "GatewayAlive" });
  });
});

describe("a controller that starts over", () => {
  beforeEach(() => {
    scene = new Scene();
  });

  /** A Link whose gateway an earlier controller found dead. */
  async function deadBefore(): Promise<Link> {
    const earlier = new Scene();
    await earlier.start();
    const link = earlier.put({ probe });
    earlier.dead.set("192.0.2.127", "refused");
    await earlier.clock.advance(DEATH);
    const written = earlier.report(link);
    await earlier.stop();
    expect(written.status?.gateways?.[0]?.addresses).toEqual([{ address: "192.0.2.127", alive: false }]);
    return written;
  }

  test("keeps a dead gateway dead until a probe succeeds, and has nothing new to write", async () => {
    const link = await deadBefore();
    scene.links.apply(link);
    scene.dead.set("192.0.2.127", "refused");
    expect(scene.ips(link)).toEqual(["192.0.2.127 dead"]);
    expect(scene.report(link).status).toEqual(link.status);
    await scene.start();
    expect(scene.report(link).status).toEqual(link.status);
    await scene.clock.advance(60_000);
    expect(scene.report(link).status).toEqual(link.status);
    expect(scene.events).toEqual([]);
    scene.dead.clear();
    await scene.clock.advance(3_000);
    expect(scene.ips(link)).toEqual(["192.0.2.127"]);
    expect(scene.events).toHaveLength(1);
  });

  test("does not take a gateway for dead before it has failed often enough", async () => {
    const link = scene.put({ probe });
    await scene.start();
    const written = scene.report(link);
    await scene.stop();
    scene = new Scene();
    scene.links.apply(written);
    scene.dead.set("192.0.2.127", "refused");
    await scene.start();
    await scene.clock.advance(3_000);
    expect(scene.ips(written)).toEqual(["192.0.2.127"]);
    expect(scene.report(written).status).toEqual(written.status);
    await scene.clock.advance(3_000);
    expect(scene.ips(written)).toEqual(["192.0.2.127 dead"]);
  });

  test("says nothing of a new gateway before its first probe", async () => {
    const link = scene.put({ probe });
    expect(scene.ips(link)).toEqual(["192.0.2.127"]);
    scene.dead.set("192.0.2.127", "refused");
    await scene.start();
    expect(scene.gateways.conditionOf(link)).toBeUndefined();
    await scene.clock.advance(DEATH);
    expect(scene.gateways.conditionOf(link)).toMatchObject({ reason: "GatewayDead" });
  });
});

describe("a gateway's host name", () => {
  const host = "gw.example.com";
  beforeEach(async () => {
    scene = new Scene();
    await scene.start();
  });

  test("stands for its IP addresses, and is alive while any of them is", async () => {
    scene.names.set(host, ["192.0.2.1", "192.0.2.2"]);
    const link = scene.put({ gatewayAddresses: [host], probe });
    await settle();
    scene.dead.set("192.0.2.1", "refused");
    await scene.clock.advance(DEATH);
    expect(scene.ips(link)).toEqual(["192.0.2.1 dead", "192.0.2.2"]);
    expect(scene.gateways.statusOf(link)[0]?.addresses).toEqual([{ address: host, alive: true }]);
    expect(scene.events).toEqual([]);
    scene.dead.set("192.0.2.2", "refused");
    await scene.clock.advance(DEATH);
    expect(scene.gateways.statusOf(link)[0]?.addresses).toEqual([{ address: host, alive: false }]);
    expect(scene.events).toHaveLength(1);
  });

  test("that gets other IP addresses is followed; while all were dead, new ones are dead until they answer", async () => {
    scene.names.set(host, ["192.0.2.1"]);
    const link = scene.put({ gatewayAddresses: [host], probe });
    scene.dead.set("192.0.2.1", "refused").set("192.0.2.2", "refused");
    await scene.clock.advance(DEATH);
    scene.names.set(host, ["192.0.2.2"]);
    await scene.clock.advance(60_000);
    expect(scene.ips(link)).toEqual(["192.0.2.2 dead"]);
    expect(scene.events).toHaveLength(1);
    scene.dead.delete("192.0.2.2");
    await scene.clock.advance(3_000);
    expect(scene.ips(link)).toEqual(["192.0.2.2"]);
  });

  test("that is not found yet leaves what exists alone, and is dead when it is not found for long", async () => {
    const link = scene.put({ gatewayAddresses: [host], probe });
    expect(scene.backends.of(link)).toMatchObject({ addresses: [], pending: true });
    await settle();
    expect(scene.gateways.statusOf(link)[0]?.addresses).toEqual([{ address: host, alive: true }]);
    await scene.clock.advance(DEATH);
    expect(scene.gateways.conditionOf(link)).toMatchObject({
      reason: "GatewayDead",
      message: expect.stringContaining("the host name gw.example.com cannot be looked up"),
    });
    scene.names.set(host, ["192.0.2.1"]);
    await scene.clock.advance(10_000);
    expect(scene.ips(link)).toEqual(["192.0.2.1"]);
    expect(scene.gateways.conditionOf(link)).toMatchObject({ reason: "GatewayAlive" });
  });

  test("that a target names may not lead where its addresses may not; one that the Link names may", async () => {
    scene.names.set(host, ["127.0.0.1", "169.254.169.254", "203.0.113.1"]);
    const link = scene.put({ gateway, probe });
    await scene.say(aGatewayService({ ingress: [{ hostname: host }] }), gateway);
    expect(scene.ips(link)).toEqual(["203.0.113.1"]);
    expect(scene.probed).not.toContain("127.0.0.1:4191");
    const trusting = scene.put({ gatewayAddresses: [host] }, { generation: 2 });
    expect(scene.ips(trusting)).toContain("127.0.0.1");
  });
});

describe("a gateway that a service chooses", () => {
  const ref = { namespace: "gateways", name: "second" };
  const second = (changes: Parameters<typeof aGatewayService>[0] = {}) => {
    const service = aGatewayService({
      identity: "second.remote.demo.mesh",
      ingress: [{ ip: "203.0.113.2" }],
      ...changes,
    });
    service.metadata = { ...service.metadata, ...ref };
    return service;
  };
  const choosing = (namespace = ref.namespace, name = ref.name) =>
    anExport("web", {
      annotations: { "mirror.linkerd.io/gateway-name": name, "mirror.linkerd.io/gateway-ns": namespace },
    });

  beforeEach(async () => {
    scene = new Scene();
    scene.wanted = [ref];
    await scene.start();
  });

  test("is reached as its Service says, and listed after the Link's own", async () => {
    const link = scene.put({ probe });
    await scene.say(second(), ref);
    expect(scene.gateways.choiceOf(link, choosing())).toEqual(ref);
    expect(scene.backends.of(link, ref)).toEqual({
      addresses: ready("203.0.113.2"),
      port: 4143,
      identity: "second.remote.demo.mesh",
    });
    expect(scene.gateways.statusOf(link)).toEqual([
      {
        addresses: [{ address: "192.0.2.127", alive: true }],
        port: 4143,
        identity: "gateway.remote.demo.mesh",
      },
      {
        ...ref,
        addresses: [{ address: "203.0.113.2", alive: true }],
        port: 4143,
        identity: "second.remote.demo.mesh",
      },
    ]);
  });

  test("is named by a mirror once the status says how it is reached: before that, calls would be closed", async () => {
    const link = scene.put({ probe });
    const ways = new Ways(scene.gateways, scene.backends);
    const named = (mirror: Service | undefined, as = link) =>
      ways.of(as, choosing(), mirror, false).gateway ?? "the Link's own";
    const before = anExport("web-remote");
    const elsewhere = anExport("web-remote", { annotations: { "isthmus.dev/gateway": "gateways/first" } });
    const first = { namespace: "gateways", name: "first" };

    // Nothing is known of it, and it may turn out to be the Link's own.
    expect([undefined, before, elsewhere].map((mirror) => named(mirror))).toEqual([
      "the Link's own",
      "the Link's own",
      first,
    ]);
    await scene.say(second(), ref);
    // A new mirror's calls wait for the status; nobody else gets them.
    expect([undefined, before, elsewhere].map((mirror) => named(mirror))).toEqual([
      ref,
      "the Link's own",
      first,
    ]);
    const told = scene.report(link);
    expect([undefined, before, elsewhere].map((mirror) => named(mirror, told))).toEqual([ref, ref, ref]);
  });

  test.each<[string, FoundService]>([
    ["is not there", undefined],
    ["has no address", second({ ingress: [] })],
  ])("is named by a mirror where it %s: its calls are closed, not carried by another", async (_, found) => {
    const link = scene.put({});
    await scene.say(found as Service | undefined, ref);
    const way = new Ways(scene.gateways, scene.backends).of(link, choosing(), anExport("web-remote"), false);
    expect(way).toMatchObject({ gateway: ref, problem: expect.any(String) });
  });

  test("has a life of its own, and the condition tells which one is dead", async () => {
    const link = scene.put({ probe });
    await scene.say(second(), ref);
    scene.dead.set("203.0.113.2", "refused");
    await scene.clock.advance(DEATH);
    expect(scene.ips(link)).toEqual(["192.0.2.127"]);
    expect(scene.ips(link, ref)).toEqual(["203.0.113.2 dead"]);
    expect(scene.gateways.conditionOf(link)).toMatchObject({
      status: "False",
      reason: "GatewayDead",
      message: "the gateway gateways/second does not answer its probes: 203.0.113.2: refused",
    });
    expect(scene.events[0]?.message).toContain("address 203.0.113.2 of the gateway gateways/second");
  });

  test.each<[string, FoundService, string]>([
    ["is not there", undefined, "there is no Service gateways/second in the target"],
    ["is one too many", "too many", "more than 16 gateways"],
    ["has no address", second({ ingress: [] }), "no address yet"],
    ["does not say whom to expect", second({ identity: "" }), "gateway-identity"],
  ])("cannot be used where it %s", async (_, found, words) => {
    const link = scene.put({});
    scene.said.set("gateways/second", found);
    expect(scene.gateways.of(link, ref)).toMatchObject({
      addresses: [],
      known: true,
      problem: expect.stringContaining(words),
    });
    expect(scene.gateways.statusOf(link)).toHaveLength(1);
  });

  test("that no service chooses any more stays in the status for as long as a mirror names it: calls still go through it", async () => {
    let link = scene.put({ probe });
    await scene.say(second(), ref);
    link = scene.put({ probe }, {}, { gateways: scene.gateways.statusOf(link) });
    const mirror = desiredService(choosing(), link, { ports: [], mode: "gateway", gateway: ref });
    scene.mirrors.apply({ ...mirror, metadata: { ...mirror.metadata, resourceVersion: "1" } });
    scene.wanted = [];
    // Its Service is not watched any more.
    scene.said.clear();
    scene.gateways.refresh(keyOf(link));
    expect(scene.gateways.statusOf(link)).toMatchObject([
      {},
      { ...ref, addresses: [{ address: "203.0.113.2" }] },
    ]);
    const without = desiredService(choosing(), link, { ports: [], mode: "gateway" });
    const before = scene.news.length;
    scene.mirrors.apply({ ...without, metadata: { ...without.metadata, resourceVersion: "2" } });
    expect(scene.gateways.statusOf(link)).toHaveLength(1);
    expect(scene.news.length).toBeGreaterThan(before);
  });

  test("may prove another cluster's name only where names do not hold the cluster's", async () => {
    scene.said.set("gateways/second", second({ identity: "gateway.east.demo.mesh" }));
    expect(scene.gateways.of(scene.put({}), ref).identity).toBe("gateway.east.demo.mesh");
    await scene.stop();
    scene = new Scene("standalone");
    scene.wanted = [ref];
    scene.said.set("gateways/second", second({ identity: "gateway.east.demo.mesh" }));
    expect(scene.gateways.of(scene.put({}), ref)).toMatchObject({
      addresses: [],
      problem: expect.stringContaining("may be another cluster's"),
    });
  });

  test("is the Link's own where it has that name or proves that identity", async () => {
    const link = scene.put({ gateway, probe });
    expect(scene.gateways.choiceOf(link, choosing(gateway.namespace, gateway.name))).toBeUndefined();
    await scene.say(second({ identity: "gateway.remote.demo.mesh", ingress: [] }), ref);
    expect(scene.gateways.choiceOf(link, choosing())).toBeUndefined();
    expect(scene.gateways.statusOf(link)).toHaveLength(1);
  });

  test("is a problem in words where it is chosen by half; without annotations it is the Link's own", () => {
    const link = scene.put({});
    const half = anExport("web", { annotations: { "mirror.linkerd.io/gateway-name": "second" } });
    expect(scene.gateways.choiceOf(link, half)).toEqual({ problem: expect.stringContaining("gateway-ns") });
    expect(scene.gateways.choiceOf(link, anExport("web"))).toBeUndefined();
  });

  test("is as the status has it until the target was asked, and goes when no service chooses it any more", async () => {
    const first = scene.put({ probe });
    await scene.say(second(), ref);
    scene.dead.set("203.0.113.2", "refused");
    await scene.clock.advance(DEATH);
    const link = scene.report(first);
    await scene.stop();

    scene = new Scene();
    scene.links.apply(link);
    scene.listed = false;
    await scene.start();
    expect(scene.ips(link, ref)).toEqual(["203.0.113.2 dead"]);
    expect(scene.backends.of(link, ref)).toMatchObject({ port: 4143, identity: "second.remote.demo.mesh" });
    expect(scene.report(link).status).toEqual(link.status);
    expect(scene.probed).toEqual(["192.0.2.127:4191"]);
    scene.listed = true;
    expect(scene.gateways.statusOf(link)).toHaveLength(1);
  });

  test("that was never known leaves what exists alone", () => {
    expect(scene.backends.of(scene.put({}), ref)).toEqual({ addresses: [], pending: true });
  });
});

describe("where an egress carries the calls", () => {
  beforeEach(async () => {
    scene = new Scene("standalone");
    await scene.start();
    scene.pods.apply(anEgressPod("one", "10.1.0.1"));
    scene.pods.apply(anEgressPod("two", "10.1.0.2"));
  });

  test("they go to its pods while any address of the gateway is alive", async () => {
    const link = scene.put({ gatewayAddresses: ["192.0.2.1", "192.0.2.2"], probe });
    scene.dead.set("192.0.2.1", "refused");
    await scene.clock.advance(DEATH);
    expect(scene.backends.of(link)).toEqual({ addresses: ready("10.1.0.1", "10.1.0.2") });
    scene.dead.set("192.0.2.2", "refused");
    await scene.clock.advance(DEATH);
    expect(scene.ips(link)).toEqual(["10.1.0.1 dead", "10.1.0.2 dead"]);
  });

  test("they go nowhere where there is no gateway", () => {
    expect(scene.backends.of(scene.put({ gatewayAddresses: [] }))).toEqual({ addresses: [] });
  });
});

describe("the metrics of gateways", () => {
  beforeEach(async () => {
    scene = new Scene();
    await scene.start();
  });

  test("have Linkerd's names, labels and buckets, and count every failed probe", async () => {
    scene.dead.set("192.0.2.2", "refused");
    scene.put({ gatewayAddresses: ["192.0.2.1", "192.0.2.2"], probe });
    await scene.clock.advance(DEATH);
    const lines = (await scene.registry.metrics()).split("\n");
    expect(lines).toEqual(
      expect.arrayContaining([
        'gateway_enabled{target_cluster_name="remote"} 1',
        'gateway_alive{target_cluster_name="remote"} 1',
        'gateway_latency{target_cluster_name="remote"} 0',
        'gateway_probe_latency_ms_bucket{le="1",target_cluster_name="remote"} 4',
        'gateway_probe_latency_ms_bucket{le="50000",target_cluster_name="remote"} 4',
        'gateway_probe_latency_ms_count{target_cluster_name="remote"} 4',
        'gateway_probes{target_cluster_name="remote",probe_successful="true"} 4',
        'gateway_probes{target_cluster_name="remote",probe_successful="false"} 4',
        'isthmus_gateway_address_alive{target_cluster_name="remote",gateway="own",address="192.0.2.1"} 1',
        'isthmus_gateway_address_alive{target_cluster_name="remote",gateway="own",address="192.0.2.2"} 0',
      ]),
    );
    expect(lines.filter((line) => line.startsWith("gateway_probe_latency_ms_bucket"))).toHaveLength(26);
  });

  test("say of a dead gateway that it is not alive, and of none that there is none", async () => {
    scene.put({ probe });
    scene.put(
      { targetClusterName: "bare", gatewayAddresses: [] },
      { name: "bare", creationTimestamp: "2026-01-02T00:00:00Z" },
    );
    scene.dead.set("192.0.2.127", "refused");
    await scene.clock.advance(DEATH);
    const text = await scene.registry.metrics();
    expect(text).toContain('gateway_alive{target_cluster_name="remote"} 0');
    expect(text).toContain('gateway_enabled{target_cluster_name="bare"} 0');
  });
});
