import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { networkInterfaces } from "node:os";
import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import type { LinkGatewayStatus } from "../../contract/index.ts";
import { PODS, SERVICES } from "../../controller/kube/resource.ts";
import { type Lookup, lookUp } from "../../controller/mirror/gateways/resolver.ts";
import { type DnsRecords, dnsServer } from "../support/dns-server.ts";
import { until } from "./until.ts";
import { World } from "./world.ts";

let world: World;
let gateway: AGateway;
beforeEach(async () => {
  world = await World.create();
  gateway = await AGateway.start();
});
afterEach(async () => {
  await world.destroy();
  await gateway.stop();
});

/** An address of this machine that a slice may name, which those of the loopback interface may not. */
const HERE = Object.values(networkInterfaces())
  .flatMap((entries) => entries ?? [])
  .find(({ family, internal }) => family === "IPv4" && !internal)?.address as string;
/** Where nothing ever answers (RFC 5737). */
const NOWHERE = "198.51.100.1";

/** What answers the probes of a target's gateway, on every address of this machine. */
class AGateway {
  readonly port: number;
  /** Probes so far. */
  asked = 0;
  /** The address of this machine at which it was probed last. */
  at: string | undefined;
  status = 200;
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
    this.port = (server.address() as AddressInfo).port;
    server.on("request", ({ socket }, response) => {
      this.asked++;
      this.at = socket.localAddress?.replace("::ffff:", "");
      response.writeHead(this.status).end();
    });
  }

  static async start(): Promise<AGateway> {
    const server = createServer().listen(0);
    await once(server, "listening");
    return new AGateway(server);
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  get probe() {
    // It answers by the event loop that the controller runs in as well: a busy one is not dead.
    return { port: this.port, period: "500ms", timeout: "5s", failureThreshold: 2 };
  }

  /** For what never answers: found to be so sooner. */
  get shortProbe() {
    return { ...this.probe, timeout: "2s" };
  }

  /** Wait until it was probed so many times more. */
  async probed(times: number): Promise<void> {
    const enough = this.asked + times;
    await until(async () => expect(this.asked).toBeGreaterThanOrEqual(enough));
  }
}

/** The endpoints of a mirror's slice: `203.0.113.1 ready`. */
async function endpoints(mirror = "web-remote"): Promise<string[]> {
  const slice = await world.slice(mirror);
  return (slice.endpoints ?? []).map(
    ({ addresses, conditions }) => `${addresses[0]} ${conditions?.ready ? "ready" : "not ready"}`,
  );
}

async function expectEndpoints(...expected: string[]): Promise<void> {
  await until(async () => expect(await endpoints()).toEqual(expected));
}

async function gateways(): Promise<LinkGatewayStatus[] | undefined> {
  return (await world.getLink()).status?.gateways;
}

/** Give the Service of the target's gateway these addresses of a load balancer. */
async function balance(...ips: string[]): Promise<void> {
  const status = { loadBalancer: { ingress: ips.map((ip) => ({ ip, ipMode: "VIP" })) } };
  const ref = { namespace: world.isthmus, name: "isthmus-gateway" };
  await world.target.patch(SERVICES, ref, { status }, { type: "merge", subresource: "status" });
}

async function makeGatewayService(port = 4143, identity = "gateway.elsewhere.demo.mesh"): Promise<void> {
  await world.target.create(SERVICES, {
    apiVersion: "v1",
    kind: "Service",
    metadata: {
      namespace: world.isthmus,
      name: "isthmus-gateway",
      annotations: { "mirror.linkerd.io/gateway-identity": identity },
    },
    spec: {
      type: "LoadBalancer",
      allocateLoadBalancerNodePorts: false,
      ports: [
        { name: "mc-gateway", port },
        { name: "mc-probe", port: gateway.port },
      ],
    } as never,
  });
}

/** Call a port of that Service something else. */
async function renamePort(from: string, to: string): Promise<void> {
  const ref = { namespace: world.isthmus, name: "isthmus-gateway" };
  const { spec } = await world.target.get(SERVICES, ref);
  const ports = spec?.ports?.map((port) => (port.name === from ? { ...port, name: to } : port));
  await world.target.patch(SERVICES, ref, { spec: { ports } }, { type: "merge" });
}

