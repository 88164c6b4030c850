import {
  CLUSTER_NAME_LABEL,
  EGRESS_PORTS_ANNOTATION,
  formatEgressPorts,
  LINK_LABEL,
  type Link,
  linkLabelValue,
  MANAGED_BY_LABEL,
  MANAGER,
  MIRRORED_LABEL,
  mirrorName,
  REMOTE_FQ_NAME_ANNOTATION,
  REMOTE_RESOURCE_VERSION_ANNOTATION,
  REMOTE_SERVICE_ANNOTATION,
  SERVICE_REASON,
} from "../../contract/index.ts";
import type { Service, ServicePort } from "../kube/objects.ts";
import { copiedAnnotations, copiedLabels } from "./metadata.ts";

/** Who carries the calls of this cluster to others: our own egress, or Linkerd's proxies straight to the gateway. */
export const DATA_PLANES = ["standalone", "linkerd"] as const;
export type DataPlane = (typeof DATA_PLANES)[number];

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

/** Whether an exported service can have a mirror, and with which ports. */
export function examine(remote: Service, link: Link, policy: MirrorPolicy): Mirrorable | Refusal {
  const { namespace = "", labels = {} } = remote.metadata;
  const cluster = link.spec.targetClusterName;
  if (labels[MIRRORED_LABEL] !== undefined || labels[LINK_LABEL] !== undefined) {
    return {
      reason: SERVICE_REASON.mirrorOfMirror,
      message: `it is itself a mirror in cluster ${cluster}; export the original to this cluster instead`,
    };
  }
  if (policy.protectedNamespaces.has(namespace)) {
    return {
      reason: SERVICE_REASON.protectedNamespace,
      message: `no mirror is made in namespace ${namespace} unless the controller runs with --allow-namespaces ${namespace}`,
    };
  }
  if (remote.spec?.type === "ExternalName") {
    return invalid(
      "it is of type ExternalName, which no gateway can route to; export a Service with a selector",
    );
  }
  if (remote.spec?.clusterIP === "None" && policy.dataPlane === "standalone") {
    return invalid(
      "it is headless (clusterIP: None), and the gateway routes to cluster IPs; export one that has one",
    );
  }
  const all = remote.spec?.ports ?? [];
  const ports = all.filter((port) => (port.protocol ?? "TCP") === "TCP");
  if (ports.length === 0) {
    const others = all.length === 0 ? "no port" : `only ${describePorts(all)}`;
    return invalid(`it has ${others}, and only TCP crosses; give it a TCP port`);
  }
  if (ports.length > MAX_PORTS) {
    return invalid(`it has ${ports.length} TCP ports, more than the ${MAX_PORTS} of an EndpointSlice`);
  }
  const bytes = metadataBytes(remote, link);
  if (bytes > MAX_METADATA_BYTES) {
    return invalid(
      `its labels and annotations are ${bytes} bytes, more than ${MAX_METADATA_BYTES}; ` +
        "leave the large ones out by the Link's excludedAnnotations",
    );
  }
  const skipped = all.filter((port) => (port.protocol ?? "TCP") !== "TCP");
  return skipped.length === 0 ? { ports } : { ports, note: `not mirrored: ${describePorts(skipped)}` };
}

export function isRefusal(result: object): result is Refusal {
  return "reason" in result;
}

/**
 * The mirror of an exported service: what is to be written when there is none.
 *
 * @param ports what `examine` found
 * @param egressPorts the egress port of each service port; absent where calls do not go through an egress
 */
export function desiredService(
  remote: Service,
  link: Link,
  ports: readonly ServicePort[],
  egressPorts?: ReadonlyMap<number, number>,
): Service {
  const { namespace = "", name, resourceVersion = "" } = remote.metadata;
  const { targetClusterName, targetClusterDomain = "cluster.local" } = link.spec;
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: {
      namespace,
      name: mirrorName(name, targetClusterName),
      labels: { ...copiedLabels(remote.metadata.labels, link.spec), ...linkLabels(link) },
      annotations: {
        ...copiedAnnotations(remote.metadata.annotations, link.spec),
        [REMOTE_FQ_NAME_ANNOTATION]: `${name}.${namespace}.svc.${targetClusterDomain}`,
        [REMOTE_RESOURCE_VERSION_ANNOTATION]: resourceVersion,
        [REMOTE_SERVICE_ANNOTATION]: `${namespace}/${name}`,
        ...(egressPorts === undefined ? {} : { [EGRESS_PORTS_ANNOTATION]: formatEgressPorts(egressPorts) }),
      },
    },
    spec: { type: "ClusterIP", ports: ports.map(mirroredPort) },
  };
}

/**
 * A mirror whose service cannot be known now, as it must be: as it is, on the egress ports that are remembered for it, and
 * with a spec that leads nowhere else.
 */
export function keptService(actual: Service, egressPorts: ReadonlyMap<number, number>): Service {
  const { namespace, name, labels = {}, annotations = {} } = actual.metadata;
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: {
      ...(namespace === undefined ? {} : { namespace }),
      name,
      labels,
      annotations: {
        ...annotations,
        ...(egressPorts.size === 0 ? {} : { [EGRESS_PORTS_ANNOTATION]: formatEgressPorts(egressPorts) }),
      },
    },
    spec: { type: "ClusterIP", ports: (actual.spec?.ports ?? []).map(mirroredPort) },
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

function mirroredPort(port: ServicePort): ServicePort {
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

function metadataBytes(remote: Service, link: Link): number {
  const copied = [
    ...Object.entries(copiedLabels(remote.metadata.labels, link.spec)),
    ...Object.entries(copiedAnnotations(remote.metadata.annotations, link.spec)),
  ];
  return copied.reduce((sum, [key, value]) => sum + Buffer.byteLength(key) + Buffer.byteLength(value), 0);
}
