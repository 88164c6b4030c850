import {
  endpointHost,
  federatedName,
  type LabelSelector,
  type Link,
  linkLabelValue,
  memberSliceName,
  mirrorName,
  podMirrorName,
  sliceName,
} from "../../../contract/index.ts";
import type {
  EndpointSlice,
  KubeObject,
  Pod,
  Service,
  ServicePort,
} from "../../../controller/kube/objects.ts";
import { ENDPOINT_SLICES, LINKS, NAMESPACES, PODS, SERVICES } from "../../../controller/kube/resource.ts";
import type { FakeObjects } from "../fake-api-objects.ts";
import { type ClusterName, OWN_NAMESPACE, PROTECTED } from "./scene.ts";

/*
 * Who wants what of the source, worked out anew from the objects of all clusters and by nothing of the controller's: only
 * names are shared, by the contract.
 */

/** An exported service of the target of a Link that mirrors. */
export interface Member {
  link: Link;
  cluster: ClusterName;
  remote: Service;
}

/** Somebody wants the Service of a key. */
export type Claim =
  /** `direct`: its pods are called, not its gateway. */
  | (Member & { kind: "service"; direct: boolean })
  | (Member & { kind: "pod"; host: string; ready: boolean })
  | { kind: "federated"; members: Member[]; local: Service | undefined };

/** What a key must be. */
export type Verdict =
  /** A mirror of this. Federated: like `model`. */
  | { kind: "mirror"; claim: Claim; ports: ServicePort[]; model: Service }
  /** Nothing: nobody wants it. */
  | { kind: "unwanted"; mayStand?: false }
  /** Nothing, and why: `claim` cannot have it. What is there may stand where others take it away, or are in its way. */
  | { kind: "refused"; claim: Claim; reason: string; mayStand?: boolean };

export interface Worlds {
  dataPlane: "standalone" | "linkerd";
  /** Whether the controller makes the namespaces that are missing. */
  createsNamespaces: boolean;
  source: FakeObjects;
  targets: Record<ClusterName, FakeObjects>;
  /** Whether an address of a gateway answers probes. */
  isAlive(ip: string): boolean;
  /** What a host name stands for. */
  ipsOf(host: string): string[];
}

/** Links that mirror their target, the oldest first: of several to one target, the oldest that is not going. */
export function activeLinks(source: FakeObjects): Link[] {
  const links = (source.list(LINKS, OWN_NAMESPACE) as Link[]).filter(
    (link) => !link.metadata.deletionTimestamp,
  );
  links.sort((a, b) => {
    const [left, right] = [a, b].map(({ metadata }) => `${metadata.creationTimestamp} ${metadata.name}`) as [
      string,
      string,
    ];
    return left < right ? -1 : 1;
  });
  const seen = new Set<string>();
  return links.filter(({ spec }) => !seen.has(spec.targetClusterName) && seen.add(spec.targetClusterName));
}

/** How a service with these labels is wanted by a Link. */
export function wantedBy({ spec }: Link, labels: Record<string, string> = {}) {
  const {
    selector = { matchLabels: { "mirror.linkerd.io/exported": "true" } },
    remoteDiscoverySelector = { matchLabels: { "mirror.linkerd.io/exported": "remote-discovery" } },
    federatedServiceSelector = { matchLabels: { "mirror.linkerd.io/federated": "member" } },
  } = spec;
  const direct = isSelected(remoteDiscoverySelector, labels);
  return {
    direct,
    gateway: isSelected(selector, labels),
    mirrored: direct || isSelected(selector, labels),
    federated: isSelected(federatedServiceSelector, labels),
  };
}

const known = new WeakMap<Worlds, { stamp: string; all: Map<string, Claim[]> }>();

/** All that are claimed, by the key of the mirror, whoever is first in each first. */
export function claims(worlds: Worlds): ReadonlyMap<string, Claim[]> {
  const stamp = [worlds.source, ...Object.values(worlds.targets)].map(({ version }) => version).join();
  const last = known.get(worlds);
  if (last?.stamp === stamp) return last.all;
  const all = claimsNow(worlds);
  known.set(worlds, { stamp, all });
  return all;
}