describe.each(["standalone", "linkerd"] as const)("in the data plane %s a gateway", (dataPlane) => {
  /** Whom the slices name: the egress, or the gateway. */
  const named = dataPlane === "standalone" ? "10.1.0.2" : HERE;

  beforeEach(async () => {
    if (dataPlane === "standalone") await world.putEgressPod(named);
  });

  test("that dies takes its mirrors' endpoints out, stays out whatever changes, and brings them back when it revives", async () => {
    await world.link({ gatewayAddresses: [HERE], probe: gateway.probe });
    await world.start({ dataPlane });
    await world.export("web");
    await expectEndpoints(`${named} ready`);
    await world.reason("GatewayAlive", "GatewayAlive");

    gateway.status = 503;
    await expectEndpoints(`${named} not ready`);
    const { status, message } = await world.reason("GatewayAlive", "GatewayDead");
    expect([status, message]).toEqual([
      "False",
      expect.stringContaining(`${HERE}:${gateway.port} answers 503`),
    ]);
    await world.export("web", { labels: { "mirror.linkerd.io/exported": "true", lk: "lv" } });
    await until(async () =>
      expect((await world.mirror("web-remote")).metadata.labels).toMatchObject({ lk: "lv" }),
    );
    await until(async () =>
      expect((await world.slice("web-remote")).metadata.labels).toMatchObject({ lk: "lv" }),
    );
    expect(await endpoints()).toEqual([`${named} not ready`]);

    gateway.status = 200;
    await expectEndpoints(`${named} ready`);
    await world.reason("GatewayAlive", "GatewayAlive");
    await until(async () => {
      const events = (await world.events()).map(({ type, reason }) => `${type} ${reason}`);
      expect(events).toEqual(expect.arrayContaining(["Warning GatewayDead", "Normal GatewayAlive"]));
    });
  });

  test("that is dead when the Link is made gets calls once it lives", async () => {
    gateway.status = 503;
    await world.link({ gatewayAddresses: [HERE], probe: gateway.probe });
    await world.start({ dataPlane });
    await world.export("web");
    await world.reason("GatewayAlive", "GatewayDead");
    await expectEndpoints(`${named} not ready`);
    gateway.status = 200;
    await expectEndpoints(`${named} ready`);
  });

  test("that was found dead is dead to a controller that starts over, which writes nothing, until it lives", async () => {
    gateway.status = 503;
    await world.link({ gatewayAddresses: [HERE], probe: gateway.probe });
    const first = await world.start({ dataPlane, linkerdNamespace: world.namespace });
    await world.export("web");
    await world.reason("GatewayAlive", "GatewayDead");
    await expectEndpoints(`${named} not ready`);
    await world.reason("Synced", "Synced");
    await first.stop();

    const before = await world.fingerprint();
    const second = await world.start({ dataPlane, linkerdNamespace: world.namespace });
    await until(async () =>
      expect(await second.metric('isthmus_link_connected{target_cluster_name="remote"}')).toBe(1),
    );
    await gateway.probed(4);
    expect(second.writes).toEqual([]);
    expect(await world.fingerprint()).toEqual(before);
    expect(await second.metric('gateway_alive{target_cluster_name="remote"}')).toBe(0);
    gateway.status = 200;
    await expectEndpoints(`${named} ready`);
  });

  test("that nobody probes is taken to be alive, and the Link says so", async () => {
    gateway.status = 503;
    await world.link({ gatewayAddresses: [HERE] });
    const controller = await world.start({ dataPlane });
    await world.export("web");
    await expectEndpoints(`${named} ready`);
    expect(await world.reason("GatewayAlive", "GatewayNotProbed")).toMatchObject({ status: "Unknown" });
    expect(gateway.asked).toBe(0);
    expect(await controller.metric('gateway_alive{target_cluster_name="remote"}')).toBe(1);
  });
});

/** How an exported service chooses the gateway of `makeGatewayService`, or another beside it. */
function choosing(name = "isthmus-gateway") {
  return {
    annotations: {
      "mirror.linkerd.io/gateway-name": name,
      "mirror.linkerd.io/gateway-ns": world.isthmus,
    },
  };
}

