import { describe, expect, test } from "@jest/globals";
import type { Service } from "../../controller/kube/objects.ts";
import { desiredService } from "../../controller/mirror/desired.ts";
import { correctedService, correctedSlice } from "../../controller/mirror/drift.ts";
import { desiredSlices } from "../../controller/mirror/slices.ts";
import { aLink, anExport, ready } from "../support/mirror-objects.ts";

const desired = desiredService(anExport("web", { labels: { app: "web" } }), aLink(), {
  ports: [{ name: "http", port: 80 }],
  mode: "gateway",
  egressPorts: new Map([[80, 20_001]]),
});

/** The mirror as the API server hands it out: with all that it filled in. */
const stored: Service = {
  ...desired,
  metadata: {
    ...desired.metadata,
    uid: "u1",
    resourceVersion: "7",
    creationTimestamp: "2026-01-01T00:00:00Z",
  },
  spec: {
    type: "ClusterIP",
    clusterIP: "10.0.0.9",
    clusterIPs: ["10.0.0.9"],
    ipFamilies: ["IPv4"],
    ipFamilyPolicy: "SingleStack",
    sessionAffinity: "None",
    internalTrafficPolicy: "Cluster",
    ports: [{ name: "http", port: 80, protocol: "TCP", targetPort: 80 }],
  },
};

describe("a mirror", () => {
  test("as the API server fills it in is not written again", () => {
    expect(correctedService(stored, desired)).toBeUndefined();
  });

  test.each<[string, Partial<NonNullable<Service["spec"]>>]>([
    ["a selector", { selector: { app: "mine" } }],
    ["another type", { type: "LoadBalancer" }],
    ["another port", { ports: [{ name: "http", port: 81 }] }],
    ["a port more", { ports: [...(stored.spec?.ports ?? []), { name: "x", port: 81 }] }],
    ["external addresses", { externalIPs: ["192.0.2.1"] }],
    ["client affinity", { sessionAffinity: "ClientIP" }],
    ["a local traffic policy", { internalTrafficPolicy: "Local" }],
  ])("given %s gets the plain spec back, and keeps its cluster IP and version", (_, edit) => {
    const corrected = correctedService({ ...stored, spec: { ...stored.spec, ...edit } }, desired);
    expect(corrected?.spec).toEqual({
      type: "ClusterIP",
      clusterIP: "10.0.0.9",
      clusterIPs: ["10.0.0.9"],
      ipFamilies: ["IPv4"],
      ipFamilyPolicy: "SingleStack",
      ports: desired.spec?.ports,
    });
    expect(corrected?.metadata).toMatchObject({ uid: "u1", resourceVersion: "7" });
  });

  test.each([
    ["a label changed", { labels: { ...stored.metadata.labels, app: "other" } }],
    ["a label added", { labels: { ...stored.metadata.labels, more: "x" } }],
    ["an annotation gone", { annotations: {} }],
  ])("with %s gets its metadata back", (_, edit) => {
    const corrected = correctedService({ ...stored, metadata: { ...stored.metadata, ...edit } }, desired);
    expect(corrected?.metadata.labels).toEqual(desired.metadata.labels);
    expect(corrected?.metadata.annotations).toEqual(desired.metadata.annotations);
    expect(corrected?.spec).toEqual(stored.spec);
  });

  test("with a load balancer's annotation of this cluster is left alone", () => {
    const annotations = { ...stored.metadata.annotations, "service.beta.kubernetes.io/x": "y" };
    expect(
      correctedService({ ...stored, metadata: { ...stored.metadata, annotations } }, desired),
    ).toBeUndefined();
  });
});

describe("a slice", () => {
  const [slice] = desiredSlices(stored, { addresses: ready("10.1.0.2", "10.1.0.3") });
  const kept = { ...slice!, metadata: { ...slice!.metadata, resourceVersion: "8" } };

  test("that names the same endpoints in another order is not written again", () => {
    expect(
      correctedSlice({ ...kept, endpoints: [...(kept.endpoints ?? [])].reverse() }, slice!),
    ).toBeUndefined();
  });

  test("that names an endpoint too many loses it", () => {
    const [fewer] = desiredSlices(stored, { addresses: ready("10.1.0.2") });
    expect(correctedSlice(kept, fewer!)?.endpoints).toEqual(fewer!.endpoints);
  });

  test("that sends calls to another port is put right", () => {
    const edited = { ...kept, ports: [{ name: "http", protocol: "TCP", port: 20_002 }] };
    expect(correctedSlice(edited, slice!)?.ports).toEqual(slice!.ports);
  });

  test("of a mirror that was made anew belongs to the new one", () => {
    const [renewed] = desiredSlices(
      { ...stored, metadata: { ...stored.metadata, uid: "u2" } },
      { addresses: ready("10.1.0.2", "10.1.0.3") },
    );
    expect(correctedSlice(kept, renewed!)?.metadata.ownerReferences).toMatchObject([{ uid: "u2" }]);
  });
});
