import { describe, expect, test } from "@jest/globals";
import { desiredService } from "../../controller/mirror/desired.ts";
import { desiredSlices, egressAddresses } from "../../controller/mirror/slices.ts";
import { aLink, anEgressPod, anExport, ready } from "../support/mirror-objects.ts";

const ports = [
  { name: "port1", port: 555 },
  { name: "port2", port: 666 },
];
const egressPorts = new Map([
  [555, 20_001],
  [666, 20_002],
]);
const mirror = desiredService(anExport("service-one", { labels: { lk: "lv" } }), aLink(), {
  ports,
  mode: "gateway",
  egressPorts,
});

describe("the slice of a mirror", () => {
  test("names the egress pods and each port's egress port, and is told apart from others' slices", () => {
    const owned = { ...mirror, metadata: { ...mirror.metadata, uid: "u1" } };
    expect(desiredSlices(owned, { addresses: ready("10.1.0.3", "10.1.0.2") })).toEqual([
      {
        apiVersion: "discovery.k8s.io/v1",
        kind: "EndpointSlice",
        metadata: {
          namespace: "ns1",
          name: "service-one-remote-isthmus",
          labels: {
            lk: "lv",
            "mirror.linkerd.io/mirrored-service": "true",
            "mirror.linkerd.io/cluster-name": "remote",
            "app.kubernetes.io/managed-by": "isthmus",
            "isthmus.dev/link": "isthmus.remote",
            "kubernetes.io/service-name": "service-one-remote",
            "endpointslice.kubernetes.io/managed-by": "isthmus.dev",
          },
          annotations: { "mirror.linkerd.io/remote-svc-fq-name": "service-one.ns1.svc.cluster.local" },
          ownerReferences: [
            { apiVersion: "v1", kind: "Service", name: "service-one-remote", uid: "u1", controller: true },
          ],
        },
        addressType: "IPv4",
        endpoints: [
          { addresses: ["10.1.0.2"], conditions: { ready: true } },
          { addresses: ["10.1.0.3"], conditions: { ready: true } },
        ],
        ports: [
          { name: "port1", protocol: "TCP", port: 20_001 },
          { name: "port2", protocol: "TCP", port: 20_002 },
        ],
      },
    ]);
  });

  test("names the gateway, its one port and its identity where Linkerd's proxies call it", () => {
    const [slice] = desiredSlices(mirror, {
      addresses: ready("192.0.2.127"),
      port: 888,
      identity: "gateway-identity",
    });
    expect(slice?.metadata.annotations).toMatchObject({
      "mirror.linkerd.io/remote-gateway-identity": "gateway-identity",
    });
    expect(slice?.endpoints).toEqual([{ addresses: ["192.0.2.127"], conditions: { ready: true } }]);
    expect(slice?.ports).toEqual([
      { name: "port1", protocol: "TCP", port: 888 },
      { name: "port2", protocol: "TCP", port: 888 },
    ]);
  });

  test("is there without endpoints while nothing can carry its calls", () => {
    const slices = desiredSlices(mirror, { addresses: [] });
    expect(slices.map(({ addressType, endpoints }) => [addressType, endpoints])).toEqual([["IPv4", []]]);
  });

  test("has a twin for IPv6 addresses, since a slice holds one family", () => {
    const slices = desiredSlices(mirror, { addresses: ready("fd00::2", "10.1.0.2") });
    expect(slices.map(({ metadata, addressType }) => [metadata.name, addressType])).toEqual([
      ["service-one-remote-isthmus", "IPv4"],
      ["service-one-remote-isthmus-6", "IPv6"],
    ]);
    expect(desiredSlices(mirror, { addresses: ready("fd00::2") })).toHaveLength(1);
  });

  test("leaves a port out that has no egress port, rather than guess one", () => {
    const edited = {
      ...mirror,
      metadata: { ...mirror.metadata, annotations: { "isthmus.dev/egress-ports": "555=20001" } },
    };
    expect(desiredSlices(edited, { addresses: [] })[0]?.ports).toEqual([
      { name: "port1", protocol: "TCP", port: 20_001 },
    ]);
  });
});

describe("the addresses of the egress", () => {
  test("are those of pods whose containers are ready, before the pods themselves are", () => {
    const starting = { ...anEgressPod("b", "10.1.0.3"), status: { podIP: "10.1.0.3" } };
    expect(egressAddresses([anEgressPod("a", "10.1.0.2"), starting])).toEqual(["10.1.0.2"]);
  });

  test("do not include a pod that is going away", () => {
    const leaving = anEgressPod("b", "10.1.0.3", { deletionTimestamp: "2026-01-01T00:00:00Z" });
    expect(egressAddresses([anEgressPod("a", "10.1.0.2"), leaving])).toEqual(["10.1.0.2"]);
  });
});
