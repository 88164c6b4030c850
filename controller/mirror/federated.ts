import {
  CLUSTER_NAME_LABEL,
  EGRESS_PORTS_ANNOTATION,
  FEDERATED_BY_LABEL,
  federatedName,
  formatEgressPorts,
  LINK_LABEL,
  type Link,
  LOCAL_DISCOVERY_ANNOTATION,
  linkLabelValue,
  MANAGED_BY_LABEL,
  MANAGER,
  MEMBER_PORTS_PREFIX,
  MIRRORED_LABEL,
  memberSliceName,
  REMOTE_DISCOVERY_ANNOTATION,
  REMOTE_ENDPOINTS_ANNOTATION,
  REMOTE_SERVICE_ANNOTATION,
} from "../../contract/index.ts";
import type { EndpointPort, EndpointSlice, KubeObject, Service, ServicePort } from "../kube/objects.ts";
import { mirroredPort } from "./desired.ts";
import { copiedAnnotations, copiedLabels, type Exclusions } from "./metadata.ts";
import {
  type Backend,
  backendEndpoints,
  byFamily,
  isMarkedEmpty,
  slicedFamilies,
  sliceFrame,
} from "./slices.ts";

/** A member of a federated service in another cluster. */
export interface RemoteMember {
  link: Link;
  /** Ports of its Service. */
  ports: readonly ServicePort[];
  /** Egress ports by port of its Service; absent where no egress carries the calls. */
  egressPorts?: ReadonlyMap<number, number>;
}

/** Whose metadata and ports a federated Service has: that of this cluster, else the oldest Link's. */
export interface Model {
  service: Service;
  ports: readonly ServicePort[];
  exclusions: Exclusions;
}

/** What a federated Service already has of members that cannot be asked now. */
export interface KeptMember {
  link: Link;
  /** As the annotation names it: `<service>@<cluster>`. */
  entry: string;
  /** As the annotation gives them; absent where there are none. */
  egressPorts?: string;
}

export interface FederatedInput {
  /** The namespace of this Isthmus. */
  isthmus: string;
  /** Absent: what the Service has stays, since a member that goes before all that are known cannot be asked now. */
  model: Model | undefined;
  actual: Service | undefined;
  members: readonly RemoteMember[];
  kept: readonly KeptMember[];
  hasLocal: boolean;
}

/** The federated Service of a name. There must be a model or an actual one. */
export function desiredFederated(of: { namespace: string; name: string }, input: FederatedInput): Service {
  const { isthmus, model, actual, members, kept, hasLocal } = input;
  const { namespace, name } = of;
  const entries = [
    ...members.map(({ link }) => ({ link, entry: memberEntry(name, link), ports: portsOf(link, members) })),
    ...kept.map(({ link, entry, egressPorts }) => ({
      ...{ link, entry },
      // Outside the range those that its slice still names: nobody else is to get them should they be in it again.
      ports: egressPorts ?? actual?.metadata.annotations?.[memberPortsKey(link)],
    })),
  ].sort((a, b) => (a.entry < b.entry ? -1 : 1));
  const labels = model
    ? copiedLabels(model.service.metadata.labels, model.exclusions)
    : (actual?.metadata.labels ?? {});
  const annotations = model
    ? copiedAnnotations(model.service.metadata.annotations, model.exclusions)
    : withoutMembers(actual?.metadata.annotations ?? {});
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: {
      namespace,
      name: federatedName(name),
      labels: {
        ...labels,
        [MIRRORED_LABEL]: "true",
        [MANAGED_BY_LABEL]: MANAGER,
        [FEDERATED_BY_LABEL]: isthmus,
      },
      annotations: {
        ...annotations,
        [REMOTE_SERVICE_ANNOTATION]: `${namespace}/${name}`,
        ...(entries.length > 0 && {
          [REMOTE_DISCOVERY_ANNOTATION]: entries.map(({ entry }) => entry).join(","),
        }),
        ...(hasLocal && { [LOCAL_DISCOVERY_ANNOTATION]: name }),
        ...Object.fromEntries(
          entries.flatMap(({ link, ports }) => (ports ? [[memberPortsKey(link), ports]] : [])),
        ),
      },
    },
    spec: { type: "ClusterIP", ports: (model?.ports ?? actual?.spec?.ports ?? []).map(mirroredPort) },
  };
}

/** How the annotation of a federated Service names a member: `<service>@<cluster>`. */
export function memberEntry(service: string, link: Link): string {
  return `${service}@${link.spec.targetClusterName}`;
}

/** The members that the annotation of a federated Service names, by cluster. */
export function memberEntries(federated: KubeObject): Map<string, string> {
  const text = federated.metadata.annotations?.[REMOTE_DISCOVERY_ANNOTATION] ?? "";
  const entries = text.split(",").filter((entry) => entry.includes("@"));
  return new Map(entries.map((entry) => [entry.slice(entry.lastIndexOf("@") + 1), entry]));
}