describe("a gateway that exported services choose", () => {
  const chosen = async () => (await world.mirror("web-remote")).metadata.annotations?.["isthmus.dev/gateway"];

  test("is the Link's own by what it proves, also to a controller that starts over, which writes nothing", async () => {
    await world.putEgressPod("10.1.0.2");
    await makeGatewayService(4143, "gateway.remote.demo.mesh");
    await world.link({ gatewayAddresses: [HERE], probe: gateway.probe });
    const first = await world.start();
    for (const name of ["web", "web-1", "web-2", "web-3"]) await world.export(name, choosing());
    await expectEndpoints("10.1.0.2 ready");
    await world.reason("GatewayAlive", "GatewayAlive");
    await world.reason("Synced", "Synced");
    expect(await chosen()).toBeUndefined();
    await first.stop();

    const second = await world.start();
    await until(async () =>
      expect(await second.metric('isthmus_link_connected{target_cluster_name="remote"}')).toBe(1),
    );
    await gateway.probed(4);
    expect(second.writes).toEqual([]);
  });

  test("is named by a mirror when the Link's status says how it is reached, and no sooner", async () => {
    await world.putEgressPod("10.1.0.2");
    await makeGatewayService(5143, "second.remote.demo.mesh");
    await balance("203.0.113.1");
    await world.link({ gatewayAddresses: [HERE] });
    await world.start();
    await world.export("web");
    await expectEndpoints("10.1.0.2 ready");
    await world.reason("Synced", "Synced");

    await world.export("web", choosing());
    const ref = `${world.isthmus}/isthmus-gateway`;
    const port = await until(async () => {
      expect(await chosen()).toBe(ref);
      return (await gateways())?.[1]?.port;
    });
    expect(port).toBe(5143);
  });

  test("is not found while its port has another name, which the service tells, and nobody is called instead", async () => {
    await world.putEgressPod("10.1.0.2");
    await makeGatewayService(5143, "second.remote.demo.mesh");
    await balance("203.0.113.1");
    await world.link({ gatewayAddresses: [HERE] });
    await world.start();
    await world.export("web", choosing());
    await expectEndpoints("10.1.0.2 ready");
    await world.serviceReason("web", "Mirrored");
    await renamePort("mc-gateway", "other");
    expect((await world.serviceReason("web", "GatewayNotFound")).message).toContain(
      `Service ${world.isthmus}/isthmus-gateway of the target has no port named mc-gateway`,
    );
    expect(await chosen()).toBe(`${world.isthmus}/isthmus-gateway`);
    await renamePort("other", "mc-gateway");
    await world.serviceReason("web", "Mirrored");
    await expectEndpoints("10.1.0.2 ready");
  });
});

describe("a member of a federated service", () => {
  test("goes by its Link's own gateway, though it chooses another as an exported service, and that is not there", async () => {
    await world.putEgressPod("10.1.0.2");
    await world.link({ gatewayAddresses: [HERE] });
    await world.start();
    const labels = { "mirror.linkerd.io/exported": "true", "mirror.linkerd.io/federated": "member" };
    await world.export("web", { ...choosing(), labels });
    await until(async () => {
      const { services = [] } = (await world.getLink()).status ?? {};
      expect(services.map(({ mirror, reason }) => [mirror, reason])).toEqual([
        ["web-remote", "GatewayNotFound"],
        ["web-federated", "Mirrored"],
      ]);
    });
    const [slice] = await world.slicesOf("web-federated");
    expect(slice?.endpoints).toEqual([{ addresses: ["10.1.0.2"], conditions: { ready: true } }]);
    expect((await world.mirror("web-federated")).metadata.annotations).not.toHaveProperty([
      "isthmus.dev/gateway",
    ]);
  });
});

describe("a gateway's host name", () => {
  const NAME = "gateway.example.com";
  const records: DnsRecords = {};
  let lookup: Lookup;
  let close: () => void;

  beforeEach(async () => {
    const server = await dnsServer(records);
    lookup = (host, signal) => lookUp(host, signal, [server.address]);
    close = server.close;
  });
  afterEach(() => close());

  /** Let the name stand for this address, for a second at a time. */
  function standFor(ip: string): void {
    records[1] = [ip.split(".").map(Number), 1];
  }

  test("is followed to another address when its answer is no longer valid, and neither Link nor mirror is touched", async () => {
    standFor("203.0.113.1");
    await world.link({ gatewayAddresses: [NAME] });
    await world.start({ dataPlane: "linkerd", lookup });
    await world.export("web");
    await expectEndpoints("203.0.113.1 ready");
    await world.reason("Synced", "Synced");
    const { generation } = (await world.getLink()).metadata;
    const { resourceVersion } = (await world.mirror("web-remote")).metadata;
    standFor("203.0.113.2");
    await expectEndpoints("203.0.113.2 ready");
    expect((await world.getLink()).metadata.generation).toBe(generation);
    expect((await world.mirror("web-remote")).metadata.resourceVersion).toBe(resourceVersion);
  });

  test("is alive in the Link's status while what it stands for is, and no mirror is written when it stands for another that is", async () => {
    await world.putEgressPod("10.1.0.2");
    standFor(HERE);
    await world.link({ gatewayAddresses: [NAME], probe: gateway.shortProbe });
    const controller = await world.start({ lookup });
    await world.export("web");
    await expectEndpoints("10.1.0.2 ready");
    await world.reason("GatewayAlive", "GatewayAlive");
    await world.reason("Synced", "Synced");
    const { generation } = (await world.getLink()).metadata;
    const written = () => controller.writes.filter((write) => /services|endpointslices/.test(write));
    const before = written();

    standFor("127.0.0.1");
    await until(async () => expect(gateway.at).toBe("127.0.0.1"));
    await gateway.probed(2);
    expect(written()).toEqual(before);

    const isAlive = (alive: boolean) => [{ addresses: [{ address: NAME, alive }] }];
    standFor(NOWHERE);
    await until(async () => expect(await gateways()).toMatchObject(isAlive(false)));
    await expectEndpoints("10.1.0.2 not ready");
    standFor(HERE);
    await until(async () => expect(await gateways()).toMatchObject(isAlive(true)));
    await expectEndpoints("10.1.0.2 ready");
    expect((await world.getLink()).metadata.generation).toBe(generation);
  });
});

