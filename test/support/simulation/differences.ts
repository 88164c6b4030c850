import {
  federatedName,
  type Link,
  type LinkGatewayStatus,
  mirrorName,
  parseEgressPorts,
} from "../../../contract/index.ts";
import type { Pod, Secret, Service } from "../../../controller/kube/objects.ts";
import { ENDPOINT_SLICES, LINKS, PODS, SECRETS, SERVICES } from "../../../controller/kube/resource.ts";
import { differs, mustBeHeadless, serviceDifferences, sliceDifferences, text } from "./expected.ts";
import { gatewayStatuses, wayTo } from "./gateways.ts";
import {
  activeLinks,
  type Claim,
  claims,
  isOurs,
  isTrue,
  type Member,
  podsOf,
  refusalOf,
  slicesOf,
  verdictOf,
  type Worlds,
  wantedBy,
} from "./model.ts";
import { namespaceDifferences } from "./namespaces.ts";
import { LINKERD_NAMESPACE, OWN_NAMESPACE } from "./scene.ts";

/** All that can be different at rest: mirrors and slices, what should not be, Links that should be gone, statuses. */
export function differences(worlds: Worlds): string[] {
  const { source } = worlds;
  const all = claims(worlds);
  const found: string[] = [];
  const expected = new Set<string>();
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
      ...serviceDifferences(worlds, mirror, verdict),
      ...sliceDifferences(worlds, mirror, slicesOf(source, mirror), verdict),
    ];
    for (const each of wrong) found.push(`mirror ${key}: ${each}`);
    for (const port of egressPortsOf(mirror)) {
      const other = egressPorts.get(port);
      if (other !== undefined) found.push(`mirrors ${key} and ${other} have the same egress port ${port}`);
      egressPorts.set(port, key);
    }
  }
  return [
    ...found,
    ...leftovers(worlds, expected),
    ...namespaceDifferences(worlds),
    ...copyDifferences(worlds),
    ...statusDifferences(worlds, all),
  ];
}

function egressPortsOf({ metadata: { annotations = {} } }: Service): number[] {
  return Object.entries(annotations)
    .filter(([key]) => key === "isthmus.dev/egress-ports" || key.startsWith("egress-ports.isthmus.dev/"))
    .flatMap(([, ports]) => [...parseEgressPorts(ports).values()]);
}

function leftovers(worlds: Worlds, expected: ReadonlySet<string>): string[] {
  const { source } = worlds;
  const found: string[] = [];
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
  return found;
}

/** With Linkerd, its destination controller has a copy of the credentials of each Link that mirrors, and no others. */
function copyDifferences(worlds: Worlds): string[] {
  const found: string[] = [];
  const kubeconfigs = (secrets: Secret[]) =>
    text(
      Object.fromEntries(secrets.map(({ metadata, data = {} }) => [metadata.name, data.kubeconfig ?? ""])),
    );
  const wanted =
    worlds.dataPlane === "standalone"
      ? []
      : activeLinks(worlds.source).flatMap(
          ({ spec }) =>
            worlds.source.find(SECRETS, { namespace: OWN_NAMESPACE, name: spec.clusterCredentialsSecret }) ??
            [],
        );
  // A Link that lost its target to an older one may leave its copy until it goes.
  const names = new Set(wanted.map(({ metadata }) => metadata.name));
  const copies = worlds.source
    .list(SECRETS, LINKERD_NAMESPACE)
    .filter(
      ({ metadata }) =>
        names.has(metadata.name) ||
        !worlds.source
          .list(LINKS)
          .some((link) => (link as Link).spec.clusterCredentialsSecret === metadata.name),
    );
  differs(found, "copies of credentials", kubeconfigs(copies), kubeconfigs(wanted));
  return found;
}

