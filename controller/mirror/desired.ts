import {
  CLUSTER_NAME_LABEL,
  EGRESS_PORTS_ANNOTATION,
  EXPORTED_LABEL,
  FEDERATED_BY_LABEL,
  formatEgressPorts,
  GATEWAY_ANNOTATION,
  type GatewayReference,
  LINK_LABEL,
  type Link,
  linkLabelValue,
  MANAGED_BY_LABEL,
  MANAGER,
  MIRRORED_LABEL,
  mirrorName,
  REMOTE_DISCOVERY_LABEL,
  REMOTE_FQ_NAME_ANNOTATION,
  REMOTE_RESOURCE_VERSION_ANNOTATION,
  REMOTE_SERVICE_ANNOTATION,
  REMOTE_SERVICE_LABEL,
  SERVICE_REASON,
} from "../../contract/index.ts";
import type { Service, ServicePort } from "../kube/objects.ts";
import { copiedAnnotations, copiedLabels, type Exclusions, matchesKey } from "./metadata.ts";
import { MODE, type Mode } from "./selector.ts";
import type { ExportedService } from "./target/trim.ts";

/** Who carries the calls of this cluster to others: our own egress, or Linkerd's proxies straight to the gateway. */
export type DataPlane = "standalone" | "linkerd";

export type ServiceReason = (typeof SERVICE_REASON)[keyof typeof SERVICE_REASON];

/** Why an exported service has no mirror. */
export interface Refusal {
  reason: ServiceReason;
  /** What is wrong and what to do, for people. */
  message: string;
}

/** What decides about mirrors besides Links and Services. */
export interface MirrorPolicy {
  dataPlane: DataPlane;
  /** The namespace of this Isthmus. */
  namespace: string;
  /** What federated services do not get of this cluster's own members. */
  localExclusions: Exclusions;
  /** Where no mirror is made, since a target must not be able to put a Service there. */
  protectedNamespaces: ReadonlySet<string>;
}

/** An exported service that can be mirrored. */
export interface Mirrorable {
  /** The ports that the mirror will have: those that carry TCP. */
  ports: ServicePort[];
  /** What is left out of the mirror, for people; absent where it is complete. */
  note?: string;
}

/** An EndpointSlice holds no more ports. */
const MAX_PORTS = 100;
/** Labels and annotations taken from a target together, in bytes: a quarter of what an API server lets an object have. */
const MAX_METADATA_BYTES = 65_536;

/** Where an exported service is, and what its mirror is not to get. */
export interface Origin {
  /** For people. */
  cluster: string;
  exclusions: Exclusions;
}

/** How a service is to be mirrored: as itself, or as a member of the federated service of its name. */
export type Purpose = Mode | "federated";

/** Whether an exported service can have a mirror, and with which ports. */
export function examine(
  remote: ExportedService,
  { cluster, exclusions }: Origin,
  purpose: Purpose,
  policy: MirrorPolicy,
): Mirrorable | Refusal {
  const { namespace = "", labels = {} } = remote.metadata;
  if ([MIRRORED_LABEL, LINK_LABEL, FEDERATED_BY_LABEL].some((label) => labels[label] !== undefined)) {
    return {
      reason: SERVICE_REASON.mirrorOfMirror,
      message: `it is itself a mirror in cluster ${cluster}; export the original to this cluster instead`,
    };
  }
  if (policy.protectedNamespaces.has(namespace)) {
    return {
      reason: SERVICE_REASON.protectedNamespace,
      message: `no mirror is made in namespace ${namespace} unless the controller's allowNamespaces (--allow-namespaces) has it`,
    };
  }
  if (purpose === MODE.remoteDiscovery && policy.dataPlane === "standalone") {
    return {
      reason: SERVICE_REASON.unsupportedMode,
      message: `it is exported to be called pod to pod (remote-discovery), which only Linkerd's data plane does; label it ${EXPORTED_LABEL}=true to have calls go through the gateway`,
    };
  }
  if (remote.spec?.type === "ExternalName") {
    return invalid(
      "it is of type ExternalName, which no gateway can route to; export a Service with a selector",
    );
  }
  if (remote.spec?.clusterIP === "None" && purpose === "federated") {
    return invalid("it is headless (clusterIP: None), and cannot be a member; give it a cluster IP");
  }
  return examinePorts(remote.spec?.ports ?? []) ?? examineMetadata(remote, exclusions) ?? mirrorable(remote);
}

function examinePorts(all: readonly ServicePort[]): Refusal | undefined {
  const ports = all.filter(isTcp);
  if (ports.length === 0) {
    const others = all.length === 0 ? "no port" : `only ${describePorts(all)}`;
    return invalid(`it has ${others}, and only TCP crosses; give it a TCP port`);
  }
  if (ports.length > MAX_PORTS) {
    return invalid(`it has ${ports.length} TCP ports, more than the ${MAX_PORTS} of an EndpointSlice`);
  }
  return undefined;
}

function examineMetadata(remote: ExportedService, exclusions: Exclusions): Refusal | undefined {
  const bytes = metadataBytes(remote, exclusions);
  if (bytes <= MAX_METADATA_BYTES) return undefined;
  return invalid(
    `its labels and annotations are ${bytes} bytes, more than ${MAX_METADATA_BYTES}; ` +
      "leave the large ones out by excludedAnnotations",
  );
}

function mirrorable(remote: Service): Mirrorable {
  const all = remote.spec?.ports ?? [];
  const ports = all.filter(isTcp);
  const skipped = all.filter((port) => !isTcp(port));
  return skipped.length === 0 ? { ports } : { ports, note: `not mirrored: ${describePorts(skipped)}` };
}

function isTcp({ protocol = "TCP" }: ServicePort): boolean {
  return protocol === "TCP";
}

