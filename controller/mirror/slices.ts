import { isIPv4, isIPv6 } from "node:net";
import {
  EGRESS_PORTS_ANNOTATION,
  parseEgressPorts,
  REMOTE_ENDPOINTS_ANNOTATION,
  REMOTE_FQ_NAME_ANNOTATION,
  REMOTE_GATEWAY_IDENTITY_ANNOTATION,
  SERVICE_NAME_LABEL,
  SLICE_MANAGED_BY_LABEL,
  SLICE_MANAGER,
  sliceName,
} from "../../contract/index.ts";
import type { Endpoint, EndpointPort, EndpointSlice, Pod, Service, ServicePort } from "../kube/objects.ts";

/** One IP address that calls go to. */
export interface BackendAddress {
  ip: string;
  /** Whether calls are to go there now. */
  ready: boolean;
}

/** Where the calls to a link's mirrors go. */
export interface Backend {
  /** Of the egress pods, or of the target's gateway. */
  addresses: readonly BackendAddress[];
  /** One port of the gateway for all; absent where each mirror has egress ports of its own. */
  port?: number;
  /**
   * What the far end proves by its certificate, for callers that are proxies of Linkerd. Absent where the calls go to an
   * egress, with which a proxy that knew an identity would try to speak TLS.
   */
  identity?: string;
  /** The service has no ready endpoint in the target: nobody is to be called, though there is a way. */
  empty?: boolean;
}

/** An API server takes a thousand endpoints a slice; Kubernetes' own slices have no more than this, to be written quickly. */
export const MAX_ENDPOINTS = 100;

/**
 * The EndpointSlices of a mirror: one for each address family that its backend has, an empty one where it has none yet.
 * They follow from the mirror alone, so that they can follow the backend even while the target cannot be asked.
 */
export function desiredSlices(mirror: Service, backend: Backend): EndpointSlice[] {
  return slicedFamilies(backend).map(([family, addresses]) => slice(mirror, backend, family, addresses));
}

/** The address families of a backend, one slice each: IPv4 where it has no address at all. */
export function slicedFamilies({ addresses }: Backend): [family: "IPv4" | "IPv6", of: BackendAddress[]][] {
  const { IPv4, IPv6 } = byFamily(addresses);
  const families: [family: "IPv4" | "IPv6", of: BackendAddress[]][] = [];
  if (IPv4.length > 0 || IPv6.length === 0) families.push(["IPv4", IPv4]);
  if (IPv6.length > 0) families.push(["IPv6", IPv6]);
  return families;
}

/** The names that every mirror's slices can have: to be looked for even if nothing on them says whose they are. */
export function sliceNames(mirror: string): string[] {
  return [sliceName(mirror, "IPv4"), sliceName(mirror, "IPv6")];
}

/** Whether a slice says that nobody is ready in the target. */
export function isMarkedEmpty({ metadata }: EndpointSlice): boolean {
  return metadata.annotations?.[REMOTE_ENDPOINTS_ANNOTATION] === "none";
}

/** Addresses of one family, and those of the other. */
export function byFamily<T extends { ip: string }>(addresses: readonly T[]): { IPv4: T[]; IPv6: T[] } {
  const byIp = new Map(addresses.map((address) => [address.ip, address]));
  const sorted = [...byIp.values()].sort((a, b) => (a.ip < b.ip ? -1 : 1));
  return { IPv4: sorted.filter(({ ip }) => isIPv4(ip)), IPv6: sorted.filter(({ ip }) => isIPv6(ip)) };
}

/**
 * The addresses that slices may name: those of egress pods whose containers are ready and that are not going away. Not
 * those that are `Ready`, since a pod becomes so only once the slices name it.
 */
export function egressAddresses(pods: readonly Pod[]): string[] {
  return pods.filter(isServing).flatMap(podAddresses).sort();
}

/** Whether a pod takes calls as far as it itself is concerned. */
export function isServing(pod: Pod): boolean {
  return pod.metadata.deletionTimestamp === undefined && hasCondition(pod, "ContainersReady");
}

/** Whether a condition of a pod is true. */
export function hasCondition(pod: Pod, type: string): boolean {
  return (pod.status?.conditions ?? []).some(
    (condition) => condition.type === type && condition.status === "True",
  );
}

/** All IP addresses of a pod. */
export function podAddresses(pod: Pod): string[] {
  const { podIPs, podIP } = pod.status ?? {};
  return podIPs?.map(({ ip }) => ip) ?? (podIP === undefined ? [] : [podIP]);
}

function slice(
  mirror: Service,
  backend: Backend,
  addressType: "IPv4" | "IPv6",
  addresses: readonly BackendAddress[],
): EndpointSlice {
  const frame = sliceFrame(mirror, sliceName(mirror.metadata.name, addressType), addressType);
  const { identity, empty = false } = backend;
  return {
    ...frame,
    metadata: {
      ...frame.metadata,
      annotations: {
        ...frame.metadata.annotations,
        ...(identity === undefined ? {} : { [REMOTE_GATEWAY_IDENTITY_ANNOTATION]: identity }),
        ...(empty && { [REMOTE_ENDPOINTS_ANNOTATION]: "none" }),
      },
    },
    endpoints: backendEndpoints(addresses, empty),
    ports: slicePorts(mirror, backend),
  };
}

/** A slice of a mirror without what is in it. */
export function sliceFrame(mirror: Service, name: string, addressType: "IPv4" | "IPv6"): EndpointSlice {
  const { namespace = "", uid, labels = {}, annotations = {} } = mirror.metadata;
  const fqName = annotations[REMOTE_FQ_NAME_ANNOTATION];
  return {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: {
      namespace,
      name,
      labels: {
        ...labels,
        [SERVICE_NAME_LABEL]: mirror.metadata.name,
        [SLICE_MANAGED_BY_LABEL]: SLICE_MANAGER,
      },
      annotations: fqName === undefined ? {} : { [REMOTE_FQ_NAME_ANNOTATION]: fqName },
      ...(uid === undefined
        ? {}
        : {
            ownerReferences: [
              { apiVersion: "v1", kind: "Service", name: mirror.metadata.name, uid, controller: true },
            ],
          }),
    },
    addressType,
  };
}

/** An empty target's endpoints stay, not ready: who carries the calls is known all the same. */
export function backendEndpoints(addresses: readonly BackendAddress[], empty: boolean): Endpoint[] {
  return addresses.map(({ ip, ready }) => ({ addresses: [ip], conditions: { ready: ready && !empty } }));
}

function slicePorts(mirror: Service, backend: Backend): EndpointPort[] {
  const egressPorts = parseEgressPorts(mirror.metadata.annotations?.[EGRESS_PORTS_ANNOTATION]);
  return (mirror.spec?.ports ?? []).flatMap((port: ServicePort) => {
    const number = backend.port ?? egressPorts.get(port.port);
    if (number === undefined) return [];
    const { name = "", appProtocol } = port;
    return [{ name, protocol: "TCP", port: number, ...(appProtocol === undefined ? {} : { appProtocol }) }];
  });
}