function claimsNow(worlds: Worlds): Map<string, Claim[]> {
  const services: [string, Claim][] = [];
  const pods: [string, Claim][] = [];
  const federated = new Map<string, { members: Member[]; local: Service | undefined }>();
  const federation = ({ metadata: { namespace, name } }: Service) => {
    const key = `${namespace}/${federatedName(name)}`;
    const known = federated.get(key) ?? { members: [], local: undefined };
    federated.set(key, known);
    return known;
  };
  for (const link of activeLinks(worlds.source)) {
    const cluster = link.spec.targetClusterName as ClusterName;
    for (const remote of worlds.targets[cluster].list(SERVICES)) {
      const { namespace, name, labels } = remote.metadata;
      const member = { link, cluster, remote };
      const wanted = wantedBy(link, labels);
      if (wanted.mirrored) {
        const claim: Claim = { ...member, kind: "service", direct: wanted.direct };
        services.push([`${namespace}/${mirrorName(name, cluster)}`, claim]);
      }
      if (wanted.mirrored && !wanted.direct && remote.spec?.clusterIP === "None") {
        for (const [key, pod] of podsOf(worlds, member)) pods.push([key, { ...member, kind: "pod", ...pod }]);
      }
      if (wanted.federated) federation(remote).members.push(member);
    }
  }
  for (const local of worlds.source.list(SERVICES)) {
    const { labels = {} } = local.metadata;
    const isMember = labels["mirror.linkerd.io/federated"] === "member";
    if (isMember && !labels["mirror.linkerd.io/mirrored-service"]) federation(local).local = local;
  }
  const all: [string, Claim][] = [
    ...services,
    ...pods,
    ...[...federated].map(([key, each]): [string, Claim] => [key, { kind: "federated", ...each }]),
  ];
  const found = new Map<string, Claim[]>();
  for (const [key, claim] of all) found.set(key, [...(found.get(key) ?? []), claim]);
  return found;
}

/** The pods of a headless service, by the keys of their mirrors. */
export function podsOf(worlds: Worlds, member: Member): Map<string, { host: string; ready: boolean }> {
  const pods = new Map<string, { host: string; ready: boolean }>();
  for (const slice of slicesBehind(worlds, member)) {
    for (const endpoint of slice.endpoints ?? []) {
      // The gateways of Linkerd know pods by their hostnames only.
      const host = worlds.dataPlane === "linkerd" ? endpoint.hostname : endpointHost(endpoint);
      if (!host) continue;
      const key = `${slice.metadata.namespace}/${podMirrorName(host, member.cluster)}`;
      const ready = endpoint.conditions?.ready !== false || pods.get(key)?.ready === true;
      pods.set(key, { host, ready });
    }
  }
  return pods;
}

/** The slices of a service in its target, as far as its Link asks for them. */
export function slicesBehind(worlds: Worlds, { link, cluster, remote }: Member): EndpointSlice[] {
  const { namespace, name } = remote.metadata;
  return worlds.targets[cluster].list(ENDPOINT_SLICES, namespace).filter(({ metadata: { labels = {} } }) => {
    const { gateway, federated } = wantedBy(link, labels);
    return labels["kubernetes.io/service-name"] === name && (gateway || federated);
  });
}

/** Whether it is known that nobody takes the calls to a service. */
export function isEmpty(worlds: Worlds, member: Member): boolean {
  const slices = slicesBehind(worlds, member);
  const ready = slices.some(({ endpoints = [] }) =>
    endpoints.some(({ conditions }) => conditions?.ready !== false),
  );
  return slices.length > 0 && !ready;
}

export function verdictOf(worlds: Worlds, key: string, [claim]: readonly Claim[]): Verdict {
  if (claim === undefined) return { kind: "unwanted" };
  const refuse = (reason: string, mayStand = false): Verdict => ({
    kind: "refused",
    claim,
    reason,
    mayStand,
  });
  const model = modelOf(worlds, claim);
  if (typeof model === "string") return refuse(model);
  const [namespace = "", name = ""] = key.split("/");
  const home = worlds.source.find(NAMESPACES, { name: namespace });
  if (home === undefined || home.metadata.deletionTimestamp) return refuse("MissingNamespace", true);
  const isOfOurs = (object: KubeObject) =>
    claim.kind === "federated" ? isFederated(object) : isOurs(worlds.source, object);
  const service = worlds.source.find(SERVICES, { namespace, name });
  if (service && !isOfOurs(service)) return refuse("NameConflict");
  for (const each of sliceNamesOf(worlds, name, claim)) {
    const slice = worlds.source.find(ENDPOINT_SLICES, { namespace, name: each });
    if (slice && !isOfOurs(slice)) return refuse("NameConflict", true);
  }
  return { kind: "mirror", claim, ports: tcpPorts(model), model };
}

/** What the Service of a claim is like, or why there is none. */
function modelOf(worlds: Worlds, claim: Claim): Service | string {
  if (claim.kind === "federated") {
    const { local } = claim;
    if (local !== undefined && refusalOf(worlds, local, "federated") === undefined) return local;
    return admitted(worlds, claim.members)[0]?.remote ?? "nobody can be a member";
  }
  const direct = claim.kind === "service" && claim.direct;
  return refusalOf(worlds, claim.remote, direct ? "direct" : "gateway") ?? claim.remote;
}

/** Those that can be members. */
export function admitted(worlds: Worlds, members: readonly Member[]): Member[] {
  return members.filter(({ remote }) => refusalOf(worlds, remote, "federated") === undefined);
}

