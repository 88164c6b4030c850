import { describe, expect, test } from "@jest/globals";
import type { Service } from "../../controller/kube/objects.ts";
import { GatewayChoices, gatewayChoice } from "../../controller/mirror/gateways/choice.ts";
import {
  chosenIdentity,
  mayBeCalled,
  readGatewayService,
} from "../../controller/mirror/gateways/gateway-service.ts";
import { aGatewayService, anExport } from "../support/mirror-objects.ts";

describe("the Service of a gateway", () => {
  test("says by its load balancer, its named ports and its annotation how the gateway is reached", () => {
    const service = aGatewayService({
      ingress: [
        { ip: "203.0.113.1" },
        { hostname: "LB.example.com" },
        { ip: "2001:db8::1", hostname: "x.y" },
      ],
    });
    expect(readGatewayService(service)).toEqual({
      addresses: ["203.0.113.1", "lb.example.com", "2001:db8::1"],
      port: 4143,
      probePort: 4191,
      identity: "gateway.remote.demo.mesh",
    });
  });

  test("adds external IPs, names each address once, and need not have a port for probes", () => {
    const service = aGatewayService({
      ingress: [{ ip: "203.0.113.1" }],
      spec: {
        externalIPs: ["203.0.113.1", "203.0.113.2"],
        ports: [
          { name: "other", port: 1 },
          { name: "mc-gateway", port: 5143 },
        ],
      },
    });
    expect(readGatewayService(service)).toEqual({
      addresses: ["203.0.113.1", "203.0.113.2"],
      port: 5143,
      identity: "gateway.remote.demo.mesh",
    });
  });

  test("of type NodePort is reached at the ports of the nodes", () => {
    const ports = [
      { name: "mc-gateway", port: 4143, nodePort: 30143 },
      { name: "mc-probe", port: 4191, nodePort: 30191 },
    ];
    const service = aGatewayService({ spec: { type: "NodePort", externalIPs: ["203.0.113.1"], ports } });
    expect(readGatewayService(service)).toMatchObject({ port: 30143, probePort: 30191 });
  });

  test.each<[string, Parameters<typeof aGatewayService>[0], string]>([
    [
      "without a port of the right name",
      { spec: { ports: [{ name: "web", port: 1 }] } },
      "no port named mc-gateway",
    ],
    [
      "with a port that is none",
      { spec: { ports: [{ name: "mc-gateway", port: 70_000 }] } },
      "no port named",
    ],
    [
      "with a port that is not of TCP",
      { spec: { ports: [{ name: "mc-gateway", port: 1, protocol: "UDP" }] } },
      "no port named",
    ],
    ["without an address", { ingress: [] }, "no address yet"],
    [
      "with more addresses than any gateway has",
      { ingress: Array.from({ length: 17 }, (_, i) => ({ ip: `203.0.113.${i + 1}` })) },
      "17 addresses, more than 16",
    ],
    [
      "with an address of this cluster's own",
      { ingress: [{ ip: "203.0.113.1" }, { ip: "127.0.0.1" }] },
      '"127.0.0.1"',
    ],
  ])("%s is refused in words", (_, changes, words) => {
    const result = readGatewayService(aGatewayService(changes));
    expect(result).toEqual({ problem: expect.stringContaining(words) });
    expect(result).toEqual({ problem: expect.stringContaining("isthmus/isthmus-gateway") });
  });
});

describe("an address that another cluster names", () => {
  test.each(["203.0.113.1", "10.0.0.1", "192.168.1.1", "2001:db8::1", "fd00::1", "lb.example.com", "a-1.b"])(
    "%s may be called",
    (address) => expect(mayBeCalled(address)).toBe(true),
  );

  test.each([
    ["a loopback address", "127.0.0.1"],
    ["a loopback address", "127.255.0.9"],
    ["a loopback address", "::1"],
    ["a loopback address in other words", "::ffff:127.0.0.1"],
    ["a loopback address in other words", "0:0:0:0:0:0:0:1"],
    ["a loopback address in other words", "0:0:0:0:0:ffff:7f00:1"],
    ["a loopback address in other words", "::0:ffff:7f00:1"],
    ["an IPv4 address behind a translator", "64:ff9b::a9fe:a9fe"],
    ["an IPv4 address behind a translator", "0064:ff9b::a9fe:a9fe"],
    ["an IPv4 address behind a translator", "0064:ff9b:0001::a9fe:a9fe"],
    ["an IPv4 address in old IPv6 notation", "::127.0.0.1"],
    ["unspecified", "0.0.0.0"],
    ["unspecified", "0.1.2.3"],
    ["unspecified", "::"],
    ["link-local, where clouds hand out credentials", "169.254.169.254"],
    ["link-local", "fe80::1"],
    ["of a zone", "fe80::1%eth0"],
    ["multicast", "224.0.0.1"],
    ["multicast", "ff02::1"],
    ["broadcast", "255.255.255.255"],
    ["an IP address to some resolvers", "127.1"],
    ["an IP address to some resolvers", "0x7f000001"],
    ["an IP address to some resolvers", "010.0.0.1"],
    ["this machine", "localhost"],
    ["this machine", "a.localhost"],
    ["a service of this cluster", "kubernetes.default.svc"],
    ["a service of this cluster", "kubernetes.default.svc.cluster.local"],
    ["no name of the whole world", "intranet"],
    ["no name", "a_b.example.com"],
    ["no name", "a b.example.com"],
    ["no name", "a..example.com"],
    ["no name", ""],
    ["too long", `${"a.".repeat(130)}com`],
  ])("that is %s may not be called: %s", (_, address) => expect(mayBeCalled(address)).toBe(false));
});

