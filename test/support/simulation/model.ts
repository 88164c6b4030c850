import {
  type LabelSelector,
  type Link,
  linkLabelValue,
  mirrorName,
  parseEgressPorts,
  sliceName,
} from "../../../contract/index.ts";
import type { EndpointSlice, Pod, Service, ServicePort } from "../../../controller/kube/objects.ts";
import { ENDPOINT_SLICES, LINKS, NAMESPACES, PODS, SERVICES } from "../../../controller/kube/resource.ts";
import type { FakeObjects } from "../fake-api-objects.ts";
import { ANNOTATIONS, type ClusterName, LABELS, OWN_NAMESPACE, PROTECTED } from "./scene.ts";

/*
 * What the source must be, worked out anew from the objects of all clusters and by nothing of the controller's: only names
 * are shared, by the contract.
 */

/** Somebody wants a mirror of a key. */
export interface Claim {
  link: Link;
  cluster: ClusterName;
  remote: Service;
}

/** What a key must be. */
export type Verdict =
  /** A mirror of this. */
  | { kind: "mirror"; claim: Claim; ports: ServicePort[] }
  /** Nothing: nobody wants it. */
  | { kind: "unwanted"; mayStand?: false }
  /** Nothing, and why: `claim` cannot have it. What is there may stand where others take it away, or are in its way. */
  | { kind: "refused"; claim: Claim; reason: string; mayStand?: boolean };

