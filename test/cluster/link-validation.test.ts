import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import type { Link, LinkSpec } from "../../contract/index.ts";
import { LINKS } from "../../controller/kube/resource.ts";
import { World } from "./world.ts";

let world: World;
beforeAll(async () => {
  world = await World.create();
});
afterAll(() => world.destroy());

describe("the API server refuses a Link", () => {
  const domain = "a".repeat(250);
  const many = (count: number) => Array.from({ length: count }, (_, n) => `a${n}`);
  const expression = (one: object) => ({ matchExpressions: [one] });
  const selectors = ["selector", "remoteDiscoverySelector", "federatedServiceSelector"];
  test.each<[string, Record<string, unknown>, string]>([
    ["without a target", { targetClusterName: null }, "spec.targetClusterName"],
    ["with an empty target", { targetClusterName: "" }, "spec.targetClusterName"],
    ["whose target is no DNS label", { targetClusterName: "East_1" }, "spec.targetClusterName"],
    ["whose target has dots", { targetClusterName: "a.b" }, "spec.targetClusterName"],
    ["whose target ends in a dash", { targetClusterName: "a-" }, "spec.targetClusterName"],
    ["whose target is too long", { targetClusterName: "a".repeat(64) }, "spec.targetClusterName"],
    [
      "whose target is called as federated services are",
      { targetClusterName: "federated" },
      "the names of federated services end in federated",
    ],
    ["whose target is a number", { targetClusterName: 5 }, "spec.targetClusterName"],
    ["without a credentials Secret", { clusterCredentialsSecret: null }, "spec.clusterCredentialsSecret"],
    ["with an empty Secret's name", { clusterCredentialsSecret: "" }, "spec.clusterCredentialsSecret"],
    [
      "with a Secret elsewhere",
      { clusterCredentialsSecret: "other/secret" },
      "spec.clusterCredentialsSecret",
    ],
    [
      "with a Secret's name that is a path",
      { clusterCredentialsSecret: "../x" },
      "spec.clusterCredentialsSecret",
    ],
    [
      "with a Secret's name that is too long",
      { clusterCredentialsSecret: "a".repeat(254) },
      "spec.clusterCredentialsSecret",
    ],
    [
      "with a gateway but no identity to expect of it",
      { gatewayIdentity: "" },
      "gatewayIdentity is required",
    ],
    [
      "that follows a gateway but has no identity to expect of it",
      { gatewayAddresses: [], gatewayIdentity: undefined, gateway: { namespace: "a", name: "b" } },
      "gatewayIdentity is required where a gateway is given",
    ],
    ["with a gateway's port 0", { gatewayPort: 0 }, "spec.gatewayPort"],
    ["with a negative gateway's port", { gatewayPort: -1 }, "spec.gatewayPort"],
    ["with a gateway's port out of range", { gatewayPort: 70_000 }, "spec.gatewayPort"],
    ["with a gateway's port that is text", { gatewayPort: "4143" }, "spec.gatewayPort"],
    ...[
      "a b",
      "",
      "..",
      ".",
      "1.2.3",
      "1.2.3.4.5",
      "[::1]",
      "[::1]:80",
      "1.2.3.4:80",
      "http://x",
      "a.b.",
      "-a",
      "a..b",
      "fe80::1%eth0",
      "*.x",
      "a/b",
      "x".repeat(254),
      "::g",
    ].map((address): [string, Record<string, unknown>, string] => [
      `with the gateway's address ${JSON.stringify(address).slice(0, 20)}`,
      { gatewayAddresses: [address] },
      "spec.gatewayAddresses",
    ]),
    ["with a gateway's address twice", { gatewayAddresses: ["1.1.1.1", "1.1.1.1"] }, "spec.gatewayAddresses"],
    [
      "with too many gateway's addresses",
      { gatewayAddresses: Array.from({ length: 17 }, (_, n) => `1.1.1.${n}`) },
      "spec.gatewayAddresses",
    ],
    ["with gateway's addresses that are no list", { gatewayAddresses: "1.1.1.1" }, "spec.gatewayAddresses"],
    ["with a gateway without a name", { gateway: { namespace: "a" } }, "spec.gateway.name"],
    ["with a gateway without a namespace", { gateway: { name: "a" } }, "spec.gateway.namespace"],
    ["with a gateway of no name", { gateway: { namespace: "a", name: "" } }, "spec.gateway.name"],
    [
      "with a gateway of a name that is none",
      { gateway: { namespace: "a", name: "1_" } },
      "spec.gateway.name",
    ],
    [
      "with a gateway in no namespace",
      { gateway: { namespace: "A/b", name: "a" } },
      "spec.gateway.namespace",
    ],
    ["with an identity that is no DNS name", { gatewayIdentity: "Gateway!" }, "spec.gatewayIdentity"],
    ["with an identity that is a pattern", { gatewayIdentity: "*.mesh" }, "spec.gatewayIdentity"],
    ["with an identity that is too long", { gatewayIdentity: domain }, "spec.gatewayIdentity"],
    ["with an identity that is a URI", { gatewayIdentity: "spiffe://a/b" }, "spec.gatewayIdentity"],
    ...["targetClusterDomain", "targetTrustDomain"].flatMap((field) =>
      ["", "-", "a..b", ".a", "a.", "A.b", "a b", "*", "a/b", "x".repeat(254)].map(
        (value): [string, Record<string, unknown>, string] => [
          `with the ${field} ${JSON.stringify(value).slice(0, 20)}`,
          { [field]: value },
          `spec.${field}`,
        ],
      ),
    ),
    ...["", "3", "s", "-1s", "1d", "3 s", "1e3s"].flatMap((value) =>
      ["period", "timeout"].map((field): [string, Record<string, unknown>, string] => [
        `with the probe's ${field} ${JSON.stringify(value)}`,
        { probe: { [field]: value } },
        `spec.probe.${field}`,
      ]),
    ),
    ["with a probe that is text", { probe: "3s" }, "spec.probe"],
    ["that probes all the time", { probe: { period: "0s" } }, "period must be 500ms to 1h"],
    ["that probes too often", { probe: { period: "1ms" } }, "period must be 500ms to 1h"],
    ["that probes as good as never", { probe: { period: "2h" } }, "period must be 500ms to 1h"],
    ["whose probe may take no time", { probe: { timeout: "0s" } }, "timeout must be 100ms to 1m"],
    ["whose probe may take hours", { probe: { timeout: "5h" } }, "timeout must be 100ms to 1m"],
    ["with an empty probe path", { probe: { path: "" } }, "spec.probe.path"],
    ["with a probe path that is none", { probe: { path: "ready" } }, "spec.probe.path"],
    ["with a probe path that is too long", { probe: { path: `/${"a".repeat(1024)}` } }, "spec.probe.path"],
    ["with a probe path of two lines", { probe: { path: "/a\r\nHost: b" } }, "spec.probe.path"],
    ["with a probe port of 0", { probe: { port: 0 } }, "spec.probe.port"],
    ["with a probe port out of range", { probe: { port: 65_536 } }, "spec.probe.port"],
    ["that never sees failures", { probe: { failureThreshold: 0 } }, "spec.probe.failureThreshold"],
    ["that sees failures too late", { probe: { failureThreshold: 101 } }, "spec.probe.failureThreshold"],
    ...selectors.flatMap((field): [string, Record<string, unknown>, string][] => [
      [`whose ${field} is text`, { [field]: "mirror.linkerd.io/exported=true" }, `spec.${field}`],
      [
        `whose ${field} has too many labels`,
        { [field]: { matchLabels: Object.fromEntries(many(33).map((each) => [each, ""])) } },
        `spec.${field}.matchLabels`,
      ],
      [
        `whose ${field} has too many expressions`,
        { [field]: { matchExpressions: many(33).map((key) => ({ key, operator: "Exists" })) } },
        `spec.${field}.matchExpressions`,
      ],
      [
        `whose ${field} has an expression of too many values`,
        { [field]: expression({ key: "a", operator: "In", values: many(65) }) },
        `spec.${field}.matchExpressions[0].values`,
      ],
      [
        `whose ${field} has an operator that does not exist`,
        { [field]: expression({ key: "a", operator: "Like" }) },
        `spec.${field}.matchExpressions[0].operator`,
      ],
      [
        `whose ${field} has no operator`,
        { [field]: expression({ key: "a" }) },
        `spec.${field}.matchExpressions[0].operator`,
      ],
      [
        `whose ${field} has In without values`,
        { [field]: expression({ key: "a", operator: "In" }) },
        "In and NotIn need values",
      ],
      [
        `whose ${field} has NotIn without values`,
        { [field]: expression({ key: "a", operator: "NotIn", values: [] }) },
        "In and NotIn need values",
      ],
      [
        `whose ${field} has Exists with values`,
        { [field]: expression({ key: "a", operator: "Exists", values: ["b"] }) },
        "In and NotIn need values",
      ],
      [
        `whose ${field} has a key that is none`,
        { [field]: expression({ key: "a b", operator: "Exists" }) },
        `spec.${field}.matchExpressions[0].key`,
      ],
      [
        `whose ${field} has an empty key`,
        { [field]: expression({ key: "", operator: "Exists" }) },
        `spec.${field}.matchExpressions[0].key`,
      ],
      [
        `whose ${field} has a value that is none`,
        { [field]: expression({ key: "a", operator: "In", values: ["b c"] }) },
        `spec.${field}.matchExpressions[0].values[0]`,
      ],
      [
        `whose ${field} has a label that is none`,
        { [field]: { matchLabels: { "a/b/c": "d" } } },
        "no label key",
      ],
      [
        `whose ${field} has a label's value that is none`,
        { [field]: { matchLabels: { a: "b,c" } } },
        `spec.${field}`,
      ],
      [
        `whose ${field} has a label's value that is too long`,
        { [field]: { matchLabels: { a: "b".repeat(64) } } },
        `spec.${field}`,
      ],
    ]),
    ...["excludedLabels", "excludedAnnotations"].flatMap((field) =>
      ["", "*", "/*", "a*", "a/*/b", "a b", "a/b/c", "x/".concat("y".repeat(400)), "ü"].map(
        (value): [string, Record<string, unknown>, string] => [
          `with ${JSON.stringify(value).slice(0, 20)} in ${field}`,
          { [field]: [value] },
          `spec.${field}`,
        ],
      ),
    ),
    ["with the same label excluded twice", { excludedLabels: ["a", "a"] }, "spec.excludedLabels"],
    [
      "with too many excluded annotations",
      { excludedAnnotations: Array.from({ length: 257 }, (_, n) => `a${n}`) },
      "spec.excludedAnnotations",
    ],
  ])("%s, and says which field", async (_, spec, words) => {
    const name = `bad-${Math.random().toString(36).slice(2)}`;
    const link = world.makeLink(spec as Partial<LinkSpec>, name);
    await expect(world.source.create(LINKS, link)).rejects.toMatchObject({
      status: 422,
      detail: expect.stringContaining(words),
    });
  });

  test("that says nothing at all", async () => {
    const { spec: _, ...link } = world.makeLink({}, "empty");
    await expect(world.source.create(LINKS, link as Link)).rejects.toMatchObject({
      status: 422,
      detail: expect.stringContaining("spec: Required"),
    });
  });

  test("whose target changes, and says to make another", async () => {
    await world.putLink({}, "fixed");
    await expect(world.putLink({ targetClusterName: "other" }, "fixed")).rejects.toMatchObject({
      status: 422,
      detail: expect.stringContaining("targetClusterName cannot change: delete this Link and make another"),
    });
  });
});

