import type { EndpointSlice, KubeObject, Service, ServicePort, ServiceSpec } from "../kube/objects.ts";
import { mergedAnnotations, mergedLabels, sameMetadata } from "./metadata.ts";

/**
 * What a mirror must become so that it is as desired again, to be written over the version it was made from; `undefined`
 * when it already is. What the API server chose for it (cluster IP, address families) stays.
 */
export function correctedService(actual: Service, desired: Service): Service | undefined {
  const metadata = correctedMetadata(actual, desired);
  const spec = actual.spec ?? {};
  const wrongSpec = !isPlain(spec) || !samePorts(spec.ports ?? [], desired.spec?.ports ?? []);
  if (metadata === undefined && !wrongSpec) return undefined;
  return {
    ...actual,
    metadata: metadata ?? actual.metadata,
    spec: wrongSpec ? { ...chosenByServer(spec), ...desired.spec } : spec,
  };
}

/** Whether a mirror is, or was made into, something that the API server does not let be made into what it should be. */
export function mustBeRemade(actual: Service, desired: Service): boolean {
  return (actual.spec?.clusterIP === "None") !== (desired.spec?.clusterIP === "None");
}

/** As `correctedService`. The type of a slice's addresses cannot change: `sliceName` gives each type a name of its own. */
export function correctedSlice(actual: EndpointSlice, desired: EndpointSlice): EndpointSlice | undefined {
  const metadata = correctedMetadata(actual, desired);
  const same = sameEndpoints(actual, desired) && sameSlicePorts(actual, desired);
  if (metadata === undefined && same) return undefined;
  return {
    ...actual,
    metadata: metadata ?? actual.metadata,
    endpoints: desired.endpoints ?? [],
    ports: desired.ports ?? [],
  };
}

function correctedMetadata(actual: KubeObject, desired: KubeObject): KubeObject["metadata"] | undefined {
  const labels = mergedLabels(actual.metadata.labels, desired.metadata.labels ?? {});
  const annotations = mergedAnnotations(actual.metadata.annotations, desired.metadata.annotations ?? {});
  const owner = desired.metadata.ownerReferences?.[0];
  const owned = owner === undefined || actual.metadata.ownerReferences?.some(({ uid }) => uid === owner.uid);
  if (
    owned &&
    sameMetadata(labels, actual.metadata.labels) &&
    sameMetadata(annotations, actual.metadata.annotations)
  ) {
    return undefined;
  }
  return {
    ...actual.metadata,
    labels,
    annotations,
    ...(owner === undefined ? {} : { ownerReferences: [owner] }),
  };
}

/**
 * Whether nothing of a Service's spec but its ports sets it apart from the plainest one. Only fields that change where
 * calls go are looked at: a field that a newer API server fills in by itself must not look like an edit.
 */
function isPlain(spec: ServiceSpec): boolean {
  return (
    (spec.type ?? "ClusterIP") === "ClusterIP" &&
    Object.keys(spec.selector ?? {}).length === 0 &&
    (spec.externalIPs ?? []).length === 0 &&
    !spec.externalName &&
    (spec.sessionAffinity ?? "None") === "None" &&
    (spec.internalTrafficPolicy ?? "Cluster") === "Cluster" &&
    !spec.trafficDistribution &&
    !spec.publishNotReadyAddresses
  );
}

function chosenByServer(spec: ServiceSpec): ServiceSpec {
  const { clusterIP, clusterIPs, ipFamilies, ipFamilyPolicy } = spec;
  return {
    ...(clusterIP ? { clusterIP } : {}),
    ...(clusterIPs ? { clusterIPs } : {}),
    ...(ipFamilies ? { ipFamilies } : {}),
    ...(ipFamilyPolicy ? { ipFamilyPolicy } : {}),
  };
}

function samePorts(actual: readonly ServicePort[], desired: readonly ServicePort[]): boolean {
  return (
    actual.length === desired.length &&
    actual.every((port, index) => {
      const wanted = desired[index]!;
      return (
        port.port === wanted.port &&
        (port.name ?? "") === (wanted.name ?? "") &&
        (port.protocol ?? "TCP") === (wanted.protocol ?? "TCP") &&
        // Absent means the port itself, and the API server writes that out.
        (port.targetPort ?? port.port) === (wanted.targetPort ?? wanted.port) &&
        port.appProtocol === wanted.appProtocol
      );
    })
  );
}

function sameEndpoints(actual: EndpointSlice, desired: EndpointSlice): boolean {
  const text = (slice: EndpointSlice) =>
    (slice.endpoints ?? [])
      .map(
        ({ addresses, conditions, hostname = "" }) =>
          `${conditions?.ready ?? true} ${hostname} ${addresses.join(" ")}`,
      )
      .sort()
      .join("\n");
  return text(actual) === text(desired);
}

function sameSlicePorts(actual: EndpointSlice, desired: EndpointSlice): boolean {
  const text = (slice: EndpointSlice) =>
    (slice.ports ?? [])
      .map(
        ({ name = "", protocol = "TCP", port, appProtocol = "" }) =>
          `${name} ${protocol} ${port} ${appProtocol}`,
      )
      .sort()
      .join("\n");
  return text(actual) === text(desired);
}