describe("the identity of a gateway that a service chooses", () => {
  const own = "gateway.west.demo.mesh";

  test.each(["gateway-2.west.demo.mesh", "gateway.west.demo.mesh"])(
    "may be %s where the Link's own is gateway.west.demo.mesh",
    (said) => expect(chosenIdentity(said, own, "standalone")).toEqual({ identity: said }),
  );

  test.each([
    ["another cluster's", "gateway.east.demo.mesh"],
    ["another trust domain's", "gateway.west.other.mesh"],
    ["one label deeper", "a.gateway.west.demo.mesh"],
    ["the cluster's own name", "west.demo.mesh"],
    ["no name", "gateway_.west.demo.mesh"],
    ["too long for a server name under it", `${"a".repeat(63)}.${"b".repeat(63)}.${"c".repeat(63)}`],
    ["not said", undefined],
    ["empty", ""],
  ])("is refused where it is %s", (_, said) =>
    expect(chosenIdentity(said, own, "standalone")).toEqual({
      problem: expect.stringContaining("mirror.linkerd.io/gateway-identity"),
    }),
  );

  test("is refused where the Link has none to compare it with", () => {
    expect(chosenIdentity("gateway.west.demo.mesh", undefined, "standalone")).toHaveProperty("problem");
    expect(chosenIdentity("gateway", "gateway", "standalone")).toHaveProperty("problem");
  });

  test("may be any DNS name where Linkerd's proxies carry the calls: its names do not hold the cluster's", () => {
    const said = "linkerd-gateway.linkerd-multicluster.serviceaccount.identity.linkerd.cluster.local";
    expect(chosenIdentity(said, own, "linkerd")).toEqual({ identity: said });
    expect(chosenIdentity("no name", own, "linkerd")).toHaveProperty("problem");
    expect(chosenIdentity(undefined, own, "linkerd")).toHaveProperty("problem");
  });
});

describe("the gateway that a service chooses", () => {
  const choosing = (annotations: Record<string, string>): Service => anExport("web", { annotations });
  const both = (namespace: string, name: string) => ({
    "mirror.linkerd.io/gateway-name": name,
    "mirror.linkerd.io/gateway-ns": namespace,
  });

  test("is named by two annotations; without any, none is chosen", () => {
    expect(gatewayChoice(choosing(both("gateways", "second")))).toEqual({
      namespace: "gateways",
      name: "second",
    });
    expect(gatewayChoice(choosing({}))).toBeUndefined();
  });

  test.each([
    [
      "without its namespace, which is not guessed",
      { "mirror.linkerd.io/gateway-name": "second" },
      "gateway-ns",
    ],
    ["without its name", { "mirror.linkerd.io/gateway-ns": "gateways" }, "gateway-name"],
    ["by what is no name", both("gateways", "a/../b"), "name no Service"],
  ])("is a problem in words %s", (_, annotations, words) =>
    expect(gatewayChoice(choosing(annotations))).toEqual({ problem: expect.stringContaining(words) }),
  );

  test("is counted: it is wanted from the first service that chooses it to the last", () => {
    const choices = new GatewayChoices();
    const [one, two] = [choosing(both("g", "one")), choosing(both("g", "two"))];
    expect(choices.change(one, undefined)).toBe(true);
    expect(choices.change(one, undefined)).toBe(false);
    expect(choices.change(two, undefined)).toBe(true);
    expect(choices.change(choosing({}), undefined)).toBe(false);
    expect(choices.refs().map(({ name }) => name)).toEqual(["one", "two"]);
    expect(choices.change(two, one)).toBe(false);
    expect(choices.change(two, two)).toBe(false);
    expect(choices.change(two, one)).toBe(true);
    expect(choices.refs().map(({ name }) => name)).toEqual(["two"]);
    expect(choices.change(undefined, two)).toBe(false);
    expect(choices.change(choosing({ "mirror.linkerd.io/gateway-name": "two" }), two)).toBe(false);
    expect(choices.change(undefined, two)).toBe(true);
    expect(choices.refs()).toEqual([]);
  });

  test("is one of few that are looked at, however many a target has", () => {
    const choices = new GatewayChoices();
    for (let i = 0; i < 20_000; i++) choices.change(choosing(both("g", `g${i}`)), undefined);
    expect(choices.refs().map(({ name }) => name)).toEqual(Array.from({ length: 32 }, (_, i) => `g${i}`));
    choices.change(undefined, choosing(both("g", "g0")));
    expect(choices.refs().at(-1)?.name).toBe("g32");
  });
});
