import { describe, expect, test } from "@jest/globals";
import { desiredService, examine, isRefusal } from "../../controller/mirror/desired.ts";
import type { Exclusions } from "../../controller/mirror/metadata.ts";
import { aLink, anExport, meshed, standalone } from "../support/mirror-objects.ts";

const from = (exclusions: Exclusions = {}) => ({ cluster: "remote", exclusions });

describe("a mirror Service", () => {
  const remote = anExport("service-one", {
    labels: { lk: "lv" },
    annotations: { "config.linkerd.io/opaque-ports": "555" },
  });
  const ports = [
    { name: "port1", port: 555, protocol: "TCP" },
    { name: "port2", port: 666, protocol: "TCP" },
  ];

  test("says what it mirrors, for whom, and on which egress ports; the export label is not copied", () => {
    const egress = new Map([
      [555, 20_001],
      [666, 20_002],
    ]);
    expect(desiredService(remote, aLink(), { ports, mode: "gateway", egressPorts: egress })).toEqual({
      apiVersion: "v1",
      kind: "Service",
      metadata: {
        namespace: "ns1",
        name: "service-one-remote",
        labels: {
          lk: "lv",
          "mirror.linkerd.io/mirrored-service": "true",
          "mirror.linkerd.io/cluster-name": "remote",
          "app.kubernetes.io/managed-by": "isthmus",
          "isthmus.dev/link": "isthmus.remote",
        },
        annotations: {
          "config.linkerd.io/opaque-ports": "555",
          "mirror.linkerd.io/remote-svc-fq-name": "service-one.ns1.svc.cluster.local",
          "mirror.linkerd.io/remote-resource-version": "111",
          "isthmus.dev/remote-service": "ns1/service-one",
          "isthmus.dev/egress-ports": "555=20001,666=20002",
        },
      },
      spec: { type: "ClusterIP", ports },
    });
  });

  test("has no egress ports where calls go straight to the gateway", () => {
    const { annotations } = desiredService(remote, aLink(), { ports, mode: "gateway" }).metadata;
    expect(Object.keys(annotations ?? {})).not.toContain("isthmus.dev/egress-ports");
  });

  test("whose pods are called directly tells Linkerd's destination whom to ask", () => {
    const { labels } = desiredService(remote, aLink(), { ports, mode: "remote-discovery" }).metadata;
    expect(labels).toMatchObject({
      "multicluster.linkerd.io/remote-discovery": "remote",
      "multicluster.linkerd.io/remote-service": "service-one",
    });
  });

  test("of a name too long for a label gets a shorter one, and still says the whole", () => {
    const long = "s".repeat(60);
    const mirror = desiredService(anExport(long), aLink(), { ports, mode: "gateway" });
    expect(mirror.metadata.name).toMatch(/^s{46}-[a-z2-7]{16}$/);
    expect(mirror.metadata.annotations).toMatchObject({ "isthmus.dev/remote-service": `ns1/${long}` });
  });

  test("takes from a port what callers see, not what belongs to the target's nodes", () => {
    const odd = [{ port: 80, targetPort: "web", nodePort: 30_080, appProtocol: "http" }];
    expect(desiredService(remote, aLink(), { ports: odd, mode: "gateway" }).spec?.ports).toEqual([
      { protocol: "TCP", port: 80, targetPort: "web", appProtocol: "http" },
    ]);
  });
});

describe("an exported service", () => {
  test.each([
    [
      "that is a mirror",
      anExport("x", { labels: { "mirror.linkerd.io/mirrored-service": "true" } }),
      "MirrorOfMirror",
    ],
    [
      "that is a mirror of Isthmus with Linkerd's label removed",
      anExport("x", { labels: { "isthmus.dev/link": "a.b" } }),
      "MirrorOfMirror",
    ],
    ["in a protected namespace", anExport("x", { namespace: "kube-system" }), "ProtectedNamespace"],
    [
      "of type ExternalName",
      anExport("x", { spec: { type: "ExternalName", externalName: "example.com" } }),
      "InvalidService",
    ],
    ["without a port", anExport("x", { ports: [] }), "InvalidService"],
    [
      "with UDP only",
      anExport("x", { ports: [{ name: "dns", port: 53, protocol: "UDP" }] }),
      "InvalidService",
    ],
    [
      "with more ports than a slice holds",
      anExport("x", { ports: Array.from({ length: 101 }, (_, i) => ({ name: `p${i}`, port: i + 1 })) }),
      "InvalidService",
    ],
    [
      "with a flood of annotations",
      anExport("x", { annotations: { a: "é".repeat(40_000) } }),
      "InvalidService",
    ],
  ])("%s is refused", (_, remote, reason) => {
    expect(examine(remote, from(), "gateway", standalone)).toMatchObject({
      reason,
      message: expect.any(String),
    });
  });

  test("that is headless can be mirrored, but is no member of a federated service", () => {
    const headless = anExport("x", { spec: { clusterIP: "None" } });
    expect(isRefusal(examine(headless, from(), "gateway", standalone))).toBe(false);
    expect(examine(headless, from(), "federated", standalone)).toMatchObject({ reason: "InvalidService" });
  });

  test("to be called pod to pod is refused where no proxy does that, and told what to do", () => {
    expect(examine(anExport(), from(), "remote-discovery", standalone)).toMatchObject({
      reason: "UnsupportedMode",
      message: expect.stringContaining("label it mirror.linkerd.io/exported=true"),
    });
    expect(isRefusal(examine(anExport(), from(), "remote-discovery", meshed))).toBe(false);
  });

  test("with annotations that are not even remembered is refused, unless these are excluded", () => {
    const remote = { ...anExport("x"), tooLarge: { "big.example.com/a": 200_000 } };
    expect(examine(remote, from(), "gateway", standalone)).toMatchObject({ reason: "InvalidService" });
    const excluded = from({ excludedAnnotations: ["big.example.com/*"] });
    expect(isRefusal(examine(remote, excluded, "gateway", standalone))).toBe(false);
  });

  test("with a flood of annotations passes once the Link leaves them out", () => {
    const remote = anExport("x", { annotations: { "big.example.com/a": "é".repeat(40_000) } });
    const examined = examine(
      remote,
      from({ excludedAnnotations: ["big.example.com/*"] }),
      "gateway",
      standalone,
    );
    expect(isRefusal(examined)).toBe(false);
  });

  test("loses its ports that are not TCP, and says so", () => {
    const ports = [
      { name: "dns-tcp", port: 53, protocol: "TCP" },
      { name: "dns", port: 53, protocol: "UDP" },
      { name: "sigtran", port: 2905, protocol: "SCTP" },
    ];
    expect(examine(anExport("dns", { ports }), from(), "gateway", standalone)).toEqual({
      ports: [ports[0]],
      note: "not mirrored: dns (UDP), sigtran (SCTP)",
    });
  });

  test("is told, where its namespace is protected, how to allow it", () => {
    expect(examine(anExport("x", { namespace: "kube-system" }), from(), "gateway", standalone)).toEqual({
      reason: "ProtectedNamespace",
      message:
        "no mirror is made in namespace kube-system unless the controller's allowNamespaces (--allow-namespaces) has it",
    });
  });
});
