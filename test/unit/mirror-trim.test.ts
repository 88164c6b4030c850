import { describe, expect, test } from "@jest/globals";
import type { EndpointSlice, Service } from "../../controller/kube/objects.ts";
import { trimmedService, trimmedSlice } from "../../controller/mirror/target/trim.ts";
import { anExport } from "../support/mirror-objects.ts";

const CLUSTER = "remote";

describe("of an exported service", () => {
  test("only what mirrors are made from is remembered", () => {
    const service = anExport("web", {
      annotations: {
        kept: "yes",
        "kubectl.kubernetes.io/last-applied-configuration": "{}",
        "mirror.linkerd.io/gateway-name": "gw",
        "mirror.linkerd.io/gateway-ns": "mc",
      },
      spec: { clusterIP: "10.0.0.1", selector: { app: "web" }, externalIPs: ["192.0.2.1"] },
      ports: [{ name: "http", port: 80, nodePort: 30_080 }],
    });
    const trimmed = trimmedService(service, CLUSTER);
    expect(trimmed.metadata.annotations).toEqual({
      kept: "yes",
      "mirror.linkerd.io/gateway-name": "gw",
      "mirror.linkerd.io/gateway-ns": "mc",
    });
    expect(trimmed.spec).toEqual({ clusterIP: "10.0.0.1", ports: [{ name: "http", port: 80 }] });
  });

  test("annotations beyond what a mirror may have are forgotten, the largest first, and their sizes told", () => {
    const annotations = { small: "x", huge: "x".repeat(100_000), large: "x".repeat(60_000) };
    const trimmed = trimmedService(anExport("web", { annotations }), CLUSTER);
    expect(Object.keys(trimmed.metadata.annotations ?? {}).sort()).toEqual(["large", "small"]);
    expect(trimmed.tooLarge).toEqual({ huge: 100_004 });
  });

  test("a port's protocol by a name with the longest prefix that there can be is taken", () => {
    const appProtocol = `${"p".repeat(253)}/${"n".repeat(63)}`;
    const service = anExport("web", { ports: [{ port: 80, appProtocol }] });
    expect(trimmedService(service, CLUSTER).spec?.ports).toEqual([{ port: 80, appProtocol }]);
  });

  test.each<[string, Service]>([
    ["whose name is none", anExport("../../x")],
    ["whose namespace is none", anExport("web", { namespace: "a b" })],
    ["with a port that is none", anExport("web", { ports: [{ port: 0 }] })],
    ["with a port that is text", anExport("web", { ports: [{ port: "80" as never }] })],
    ["with ports that are no list", anExport("web", { ports: {} as never })],
    ["with a label that is no text", anExport("web", { labels: { a: {} as never } })],
    ["with annotations that are a list", anExport("web", { annotations: [] as never })],
  ])("it is said that no API server sends one %s", (_, service) => {
    expect(() => trimmedService(service, CLUSTER)).toThrow(
      /^cluster remote: .*the target sent Service .*, whose/,
    );
  });
});

describe("of a slice", () => {
  const slice = (changes: Partial<EndpointSlice>, labels: Record<string, string> = {}): EndpointSlice => ({
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: {
      namespace: "ns1",
      name: "web-abc",
      labels: { "kubernetes.io/service-name": "web", other: "label", ...labels },
    },
    addressType: "IPv4",
    ...changes,
  });
  const headless = { "service.kubernetes.io/headless": "" };
  const pod = { addresses: ["10.1.0.1"], targetRef: { kind: "Pod", name: "web-0", uid: "u" }, nodeName: "n" };

  test("it is remembered whether anybody is ready, not who", () => {
    const dead = { ...pod, conditions: { ready: false } };
    expect(trimmedSlice(slice({ endpoints: [dead, pod, pod] }), CLUSTER)?.endpoints).toEqual([
      { addresses: [], conditions: { ready: true } },
    ]);
    expect(trimmedSlice(slice({ endpoints: [dead] }), CLUSTER)?.endpoints).toEqual([]);
    expect(trimmedSlice(slice({ endpoints: null as never }), CLUSTER)?.endpoints).toEqual([]);
  });

  test("of a headless service, who the pods are", () => {
    expect(trimmedSlice(slice({ endpoints: [pod] }, headless), CLUSTER)).toMatchObject({
      metadata: { labels: { "kubernetes.io/service-name": "web", "service.kubernetes.io/headless": "" } },
      endpoints: [{ addresses: ["10.1.0.1"], conditions: {}, targetRef: { kind: "Pod", name: "web-0" } }],
    });
  });

  test("with an address that is none to us, is one among others", () => {
    const odd = { addresses: ["010.0.0.1"] };
    expect(trimmedSlice(slice({ endpoints: [odd, pod] }, headless), CLUSTER)?.endpoints).toMatchObject([
      odd,
      { targetRef: { name: "web-0" } },
    ]);
    expect(trimmedSlice(slice({ endpoints: [odd] }), CLUSTER)?.endpoints).toMatchObject([
      { conditions: { ready: true } },
    ]);
  });

  test.each([64, 253])("with a name of %i characters in one piece is taken: Kubernetes does", (length) => {
    const long = slice({ endpoints: [pod] });
    long.metadata.name = "n".repeat(length);
    expect(trimmedSlice(long, CLUSTER)).toMatchObject({ metadata: { name: long.metadata.name } });
  });

  test("written by hand without the label, all the same where its endpoints have hostnames", () => {
    const named = { addresses: ["10.1.0.1"], hostname: "web-0" };
    expect(trimmedSlice(slice({ endpoints: [named] }), CLUSTER)?.endpoints).toEqual([
      { ...named, conditions: {} },
    ]);
  });

  test.each<[string, EndpointSlice]>([
    ["of no service", slice({}, { "kubernetes.io/service-name": "" })],
    [
      "with domain names for addresses",
      slice({ addressType: "FQDN", endpoints: [{ addresses: ["example.com"] }] }),
    ],
  ])("nothing is taken, if it is one %s", (_, odd) => {
    expect(trimmedSlice(odd, CLUSTER)).toBeUndefined();
  });

  test.each<[string, EndpointSlice]>([
    ["with more endpoints than can be", slice({ endpoints: Array.from({ length: 1_001 }, () => pod) })],
    ["with an endpoint without an address", slice({ endpoints: [{ addresses: [] }] })],
    ["with endpoints that are no list", slice({ endpoints: "x" as never })],
    ["with a hostname without end", slice({ endpoints: [{ ...pod, hostname: "x".repeat(10_000) }] })],
    ["whose name is none", slice({ metadata: { namespace: "ns1", name: "a b" } })],
    ["whose namespace is none", slice({ metadata: { namespace: "..", name: "web-abc" } })],
  ])("it is said that no API server sends one %s", (_, odd) => {
    expect(() => trimmedSlice(odd, CLUSTER)).toThrow(
      /^cluster remote: .*the target sent EndpointSlice .*, whose/,
    );
  });
});