export interface Worlds {
  source: FakeObjects;
  targets: Record<ClusterName, FakeObjects>;
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

/** All that are claimed, by the key of the mirror, whoever is first in each first. */
export function claims(worlds: Worlds): Map<string, Claim[]> {
  const found = new Map<string, Claim[]>();
  for (const link of activeLinks(worlds.source)) {
    const cluster = link.spec.targetClusterName as ClusterName;
    for (const remote of worlds.targets[cluster].list(SERVICES)) {
      if (!isSelected(link.spec.selector, remote.metadata.labels ?? {})) continue;
      const key = `${remote.metadata.namespace}/${mirrorName(remote.metadata.name, cluster)}`;
      const claim = { link, cluster, remote };
      const others = found.get(key);
      if (others) others.push(claim);
      else found.set(key, [claim]);
    }
  }
  return found;
}

export function verdictOf(worlds: Worlds, key: string, [claim]: readonly Claim[]): Verdict {
  if (claim === undefined) return { kind: "unwanted" };
  const refuse = (reason: string, mayStand = false): Verdict => ({
    kind: "refused",
    claim,
    reason,
    mayStand,
  });
  const { remote } = claim;
  const { namespace = "", labels = {} } = remote.metadata;
  if (labels["mirror.linkerd.io/mirrored-service"] || labels["isthmus.dev/link"])
    return refuse("MirrorOfMirror");
  if (PROTECTED.includes(namespace)) return refuse("ProtectedNamespace");
  const ports = (remote.spec?.ports ?? []).filter(({ protocol }) => (protocol ?? "TCP") === "TCP");
  const { type, clusterIP } = remote.spec ?? {};
  if (type === "ExternalName" || clusterIP === "None" || ports.length === 0) return refuse("InvalidService");
  const home = worlds.source.find(NAMESPACES, { name: namespace });
  if (home === undefined || home.metadata.deletionTimestamp) return refuse("MissingNamespace", true);
  const [, name = ""] = key.split("/");
  const service = worlds.source.find(SERVICES, { namespace, name });
  if (service && !isOurs(worlds.source, service)) return refuse("NameConflict");
  const slice = worlds.source.find(ENDPOINT_SLICES, { namespace, name: sliceName(name) });
  if (slice && !isOurs(worlds.source, slice)) return refuse("NameConflict", true);
  return { kind: "mirror", claim, ports };
}

/** Whether an object is marked as made for a Link that there is. */
export function isOurs(source: FakeObjects, object: { metadata: Service["metadata"] }): boolean {
  return ownerOf(source, object) !== undefined;
}

/** The Link that an object was made for. */
export function ownerOf(
  source: FakeObjects,
  { metadata: { labels = {} } }: { metadata: Service["metadata"] },
) {
  if (labels["app.kubernetes.io/managed-by"] !== "isthmus") return undefined;
  const links = source.list(LINKS, OWN_NAMESPACE) as Link[];
  return links.find(({ metadata }) => linkLabelValue(metadata) === labels["isthmus.dev/link"]);
}

/** How a mirror's Service differs from what it must be, in words. */
export function serviceDifferences(mirror: Service, claim: Claim, ports: readonly ServicePort[]): string[] {
  const { link, remote, cluster } = claim;
  const found: string[] = [];
  const { labels = {}, annotations = {} } = mirror.metadata;
  const wantedLabels: Record<string, string> = {
    ...copied(remote.metadata.labels, LABELS, link.spec.excludedLabels),
    "mirror.linkerd.io/mirrored-service": "true",
    "mirror.linkerd.io/cluster-name": cluster,
    "app.kubernetes.io/managed-by": "isthmus",
    "isthmus.dev/link": linkLabelValue(link.metadata),
  };
  const { namespace, name, resourceVersion = "" } = remote.metadata;
  const wantedAnnotations: Record<string, string> = {
    ...copied(remote.metadata.annotations, ANNOTATIONS, link.spec.excludedAnnotations),
    "mirror.linkerd.io/remote-svc-fq-name": `${name}.${namespace}.svc.cluster.local`,
    "mirror.linkerd.io/remote-resource-version": resourceVersion,
    "isthmus.dev/remote-service": `${namespace}/${name}`,
  };
  const { "isthmus.dev/egress-ports": egress, ...others } = annotations;
  differs(found, "labels", text(labels), text(wantedLabels));
  differs(found, "annotations", text(others), text(wantedAnnotations));
  const spec = mirror.spec ?? {};
  differs(found, "type", spec.type ?? "ClusterIP", "ClusterIP");
  differs(found, "selector", text(spec.selector), "{}");
  if (spec.clusterIP === "None") found.push("it is headless");
  differs(found, "ports", describe(spec.ports), describe(ports));
  const numbers = parseEgressPorts(egress);
  differs(
    found,
    "ports with an egress port",
    [...numbers.keys()].join(),
    unique(ports.map(({ port }) => port)).join(),
  );
  for (const number of numbers.values()) {
    if (number < 20_000 || number > 28_191) found.push(`egress port ${number} is out of the range`);
  }
  return found;
}

/** How a mirror's slices differ from what they must be. `pods` are the addresses that take calls. */
export function sliceDifferences(
  mirror: Service,
  slices: readonly EndpointSlice[],
  link: Link,
  pods: readonly string[],
): string[] {
  const found: string[] = [];
  const { name, uid, labels = {}, annotations = {} } = mirror.metadata;
  const [slice, ...more] = slices.filter(({ metadata }) => metadata.name === sliceName(name));
  const strays = slices.filter((each) => each !== slice);
  if (strays.length + more.length > 0) {
    found.push(`there are other slices: ${strays.map(({ metadata }) => metadata.name).join(", ")}`);
  }
  if (slice === undefined) return [...found, "there is no slice"];
  differs(
    found,
    "slice's labels",
    text(slice.metadata.labels),
    text({
      ...labels,
      "kubernetes.io/service-name": name,
      "endpointslice.kubernetes.io/managed-by": "isthmus.dev",
    }),
  );
  differs(
    found,
    "slice's annotations",
    text(slice.metadata.annotations),
    text({
      "mirror.linkerd.io/remote-svc-fq-name": annotations["mirror.linkerd.io/remote-svc-fq-name"] ?? "",
    }),
  );
  differs(
    found,
    "slice's owners",
    (slice.metadata.ownerReferences ?? []).map((owner) => owner.uid).join(),
    uid ?? "",
  );
  const addresses = (slice.endpoints ?? [])
    .map(
      (endpoint) =>
        `${endpoint.addresses.join("+")}${endpoint.conditions?.ready === false ? " not ready" : ""}`,
    )
    .sort();
  const reached = (link.spec.gatewayAddresses ?? []).length > 0;
  differs(found, "slice's addresses", addresses.join(), (reached ? [...pods].sort() : []).join());
  const egress = parseEgressPorts(annotations["isthmus.dev/egress-ports"]);
  differs(
    found,
    "slice's ports",
    (slice.ports ?? [])
      .map((port) => `${port.name ?? ""} ${port.protocol} ${port.port}`)
      .sort()
      .join(),
    (mirror.spec?.ports ?? [])
      .map((port) => `${port.name ?? ""} TCP ${egress.get(port.port)}`)
      .sort()
      .join(),
  );
  return found;
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

/** The slices that belong to a mirror, by label or by owner. */
export function slicesOf(
  source: FakeObjects,
  { metadata }: { metadata: Service["metadata"] },
): EndpointSlice[] {
  const { namespace, name } = metadata;
  return source
    .list(ENDPOINT_SLICES, namespace)
    .filter((slice) => slice.metadata.labels?.["kubernetes.io/service-name"] === name);
}

/** All that can be different at rest: mirrors and slices, what should not be, Links that should be gone. */
export function differences(worlds: Worlds): string[] {
  const { source } = worlds;
  const found: string[] = [];
  const all = claims(worlds);
  const expected = new Set<string>();
  const pods = podAddresses(source);
  const egressPorts = new Map<number, string>();
  for (const [key, wanting] of all) {
    const verdict = verdictOf(worlds, key, wanting);
    if (verdict.kind === "mirror" || verdict.mayStand) expected.add(key);
    if (verdict.kind !== "mirror") continue;
    const [namespace = "", name = ""] = key.split("/");
    const mirror = source.find(SERVICES, { namespace, name });
    if (mirror === undefined) {
      found.push(`mirror ${key} is missing`);
      continue;
    }
    const wrong = [
      ...serviceDifferences(mirror, verdict.claim, verdict.ports),
      ...sliceDifferences(mirror, slicesOf(source, mirror), verdict.claim.link, pods),
    ];
    for (const each of wrong) found.push(`mirror ${key}: ${each}`);
    for (const port of parseEgressPorts(mirror.metadata.annotations?.["isthmus.dev/egress-ports"]).values()) {
      const other = egressPorts.get(port);
      if (other !== undefined) found.push(`mirrors ${key} and ${other} have the same egress port ${port}`);
      egressPorts.set(port, key);
    }
  }
  for (const each of [...source.list(SERVICES), ...source.list(ENDPOINT_SLICES)]) {
    const { namespace, name, labels } = each.metadata;
    const mirror = each.kind === "Service" ? name : (labels?.["kubernetes.io/service-name"] ?? "");
    if (labels?.["isthmus.dev/link"]?.startsWith(`${OWN_NAMESPACE}.`) && !isOurs(source, each)) {
      found.push(`${each.kind} ${namespace}/${name} is left of a Link that is gone`);
    }
    if (isOurs(source, each) && !expected.has(`${namespace}/${mirror}`)) {
      found.push(`${each.kind} ${namespace}/${name} should not be there`);
    }
  }
  for (const link of source.list(LINKS)) {
    if (link.metadata.deletionTimestamp) found.push(`Link ${link.metadata.name} should be gone`);
  }
  for (const pod of source.list(PODS, OWN_NAMESPACE) as Pod[]) {
    const waits = isTrue(pod, "ContainersReady") && !pod.metadata.deletionTimestamp;
    if (waits && !isTrue(pod, "isthmus.dev/in-slices"))
      found.push(`pod ${pod.metadata.name} waits at its gate`);
  }
  return [...found, ...statusDifferences(worlds, all)];
}

/** How the statuses of Links differ from what is so. */
function statusDifferences(worlds: Worlds, all: ReadonlyMap<string, readonly Claim[]>): string[] {
  const found: string[] = [];
  const active = activeLinks(worlds.source);
  for (const link of worlds.source.list(LINKS) as Link[]) {
    const { name } = link.metadata;
    const condition = (type: string) => link.status?.conditions?.find((each) => each.type === type);
    if (!active.some((each) => each.metadata.name === name)) {
      differs(found, `Link ${name}: Connected`, `${condition("Connected")?.reason}`, "DuplicateTarget");
      continue;
    }
    differs(found, `Link ${name}: Connected`, `${condition("Connected")?.reason}`, "Connected");
    const wanted = new Map<string, string>();
    for (const [key, wanting] of all) {
      const verdict = verdictOf(worlds, key, wanting);
      for (const [index, claim] of wanting.entries()) {
        if (claim.link.metadata.name !== name) continue;
        const reason = index > 0 ? "NameConflict" : verdict.kind === "refused" ? verdict.reason : "Mirrored";
        wanted.set(`${claim.remote.metadata.namespace}/${claim.remote.metadata.name}`, reason);
      }
    }
    const told = new Map(
      (link.status?.services ?? []).map((each) => [`${each.namespace}/${each.name}`, each.reason]),
    );
    differs(
      found,
      `Link ${name}: services`,
      text(Object.fromEntries(told)),
      text(Object.fromEntries(wanted)),
    );
    const mirrored = [...wanted.values()].filter((reason) => reason === "Mirrored").length;
    differs(found, `Link ${name}: mirroredServices`, `${link.status?.mirroredServices}`, `${mirrored}`);
  }
  return found;
}

export function isSelected(selector: LabelSelector | undefined, labels: Record<string, string>): boolean {
  const { matchLabels = {}, matchExpressions = [] } = selector ?? {
    matchLabels: { "mirror.linkerd.io/exported": "true" },
  };
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

function copied(
  from: Record<string, string> | undefined,
  rules: Record<string, string>,
  excluded: readonly string[] = [],
): Record<string, string> {
  return Object.fromEntries(
    Object.entries(from ?? {}).filter(([key]) => {
      if (rules[key] === "always") return true;
      if (rules[key] === "dropped") return false;
      if (rules[key] !== "copied") throw new Error(`the scene does not say whether ${key} is copied`);
      return !excluded.some((pattern) =>
        pattern.endsWith("/*") ? key.startsWith(pattern.slice(0, -1)) : key === pattern,
      );
    }),
  );
}

function differs(found: string[], what: string, actual: string, wanted: string): void {
  if (actual !== wanted) found.push(`${what} are ${actual || "none"}, not ${wanted || "none"}`);
}

function text(record: Record<string, string> | undefined): string {
  return JSON.stringify(
    Object.fromEntries(Object.entries(record ?? {}).sort(([a], [b]) => (a < b ? -1 : 1))),
  );
}

function describe(ports: readonly ServicePort[] | undefined): string {
  return (ports ?? [])
    .map(({ name = "", protocol = "TCP", port, targetPort, appProtocol = "" }) =>
      [name, protocol, port, targetPort ?? port, appProtocol].join("/"),
    )
    .join(" ");
}

function unique(numbers: readonly number[]): number[] {
  return [...new Set(numbers)].sort((a, b) => a - b);
}
