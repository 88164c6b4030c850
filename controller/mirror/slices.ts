import { isIPv4, isIPv6 } from "node:net";
import {
  EGRESS_PORTS_ANNOTATION,
  parseEgressPorts,
  REMOTE_FQ_NAME_ANNOTATION,
  REMOTE_GATEWAY_IDENTITY_ANNOTATION,
  SERVICE_NAME_LABEL,
  SLICE_MANAGED_BY_LABEL,
  SLICE_MANAGER,
  sliceName,
} from "../../contract/index.ts";
import type { EndpointPort, EndpointSlice, Pod, Service, ServicePort } from "../kube/objects.ts";

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
}

/**
 * The EndpointSlices of a mirror: one for each address family that its backend has, an empty one where it has none yet.
 * They follow from the mirror alone, so that they can follow the backend even while the target cannot be asked.
 */
export function desiredSlices(mirror: Service, backend: Backend): EndpointSlice[] {
  const byIp = new Map(backend.addresses.map((address) => [address.ip, address]));
  const addresses = [...byIp.values()].sort((a, b) => (a.ip < b.ip ? -1 : 1));
  const v4 = addresses.filter(({ ip }) => isIPv4(ip));
  const v6 = addresses.filter(({ ip }) => isIPv6(ip));
  const slices: EndpointSlice[] = [];
  if (v4.length > 0 || v6.length === 0) slices.push(slice(mirror, backend, "IPv4", v4));
  if (v6.length > 0) slices.push(slice(mirror, backend, "IPv6", v6));
  return slices;
}

/** The names that the slices of a mirror can have: what to remove when the mirror goes. */
export function sliceNames(mirror: string): string[] {
  return [sliceName(mirror, "IPv4"), sliceName(mirror, "IPv6")];
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
  const { namespace = "", name, uid, labels = {}, annotations = {} } = mirror.metadata;
  const fqName = annotations[REMOTE_FQ_NAME_ANNOTATION];
  return {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: {
      namespace,
      name: sliceName(name, addressType),
      labels: { ...labels, [SERVICE_NAME_LABEL]: name, [SLICE_MANAGED_BY_LABEL]: SLICE_MANAGER },
      annotations: {
        ...(fqName === undefined ? {} : { [REMOTE_FQ_NAME_ANNOTATION]: fqName }),
        ...(backend.identity === undefined ? {} : { [REMOTE_GATEWAY_IDENTITY_ANNOTATION]: backend.identity }),
      },
      ...(uid === undefined
        ? {}
        : { ownerReferences: [{ apiVersion: "v1", kind: "Service", name, uid, controller: true }] }),
    },
    addressType,
    endpoints: addresses.map(({ ip, ready }) => ({ addresses: [ip], conditions: { ready } })),
    ports: slicePorts(mirror, backend),
  };
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