/** Why a service cannot be mirrored, whatever is in the source. */
export function refusalOf(
  worlds: Worlds,
  { metadata: { namespace = "", labels = {} }, spec = {} }: Service,
  purpose: "gateway" | "direct" | "federated",
): string | undefined {
  if (labels["mirror.linkerd.io/mirrored-service"] || labels["isthmus.dev/link"]) return "MirrorOfMirror";
  if (PROTECTED.includes(namespace)) return "ProtectedNamespace";
  if (purpose === "direct" && worlds.dataPlane === "standalone") return "UnsupportedMode";
  if (spec.type === "ExternalName") return "InvalidService";
  if (purpose === "federated" && spec.clusterIP === "None") return "InvalidService";
  return (spec.ports ?? []).some(isTcp) ? undefined : "InvalidService";
}

/** Names of the slices that the Service of a claim must have. */
export function sliceNamesOf(worlds: Worlds, name: string, claim: Claim): string[] {
  if (claim.kind === "service") return claim.direct ? [] : [sliceName(name)];
  if (claim.kind === "pod") return [sliceName(name)];
  if (worlds.dataPlane === "linkerd") return [];
  return [
    ...admitted(worlds, claim.members).map(({ cluster }) => memberSliceName(name, cluster)),
    ...localSlicesOf(worlds, claim.local).map(({ metadata }) => memberSliceName(name, `/${metadata.name}`)),
  ];
}

/** The slices of a member in this cluster. */
export function localSlicesOf(worlds: Worlds, local: Service | undefined): EndpointSlice[] {
  if (local === undefined || refusalOf(worlds, local, "federated") !== undefined) return [];
  const { namespace, name } = local.metadata;
  return worlds.source
    .list(ENDPOINT_SLICES, namespace)
    .filter(
      ({ metadata: { labels = {} } }) =>
        labels["kubernetes.io/service-name"] === name &&
        labels["mirror.linkerd.io/federated"] === "member" &&
        !labels["mirror.linkerd.io/mirrored-service"],
    );
}

/** Whether an object is marked as made for a Link that there is, or for what is federated. */
export function isOurs(source: FakeObjects, object: KubeObject): boolean {
  return ownerOf(source, object) !== undefined || isFederated(object);
}

/** Whether an object is a federated Service that this Isthmus made, or a slice of one. */
export function isFederated({ metadata: { labels = {} } }: KubeObject): boolean {
  return (
    labels["app.kubernetes.io/managed-by"] === "isthmus" &&
    labels["isthmus.dev/federated-by"] === OWN_NAMESPACE
  );
}

/** The Link that an object was made for. */
export function ownerOf(source: FakeObjects, { metadata: { labels = {} } }: KubeObject): Link | undefined {
  if (labels["app.kubernetes.io/managed-by"] !== "isthmus") return undefined;
  const links = source.list(LINKS, OWN_NAMESPACE) as Link[];
  return links.find(({ metadata }) => linkLabelValue(metadata) === labels["isthmus.dev/link"]);
}

/** Addresses of the egress pods that take calls. */
export function podAddresses(source: FakeObjects): string[] {
  return (source.list(PODS, OWN_NAMESPACE) as Pod[])
    .filter((pod) => !pod.metadata.deletionTimestamp && isTrue(pod, "ContainersReady"))
    .flatMap((pod) => pod.status?.podIPs?.map(({ ip }) => ip) ?? []);
}

export function isTrue(pod: Pod, type: string): boolean {
  return (pod.status?.conditions ?? []).some((each) => each.type === type && each.status === "True");
}

/** The slices that belong to a mirror. */
export function slicesOf(
  source: FakeObjects,
  { metadata: { namespace, name } }: KubeObject,
): EndpointSlice[] {
  return source
    .list(ENDPOINT_SLICES, namespace)
    .filter((slice) => slice.metadata.labels?.["kubernetes.io/service-name"] === name);
}

export function tcpPorts({ spec }: Service): ServicePort[] {
  return (spec?.ports ?? []).filter(isTcp);
}

function isTcp({ protocol = "TCP" }: ServicePort): boolean {
  return protocol === "TCP";
}

function isSelected(selector: LabelSelector, labels: Record<string, string>): boolean {
  const { matchLabels = {}, matchExpressions = [] } = selector;
  if (Object.keys(matchLabels).length + matchExpressions.length === 0) return false;
  return (
    Object.entries(matchLabels).every(([key, value]) => labels[key] === value) &&
    matchExpressions.every(({ key, operator, values = [] }) => {
      const value = labels[key];
      if (operator === "Exists") return value !== undefined;
      if (operator === "DoesNotExist") return value === undefined;
      const within = value !== undefined && values.includes(value);
      return operator === "In" ? within : !within;
    })
  );
}