/** Whether a federated Service names any member, here or elsewhere. */
export function namesAnybody(federated: KubeObject): boolean {
  const here = federated.metadata.annotations?.[LOCAL_DISCOVERY_ANNOTATION];
  return here !== undefined || memberEntries(federated).size > 0;
}

/** The annotation of a federated Service with the egress ports of one member. */
export function memberPortsKey(link: Link): string {
  return `${MEMBER_PORTS_PREFIX}${linkLabelValue(link.metadata)}`;
}

/** Labels of the Links for which a federated Service names egress ports. */
export function memberLabels(federated: KubeObject | undefined): Set<string> {
  const keys = Object.keys(federated?.metadata.annotations ?? {});
  const ours = keys.filter((key) => key.startsWith(MEMBER_PORTS_PREFIX));
  return new Set(ours.map((key) => key.slice(MEMBER_PORTS_PREFIX.length)));
}

/** The slices that lead to a member in another cluster, one an address family. */
export function memberSlices(federated: Service, member: RemoteMember, backend: Backend): EndpointSlice[] {
  const cluster = member.link.spec.targetClusterName;
  return slicedFamilies(backend).map(([family, addresses]) => {
    const frame = sliceFrame(federated, memberSliceName(federated.metadata.name, cluster, family), family);
    return {
      ...frame,
      metadata: {
        ...frame.metadata,
        labels: {
          ...frame.metadata.labels,
          [CLUSTER_NAME_LABEL]: cluster,
          [LINK_LABEL]: linkLabelValue(member.link.metadata),
        },
        annotations: {
          ...frame.metadata.annotations,
          ...(backend.empty && { [REMOTE_ENDPOINTS_ANNOTATION]: "none" }),
        },
      },
      endpoints: backendEndpoints(addresses, backend.empty ?? false),
      ports: memberPorts(federated, member),
    };
  });
}

/** A slice to a member that cannot be asked now: it follows what carries the calls, and stays as it is in all else. */
export function keptMemberSlice(
  federated: Service,
  actual: EndpointSlice,
  link: Link,
  backend: Backend,
): EndpointSlice {
  const family = actual.addressType === "IPv6" ? "IPv6" : "IPv4";
  const frame = sliceFrame(federated, actual.metadata.name, family);
  const { labels = {}, annotations = {} } = actual.metadata;
  return {
    ...frame,
    metadata: {
      ...frame.metadata,
      labels: { ...labels, ...frame.metadata.labels, [LINK_LABEL]: linkLabelValue(link.metadata) },
      annotations,
    },
    endpoints: backendEndpoints(byFamily(backend.addresses)[family], isMarkedEmpty(actual)),
    ports: actual.ports ?? [],
  };
}

/** The slices that lead to the member in this cluster: what Kubernetes' own say, for the ports that both have. */
export function localSlices(federated: Service, own: readonly EndpointSlice[]): EndpointSlice[] {
  return own
    .filter(({ addressType }) => addressType !== "FQDN")
    .map((slice) => {
      const family = slice.addressType === "IPv6" ? "IPv6" : "IPv4";
      const name = memberSliceName(federated.metadata.name, `/${slice.metadata.name}`, family);
      const names = new Set((federated.spec?.ports ?? []).map((port) => port.name ?? ""));
      const ports = (slice.ports ?? []).filter((port) => names.has(port.name ?? ""));
      return {
        ...sliceFrame(federated, name, family),
        endpoints: (slice.endpoints ?? []).map(({ addresses, conditions, nodeName, zone }) => ({
          addresses,
          ...(conditions && { conditions }),
          ...(nodeName && { nodeName }),
          ...(zone && { zone }),
        })),
        ports,
      };
    });
}

function portsOf(link: Link, members: readonly RemoteMember[]): string | undefined {
  const egressPorts = members.find((member) => member.link === link)?.egressPorts;
  return egressPorts === undefined ? undefined : formatEgressPorts(egressPorts);
}

/** For each port of the federated Service the member's port of that name, or where there are no names, of that number. */
function memberPorts(federated: Service, { ports, egressPorts }: RemoteMember): EndpointPort[] {
  return (federated.spec?.ports ?? []).flatMap(({ name = "", port, appProtocol }) => {
    const own = ports.find((each) => (name === "" || !each.name ? each.port === port : each.name === name));
    const number = own === undefined ? undefined : egressPorts?.get(own.port);
    if (number === undefined) return [];
    return [{ name, protocol: "TCP", port: number, ...(appProtocol === undefined ? {} : { appProtocol }) }];
  });
}

function withoutMembers(annotations: Readonly<Record<string, string>>): Record<string, string> {
  const ours = [REMOTE_DISCOVERY_ANNOTATION, LOCAL_DISCOVERY_ANNOTATION, EGRESS_PORTS_ANNOTATION];
  return Object.fromEntries(
    Object.entries(annotations).filter(
      ([key]) => !ours.includes(key) && !key.startsWith(MEMBER_PORTS_PREFIX),
    ),
  );
}