describe("IPv6", () => {
  /** The mirror's slices: their names, families, addresses and ports. */
  async function slices() {
    const all = await world.slicesOf("web-remote");
    return all
      .map(({ metadata, addressType, endpoints, ports }) => ({
        name: metadata.name,
        addressType,
        addresses: (endpoints ?? []).flatMap(({ addresses }) => addresses),
        ports: ports?.map(({ port }) => port),
      }))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  test("addresses of the egress have a slice of their own, on the same ports, and alone are enough", async () => {
    await world.putEgressPod("10.1.0.2", "fd00:1::2");
    await world.link();
    await world.start();
    await world.export("web");
    const ports = await until(async () => {
      const [first] = await slices();
      expect(first?.ports).toEqual([expect.any(Number)]);
      return first?.ports;
    });
    const ipv6 = { name: "web-remote-isthmus-6", addressType: "IPv6", addresses: ["fd00:1::2"], ports };
    await until(async () =>
      expect(await slices()).toEqual([
        { name: "web-remote-isthmus", addressType: "IPv4", addresses: ["10.1.0.2"], ports },
        ipv6,
      ]),
    );
    await world.putEgressPod("fd00:1::3");
    await world.source.delete(PODS, { namespace: world.isthmus, name: "egress-10-1-0-2" });
    await until(async () => expect(await slices()).toEqual([{ ...ipv6, addresses: ["fd00:1::3"] }]));
  });

  test("addresses of a gateway are named in a slice of their own where Linkerd's proxies call them", async () => {
    await world.link({ gatewayAddresses: ["2001:db8::7", "192.0.2.127"] });
    await world.start({ dataPlane: "linkerd" });
    await world.export("web");
    const ipv6 = {
      name: "web-remote-isthmus-6",
      addressType: "IPv6",
      addresses: ["2001:db8::7"],
      ports: [888],
    };
    await until(async () =>
      expect(await slices()).toEqual([
        { name: "web-remote-isthmus", addressType: "IPv4", addresses: ["192.0.2.127"], ports: [888] },
        ipv6,
      ]),
    );
    await world.link({ gatewayAddresses: ["2001:db8::7"] });
    await until(async () => expect(await slices()).toEqual([ipv6]));
  });

  test("addresses of a gateway are probed", async () => {
    await world.putEgressPod("fd00:1::2");
    await world.link({ gatewayAddresses: ["::1"], probe: gateway.probe });
    await world.start();
    await world.reason("GatewayAlive", "GatewayAlive");
    await gateway.probed(1);
    gateway.status = 503;
    const { message } = await world.reason("GatewayAlive", "GatewayDead");
    expect(message).toContain(`[::1]:${gateway.port} answers 503`);
    gateway.status = 200;
    await world.reason("GatewayAlive", "GatewayAlive");
    expect(await gateways()).toMatchObject([{ addresses: [{ address: "::1", alive: true }] }]);
  });

  test("endpoints are endpoints, and the families of a service are not those of its mirror", async () => {
    await world.putEgressPod("10.1.0.2");
    await world.link({ gatewayAddresses: [HERE] });
    const spec = { selector: { app: "web" }, ipFamilyPolicy: "PreferDualStack" };
    const service = await world.export("web", {}, spec);
    await world.putSlice(service, [{ addresses: ["fd00:2::5"], conditions: { ready: false } }], {
      addressType: "IPv6",
    });
    await world.start();
    await expectEndpoints("10.1.0.2 not ready");
    await world.putSlice(service, [{ addresses: ["fd00:2::5"], conditions: { ready: true } }], {
      addressType: "IPv6",
    });
    await expectEndpoints("10.1.0.2 ready");
    expect(service.spec).toMatchObject({ ipFamilyPolicy: "PreferDualStack" });
    expect((await world.mirror("web-remote")).spec).toMatchObject({ ipFamilyPolicy: "SingleStack" });
  });
});

describe("a gateway's addresses", () => {
  test("live and die each for itself where Linkerd's proxies call them", async () => {
    await world.link({ gatewayAddresses: [NOWHERE, HERE], probe: gateway.shortProbe });
    const controller = await world.start({ dataPlane: "linkerd" });
    await world.export("web");
    await until(async () =>
      expect((await endpoints()).sort()).toEqual([`${HERE} ready`, `${NOWHERE} not ready`].sort()),
    );
    expect((await world.reason("GatewayAlive", "GatewayAlive")).status).toBe("True");
    await until(async () =>
      expect(await gateways()).toEqual([
        {
          addresses: [
            { address: NOWHERE, alive: false },
            { address: HERE, alive: true },
          ],
          port: 888,
          identity: "gateway.remote.demo.mesh",
        },
      ]),
    );
    const alive = (address: string) =>
      controller.metric(
        `isthmus_gateway_address_alive{target_cluster_name="remote",gateway="own",address="${address}"}`,
      );
    expect([await alive(HERE), await alive(NOWHERE)]).toEqual([1, 0]);
    expect(
      await controller.metric('gateway_probes{target_cluster_name="remote",probe_successful="false"}'),
    ).toBeGreaterThanOrEqual(2);
  });

  test("follow those of the gateway's load balancer in the target, and the Link is not touched", async () => {
    await makeGatewayService(5143);
    await world.link({
      gatewayAddresses: ["192.0.2.127"],
      gateway: { namespace: world.isthmus, name: "isthmus-gateway" },
    });
    await world.start({ dataPlane: "linkerd" });
    await world.export("web");
    // Those that the Link has are good as long as there are no others.
    await expectEndpoints("192.0.2.127 ready");
    const { generation } = (await world.getLink()).metadata;

    await balance("203.0.113.1");
    await expectEndpoints("203.0.113.1 ready");
    const slice = await world.slice("web-remote");
    expect(slice.ports?.map(({ port }) => port)).toEqual([5143]);
    // Whom to expect there is not for the target to say.
    expect(slice.metadata.annotations).toMatchObject({
      "mirror.linkerd.io/remote-gateway-identity": "gateway.remote.demo.mesh",
    });
    await until(async () =>
      expect(await gateways()).toEqual([
        {
          addresses: [{ address: "203.0.113.1", alive: true }],
          port: 5143,
          identity: "gateway.remote.demo.mesh",
        },
      ]),
    );
    await balance("203.0.113.2", "203.0.113.3");
    await expectEndpoints("203.0.113.2 ready", "203.0.113.3 ready");
    await balance("203.0.113.2", "127.0.0.1");
    await expectEndpoints("192.0.2.127 ready");
    await balance("203.0.113.4");
    await expectEndpoints("203.0.113.4 ready");
    await renamePort("mc-gateway", "other");
    await expectEndpoints("192.0.2.127 ready");
    expect((await world.slice("web-remote")).ports?.map(({ port }) => port)).toEqual([888]);
    await renamePort("other", "mc-gateway");
    await expectEndpoints("203.0.113.4 ready");
    expect((await world.getLink()).metadata.generation).toBe(generation);
  });

  test("that were followed are not left by a controller that starts over while the target is away", async () => {
    await makeGatewayService();
    await world.link({
      gatewayAddresses: ["192.0.2.127"],
      gateway: { namespace: world.isthmus, name: "isthmus-gateway" },
    });
    await balance("203.0.113.1");
    const first = await world.start({ dataPlane: "linkerd" });
    await world.export("web");
    await expectEndpoints("203.0.113.1 ready");
    await until(async () => expect((await gateways())?.[0]?.addresses[0]?.address).toBe("203.0.113.1"));
    await world.reason("Synced", "Synced");
    await first.stop();
    await world.wire.cut();

    const slice = await world.slice("web-remote");
    const second = await world.start({ dataPlane: "linkerd" });
    await world.reason("Connected", "Unreachable");
    expect((await world.slice("web-remote")).metadata.resourceVersion).toBe(slice.metadata.resourceVersion);
    expect(second.writes.filter((write) => /services|endpointslices/.test(write))).toEqual([]);
    await world.wire.restore();
    await world.reason("Connected", "Connected");
    await balance("203.0.113.2");
    await expectEndpoints("203.0.113.2 ready");
  });
});
