import {
  HEADLESS_MIRROR_LABEL,
  hostLabel,
  type Link,
  mirrorName,
  podMirrorName,
  REMOTE_HOST_ANNOTATION,
  REMOTE_SERVICE_ANNOTATION,
  sliceName,
} from "../../contract/index.ts";
import type { Endpoint, EndpointSlice, Service } from "../kube/objects.ts";
import {
  type DataPlane,
  egressPortsAnnotation,
  gatewayAnnotation,
  linkLabels,
  type MirrorShape,
  mirroredPort,
  originAnnotations,
} from "./desired.ts";
import { copiedAnnotations, copiedLabels } from "./metadata.ts";
import { byFamily, MAX_ENDPOINTS, sliceFrame } from "./slices.ts";

/** One pod of a headless service, at the address of its mirror. */
export interface PodEndpoint {
  host: string;
  /** Cluster IPs of the mirror of the pod. */
  ips: readonly string[];
  ready: boolean;
}

/**
 * Whether a headless service gets a headless mirror, with one for each of its pods. Linkerd's gateway finds a pod by its
 * hostname only: without hostnames it is told the service's name, which needs an ordinary mirror. A service with no pods
 * at the moment stays what it was, since the one cannot be made into the other.
 */
export function isMirroredByPod(
  remote: Service,
  slices: readonly EndpointSlice[],
  dataPlane: DataPlane,
  actual: Service | undefined,
): boolean {
  if (remote.spec?.clusterIP !== "None") return false;
  if (dataPlane === "standalone") return true;
  const endpoints = slices.flatMap((slice) => slice.endpoints ?? []);
  if (endpoints.length === 0) return actual?.spec?.clusterIP === "None";
  return endpoints.some(({ hostname }) => hostname !== undefined);
}

/** The mirror of one pod of a headless service: an ordinary Service, whose calls end at that pod. */
export function desiredPodService(
  remote: Service,
  host: string,
  link: Link,
  shape: Pick<MirrorShape, "ports" | "egressPorts" | "gateway">,
): Service {
  const { namespace = "", name } = remote.metadata;
  const { targetClusterName, targetClusterDomain = "cluster.local" } = link.spec;
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: {
      namespace,
      name: podMirrorName(host, targetClusterName),
      labels: {
        ...copiedLabels(remote.metadata.labels, link.spec),
        ...linkLabels(link),
        [HEADLESS_MIRROR_LABEL]: mirrorName(name, targetClusterName),
      },
      annotations: {
        ...copiedAnnotations(remote.metadata.annotations, link.spec),
        ...originAnnotations(remote, `${host}.${name}.${namespace}.svc.${targetClusterDomain}`),
        ...egressPortsAnnotation(shape.egressPorts),
        ...gatewayAnnotation(shape.gateway),
        [REMOTE_HOST_ANNOTATION]: host,
      },
    },
    spec: { type: "ClusterIP", ports: shape.ports.map(mirroredPort) },
  };
}

/** Whether a mirror is that of this pod. */
export function isMirrorOfPod(mirror: Service, remote: Service, host: string): boolean {
  const { annotations = {} } = mirror.metadata;
  const { namespace, name } = remote.metadata;
  return (
    annotations[REMOTE_HOST_ANNOTATION] === host &&
    annotations[REMOTE_SERVICE_ANNOTATION] === `${namespace}/${name}`
  );
}

/**
 * The slices of the mirror of a headless service: its pods, under their hostnames, at the addresses of their mirrors. Who
 * is in a slice already stays in it, so that a pod that comes or goes changes one slice and not all that follow.
 */
export function headlessSlices(
  mirror: Service,
  pods: readonly PodEndpoint[],
  existing: readonly EndpointSlice[],
): EndpointSlice[] {
  const addresses = pods.flatMap(({ host, ips, ready }) => ips.map((ip) => ({ ip, host, ready })));
  const families = byFamily(addresses);
  const slices = (["IPv4", "IPv6"] as const).flatMap((family) =>
    packed(mirror, family, families[family], existing),
  );
  return slices.length > 0 ? slices : [emptySlice(mirror, "IPv4", 0)];
}

/** The slices of a headless mirror whose pods are not all known yet: who is in them stays. */
export function keptHeadlessSlices(mirror: Service, existing: readonly EndpointSlice[]): EndpointSlice[] {
  return existing.map(({ metadata, addressType, endpoints = [] }) => {
    const family = addressType === "IPv6" ? "IPv6" : "IPv4";
    return {
      ...emptySlice(mirror, family, 0),
      ...sliceFrame(mirror, metadata.name, family),
      endpoints,
    };
  });
}

type PodAddress = { ip: string; host: string; ready: boolean };

function packed(
  mirror: Service,
  family: "IPv4" | "IPv6",
  addresses: readonly PodAddress[],
  existing: readonly EndpointSlice[],
): EndpointSlice[] {
  const slices = new Map<number, PodAddress[]>();
  const most = existing.length + Math.ceil(addresses.length / MAX_ENDPOINTS);
  const before = new Map<string, number>();
  const byName = new Map(existing.map((slice) => [slice.metadata.name, slice]));
  for (let number = 0; number < most; number++) {
    const slice = byName.get(sliceName(mirror.metadata.name, family, number));
    for (const endpoint of slice?.endpoints ?? []) before.set(endpoint.addresses[0] ?? "", number);
  }
  const room = (number: number) => MAX_ENDPOINTS - (slices.get(number)?.length ?? 0);
  const put = (number: number, address: PodAddress) =>
    slices.set(number, [...(slices.get(number) ?? []), address]);
  const homeless: PodAddress[] = [];
  for (const address of addresses) {
    const number = before.get(address.ip);
    if (number !== undefined && room(number) > 0) put(number, address);
    else homeless.push(address);
  }
  let number = 0;
  for (const address of homeless) {
    while (room(number) === 0) number++;
    put(number, address);
  }
  return [...slices]
    .sort(([a], [b]) => a - b)
    .map(([index, of]) => ({ ...emptySlice(mirror, family, index), endpoints: of.map(podEndpoint) }));
}

function podEndpoint({ ip, host, ready }: PodAddress): Endpoint {
  return { addresses: [ip], conditions: { ready }, hostname: hostLabel(host) };
}

function emptySlice(mirror: Service, family: "IPv4" | "IPv6", number: number): EndpointSlice {
  return {
    ...sliceFrame(mirror, sliceName(mirror.metadata.name, family, number), family),
    endpoints: [],
    // The pods' mirrors have the ports of the service itself.
    ports: (mirror.spec?.ports ?? []).map(({ name = "", port, appProtocol }) => ({
      name,
      protocol: "TCP",
      port,
      ...(appProtocol === undefined ? {} : { appProtocol }),
    })),
  };
}