/** How the statuses of Links differ from what is so. */
function statusDifferences(worlds: Worlds, all: ReadonlyMap<string, readonly Claim[]>): string[] {
  const found: string[] = [];
  const active = activeLinks(worlds.source);
  for (const link of worlds.source.list(LINKS) as Link[]) {
    const { name } = link.metadata;
    const reasonOf = (type: string) =>
      `${link.status?.conditions?.find((condition) => condition.type === type)?.reason}`;
    const is = (type: string, reason: string) =>
      differs(found, `Link ${name}: ${type}`, reasonOf(type), reason);
    if (!active.some((each) => each.metadata.name === name)) {
      is("Connected", "DuplicateTarget");
      continue;
    }
    is("Connected", "Connected");
    const gateways = gatewayStatuses(worlds, link);
    differs(
      found,
      `Link ${name}: gateways`,
      JSON.stringify(link.status?.gateways ?? []),
      JSON.stringify(gateways),
    );
    is("GatewayAlive", gatewayReason(link, gateways));
    is("CredentialsFresh", "CredentialsNotRenewable");
    if (worlds.dataPlane === "linkerd") is("CredentialsCopied", "CredentialsCopied");
    const wanted = reasonsOf(worlds, link, all);
    const told = new Map(
      (link.status?.services ?? []).map((each) => [
        `${each.namespace}/${each.name} ${each.mirror}`,
        each.reason,
      ]),
    );
    const [left, right] = [told, wanted].map((each) => text(Object.fromEntries(each))) as [string, string];
    differs(found, `Link ${name}: services`, left, right);
    const reasons = [...wanted.values()];
    const mirrored = reasons.filter((reason) => reason === "Mirrored").length;
    differs(found, `Link ${name}: mirroredServices`, `${link.status?.mirroredServices}`, `${mirrored}`);
    const failed = reasons.some((reason) => reason !== "Mirrored" && reason !== "MirrorOfMirror");
    is("Synced", failed ? "ServicesFailed" : "Synced");
  }
  return found;
}

function gatewayReason({ spec }: Link, gateways: readonly LinkGatewayStatus[]): string {
  if (gateways.length === 0) return "NoGateway";
  if (spec.probe === undefined) return "GatewayNotProbed";
  const isAlive = ({ addresses }: LinkGatewayStatus) => addresses.some(({ alive }) => alive);
  return gateways.every(isAlive) ? "GatewayAlive" : "GatewayDead";
}

/** What a status must say of each service of a Link's target, by the service and its stand-in. */
function reasonsOf(
  worlds: Worlds,
  link: Link,
  all: ReadonlyMap<string, readonly Claim[]>,
): Map<string, string> {
  const wanted = new Map<string, string>();
  const isOf = (claim: Claim, { remote }: Member) => claim.kind !== "federated" && claim.remote === remote;
  const cluster = link.spec.targetClusterName as Member["cluster"];
  for (const remote of worlds.targets[cluster].list(SERVICES)) {
    const { namespace, name, labels } = remote.metadata;
    const member: Member = { link, cluster, remote };
    const { mirrored, federated } = wantedBy(link, labels);
    if (mirrored) {
      const mirror = mirrorName(name, cluster);
      const [first, ...others] = all.get(`${namespace}/${mirror}`) ?? [];
      const verdict = verdictOf(worlds, `${namespace}/${mirror}`, first ? [first, ...others] : []);
      const isFirst = first?.kind === "service" && isOf(first, member);
      let reason = "NameConflict";
      if (isFirst && verdict.kind === "refused") reason = verdict.reason;
      if (isFirst && verdict.kind === "mirror") reason = reasonOfMirror(worlds, first, all);
      wanted.set(`${namespace}/${name} ${mirror}`, reason);
    }
    if (federated) {
      const mirror = federatedName(name);
      const wanting = all.get(`${namespace}/${mirror}`) ?? [];
      const verdict = verdictOf(worlds, `${namespace}/${mirror}`, wanting);
      const reason =
        refusalOf(worlds, remote, "federated") ?? (verdict.kind === "refused" ? verdict.reason : "Mirrored");
      wanted.set(`${namespace}/${name} ${mirror}`, reason);
    }
  }
  return wanted;
}

/** What must be said of a service that has its mirror. */
function reasonOfMirror(
  worlds: Worlds,
  claim: Extract<Claim, { kind: "service" }>,
  all: ReadonlyMap<string, readonly Claim[]>,
): string {
  if (!claim.direct && wayTo(worlds, claim.link, claim.remote).problem) return "GatewayNotFound";
  return hasPodProblems(worlds, claim, all) ? "PodsNotMirrored" : "Mirrored";
}

/** Whether pods of a headless service have no mirror since another has the name. */
function hasPodProblems(worlds: Worlds, claim: Claim, all: ReadonlyMap<string, readonly Claim[]>): boolean {
  if (claim.kind !== "service" || claim.remote.spec?.clusterIP !== "None" || claim.direct) return false;
  const { namespace = "", name } = claim.remote.metadata;
  const actual = worlds.source.find(SERVICES, { namespace, name: mirrorName(name, claim.cluster) });
  if (!mustBeHeadless(worlds, claim, actual)) return false;
  return [...podsOf(worlds, claim)].some(([key, { host }]) => {
    const wanting = all.get(key) ?? [];
    const [first] = wanting;
    if (first?.kind !== "pod" || first.remote !== claim.remote || first.host !== host) return true;
    return verdictOf(worlds, key, wanting).kind === "refused";
  });
}