export function isRefusal(result: object): result is Refusal {
  return "reason" in result;
}

/** What a mirror is made from besides its service and Link. */
export interface MirrorShape {
  ports: readonly ServicePort[];
  mode: Mode;
  /** Its pods are mirrored one by one, and it leads to their mirrors. */
  headless?: boolean;
  /** The egress port of each service port; absent where calls do not go through an egress of its own. */
  egressPorts?: ReadonlyMap<number, number>;
  /** The gateway that it chooses, where that is not the Link's own. */
  gateway?: GatewayReference | undefined;
}

/** The mirror of an exported service: what is to be written when there is none. */
export function desiredService(remote: Service, link: Link, shape: MirrorShape): Service {
  const { namespace = "", name } = remote.metadata;
  const { targetClusterName, targetClusterDomain = "cluster.local" } = link.spec;
  const direct = shape.mode === MODE.remoteDiscovery;
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: {
      namespace,
      name: mirrorName(name, targetClusterName),
      labels: {
        ...copiedLabels(remote.metadata.labels, link.spec),
        ...linkLabels(link),
        ...(direct && { [REMOTE_DISCOVERY_LABEL]: targetClusterName, [REMOTE_SERVICE_LABEL]: name }),
      },
      annotations: {
        ...copiedAnnotations(remote.metadata.annotations, link.spec),
        ...originAnnotations(remote, `${name}.${namespace}.svc.${targetClusterDomain}`),
        ...egressPortsAnnotation(shape.egressPorts),
        ...gatewayAnnotation(shape.gateway),
      },
    },
    spec: {
      type: "ClusterIP",
      ...(shape.headless && { clusterIP: "None" }),
      ports: shape.ports.map(mirroredPort),
    },
  };
}

/** Where a mirror comes from. */
export function originAnnotations(remote: Service, fqName: string): Record<string, string> {
  const { namespace, name, resourceVersion = "" } = remote.metadata;
  return {
    [REMOTE_FQ_NAME_ANNOTATION]: fqName,
    [REMOTE_RESOURCE_VERSION_ANNOTATION]: resourceVersion,
    [REMOTE_SERVICE_ANNOTATION]: `${namespace}/${name}`,
  };
}

export function egressPortsAnnotation(ports?: ReadonlyMap<number, number>): Record<string, string> {
  if (ports === undefined || ports.size === 0) return {};
  return { [EGRESS_PORTS_ANNOTATION]: formatEgressPorts(ports) };
}

export function gatewayAnnotation(gateway?: GatewayReference): Record<string, string> {
  return gateway === undefined ? {} : { [GATEWAY_ANNOTATION]: `${gateway.namespace}/${gateway.name}` };
}

/** The gateway that a mirror's service chose when it was last known. */
export function gatewayOf({ metadata }: Service): GatewayReference | undefined {
  const [namespace, name] = metadata.annotations?.[GATEWAY_ANNOTATION]?.split("/") ?? [];
  return namespace && name ? { namespace, name } : undefined;
}

/**
 * A mirror whose service cannot be known now, as it must be: as it is, on the egress ports that are remembered for it,
 * with a spec that leads nowhere else, and in the name of the Link that it is kept for.
 */
export function keptService(actual: Service, link: Link, egressPorts: ReadonlyMap<number, number>): Service {
  const { namespace, name, labels = {}, annotations = {} } = actual.metadata;
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: {
      ...(namespace === undefined ? {} : { namespace }),
      name,
      labels: { ...labels, ...linkLabels(link) },
      annotations: { ...annotations, ...egressPortsAnnotation(egressPorts) },
    },
    spec: {
      type: "ClusterIP",
      ...(actual.spec?.clusterIP === "None" && { clusterIP: "None" }),
      ports: (actual.spec?.ports ?? []).map(mirroredPort),
    },
  };
}

/** The labels of everything that is made for a Link; by them, and nothing else, an object is ours. */
export function linkLabels(link: Link): Record<string, string> {
  return {
    [MIRRORED_LABEL]: "true",
    [CLUSTER_NAME_LABEL]: link.spec.targetClusterName,
    [MANAGED_BY_LABEL]: MANAGER,
    [LINK_LABEL]: linkLabelValue(link.metadata),
  };
}

export function mirroredPort(port: ServicePort): ServicePort {
  const { name, targetPort, appProtocol } = port;
  return {
    ...(name === undefined ? {} : { name }),
    protocol: "TCP",
    port: port.port,
    ...(targetPort === undefined ? {} : { targetPort }),
    ...(appProtocol === undefined ? {} : { appProtocol }),
  };
}

function invalid(message: string): Refusal {
  return { reason: SERVICE_REASON.invalidService, message };
}

function describePorts(ports: readonly ServicePort[]): string {
  const shown = ports.slice(0, 5).map((port) => `${port.name || port.port} (${port.protocol ?? "TCP"})`);
  return [...shown, ...(ports.length > 5 ? [`${ports.length - 5} more`] : [])].join(", ");
}

function metadataBytes(remote: ExportedService, exclusions: Exclusions): number {
  const copied = [
    ...Object.entries(copiedLabels(remote.metadata.labels, exclusions)),
    ...Object.entries(copiedAnnotations(remote.metadata.annotations, exclusions)),
  ];
  const sizes = copied.map(([key, value]) => Buffer.byteLength(key) + Buffer.byteLength(value));
  // Those that are not even remembered count, unless they would not be copied anyway.
  const left = Object.entries(remote.tooLarge ?? {}).filter(
    ([key]) => !matchesKey(key, exclusions.excludedAnnotations ?? []),
  );
  return [...sizes, ...left.map(([, bytes]) => bytes)].reduce((sum, bytes) => sum + bytes, 0);
}