test("a Link that leaves out what has a default gets it", async () => {
  const { spec } = await world.putLink({ gatewayPort: undefined as never, probe: {} }, "defaults");
  expect(spec).toMatchObject({
    targetClusterDomain: "cluster.local",
    gatewayPort: 4143,
    probe: { path: "/ready", port: 4191, period: "3s", timeout: "5s", failureThreshold: 3 },
  });
});

test("what is unusual and right is taken", async () => {
  const { spec } = await world.putLink(
    {
      targetClusterDomain: "a",
      targetTrustDomain: "root.linkerd.cluster.local",
      gatewayAddresses: ["::1", "2001:db8::1", "10.0.0.1", "a", "A-1.Example.com", "xn--bcher-kva.example"],
      gateway: { namespace: "linkerd-multicluster", name: "linkerd-gateway" },
      probe: { path: "/", period: "1m30s", timeout: "1.5s", failureThreshold: 100, port: 65_535 },
      selector: {
        matchLabels: { "example.com/a_b.c": "", A: "b_c.d" },
        matchExpressions: [
          { key: "a", operator: "In", values: ["", "b"] },
          { key: "a", operator: "Exists" },
          { key: "b", operator: "DoesNotExist", values: [] },
        ],
      },
      remoteDiscoverySelector: {},
      federatedServiceSelector: { matchLabels: {} },
      excludedLabels: ["example.com/*", "a", "example.com/a_b"],
    },
    "unusual",
  );
  expect(spec.gatewayAddresses).toHaveLength(6);
});
