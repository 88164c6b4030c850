import {
  CLUSTER_NAME_LABEL,
  federatedName,
  formatEgressPorts,
  type Link,
  type LinkServiceStatus,
  linkLabelValue,
  REMOTE_SERVICE_ANNOTATION,
  SERVICE_REASON,
} from "../../contract/index.ts";
import { isForbidden, isInvalid } from "../kube/errors.ts";
import type { Log } from "../kube/log.ts";
import { type EndpointSlice, keyOf, refOf, type Service } from "../kube/objects.ts";
import type { Claims, FederatedClaim, Member } from "./claims.ts";
import { examine, isRefusal, type Mirrorable, type MirrorPolicy, type Refusal } from "./desired.ts";
import { compareAge } from "./duplicates.ts";
import {
  desiredFederated,
  type KeptMember,
  keptMemberSlice,
  localSlices,
  type Model,
  memberLabels,
  memberSlices,
  namesAnybody,
  type RemoteMember,
} from "./federated.ts";
import type { Backends } from "./gateways/backends.ts";
import type { MirrorObjects } from "./mirror-objects.ts";
import type { MirrorNamespaces } from "./namespaces/namespaces.ts";
import { linkLabelOf } from "./ownership.ts";
import type { EgressPorts } from "./ports.ts";
import { missingNamespace, portsExhausted, refusedByServer } from "./refusals.ts";
import { isMarkedEmpty } from "./slices.ts";
import { BY_TARGET, type SourceCluster } from "./source.ts";

export interface FederatedReconcilerOptions {
  source: SourceCluster;
  claims: Claims;
  backends: Backends;
  ports: EgressPorts;
  policy: MirrorPolicy;
  objects: MirrorObjects;
  /** Makes namespaces that are missing. @default nobody does */
  namespaces?: Pick<MirrorNamespaces, "isClosing" | "want">;
  log: Log;
  /** What became of an exported service. */
  report: (member: Member, outcome: LinkServiceStatus) => void;
}

/** A member that can be one. */
interface Admitted extends RemoteMember {
  member: Member;
  /** What of it is left out, for people. */
  note: string | undefined;
}

/**
 * One federated Service, by its key. All that it has follows, each time, from all members that are known now, so that
 * however many join and leave at once, none is lost.
 */
export class FederatedReconciler {
  readonly #options: FederatedReconcilerOptions;
  /** Labels of the Links whose members had egress ports when last looked at. */
  readonly #labels = new Map<string, ReadonlySet<string>>();
  /** Why members in this cluster cannot be members, by their keys: said once. */
  readonly #localProblems = new Map<string, string>();

  constructor(options: FederatedReconcilerOptions) {
    this.#options = options;
  }

  /** Make it what its members want; with no member left, it goes. */
  async reconcile(
    key: string,
    claim: FederatedClaim | undefined,
    signal: AbortSignal,
  ): Promise<Refusal | undefined> {
    const { source, claims, objects } = this.#options;
    const actual = this.#actual(key);
    for (const { link } of claim?.members ?? []) this.#inheritPorts(key, actual, link);
    // Of a target that is listed only in part, one may be known already.
    const known = new Set(claim?.members.map(({ link }) => keyOf(link)));
    const kept = this.#kept(key, actual).filter(({ link }) => !known.has(keyOf(link)));
    const here = this.#localModel(claim?.local);
    const [local, localProblem] = here && isRefusal(here) ? [undefined, here.message] : [here];
    const admitted = this.#admit(key, claim?.members ?? []);
    const isEmpty = admitted.length === 0 && local === undefined && kept.length === 0;
    // One that names nobody was meddled with: whom it had is known only when all that can be members are.
    if (isEmpty && actual !== undefined && !namesAnybody(actual) && !claims.complete) return undefined;
    const { namespace = "" } = refOf(key);
    this.#releaseOthers(key, actual, [...admitted, ...kept]);
    if (isEmpty) {
      await objects.remove(refOf(key), actual, signal);
      return undefined;
    }
    const { namespaces } = this.#options;
    if (!source.hasNamespace(namespace) || namespaces?.isClosing(namespace)) {
      const [first] = admitted;
      const missing =
        namespaces && first ? namespaces.want(namespace, first.link) : missingNamespace(namespace);
      return missing === undefined ? undefined : this.#tell(admitted, missing);
    }
    const model = local ?? this.#oldest(admitted, kept, actual);
    const name = originalName(actual, admitted, claim?.local);
    const service = desiredFederated(
      { namespace, name },
      {
        isthmus: this.#options.policy.namespace,
        model,
        actual,
        members: admitted,
        kept,
        hasLocal: local !== undefined,
      },
    );
    try {
      const refusal = await objects.ensure(
        {
          service,
          slices: (made, existing) => this.#slices(made, existing, admitted, kept, local && claim?.local),
          governs: (object) => claims.isFederation(object),
        },
        signal,
      );
      if (refusal !== undefined) return this.#tell(admitted, refusal);
    } catch (error) {
      if (!isInvalid(error) && !isForbidden(error)) throw error;
      return this.#tell(admitted, refusedByServer(error));
    }
    const missing = localProblem && `this cluster's own service is no member: ${localProblem}`;
    for (const { member, note } of admitted) {
      const message = [note, missing].filter(Boolean).join("; ");
      this.#report(member, {
        mirrored: true,
        reason: SERVICE_REASON.mirrored,
        ...(message && { message }),
      });
    }
    return undefined;
  }

  /** Whether members of this have egress ports here, even if it is there no longer. */
  remembers(key: string): boolean {
    return this.#labels.has(key);
  }

  /** The name goes to another. */
  refuse(claim: FederatedClaim, refusal: Refusal): void {
    for (const member of claim.members) this.#refuse(member, refusal);
  }

  #actual(key: string): Service | undefined {
    const actual = this.#options.source.services.get(key);
    return actual !== undefined && this.#options.claims.isFederation(actual) ? actual : undefined;
  }

  #kept(key: string, actual: Service | undefined): KeptMember[] {
    if (actual === undefined) return [];
    return [...this.#options.claims.keptMembers(actual)].map(([link, entry]) => {
      this.#inheritPorts(key, actual, link);
      const ports = this.#options.ports.of(memberPortsOwner(key, linkLabelValue(link.metadata)));
      return { link, entry, ...(ports.size > 0 && { egressPorts: formatEgressPorts(ports) }) };
    });
  }

  /** Of several Links to one cluster another may mirror now: the egress ports of its member become that one's. */
  #inheritPorts(key: string, actual: Service | undefined, link: Link): void {
    const { source, ports } = this.#options;
    const own = linkLabelValue(link.metadata);
    const had = memberLabels(actual);
    if (had.has(own)) return;
    for (const other of source.links.by(BY_TARGET, link.spec.targetClusterName)) {
      const label = linkLabelValue(other.metadata);
      if (label === own || !had.has(label)) continue;
      const former = memberPortsOwner(key, label);
      const numbers = ports.of(former);
      ports.release(former);
      ports.claim(memberPortsOwner(key, own), numbers);
    }
  }

  /** The members that can be; the others are told why not. */
  #admit(key: string, members: readonly Member[]): Admitted[] {
    const { policy, ports } = this.#options;
    return members.flatMap((member) => {
      const { link, remote } = member;
      const origin = { cluster: link.spec.targetClusterName, exclusions: link.spec };
      const examined = examine(remote, origin, "federated", policy);
      const owner = memberPortsOwner(key, linkLabelValue(link.metadata));
      if (isRefusal(examined)) {
        ports.release(owner);
        this.#refuse(member, examined);
        return [];
      }
      const { ports: own, note } = examined;
      if (policy.dataPlane === "linkerd") return [{ member, link, ports: own, note }];
      const egressPorts = ports.assign(
        owner,
        own.map(({ port }) => port),
      );
      if (egressPorts === undefined) {
        this.#refuse(member, portsExhausted(ports));
        return [];
      }
      return [{ member, link, ports: own, note, egressPorts }];
    });
  }

  /** What this cluster's member says of the Service, or why it cannot be one, which is logged once. */
  #localModel(local: Service | undefined): Model | Refusal | undefined {
    if (local === undefined) return undefined;
    const { policy, log } = this.#options;
    const examined = examineLocal(local, policy);
    const key = keyOf(local);
    if (isRefusal(examined)) {
      if (this.#localProblems.get(key) !== examined.message) {
        log.warn("a service of this cluster cannot be a member", { service: key, ...examined });
      }
      this.#localProblems.set(key, examined.message);
      return examined;
    }
    this.#localProblems.delete(key);
    return { service: local, ports: examined.ports, exclusions: policy.localExclusions };
  }

  /** The member of the oldest Link says what the Service is like, unless an older one only cannot be asked now. */
  #oldest(
    admitted: readonly Admitted[],
    kept: readonly KeptMember[],
    actual: Service | undefined,
  ): Model | undefined {
    const [first] = admitted;
    const before = kept.some(({ link }) => first === undefined || compareAge(link, first.link) < 0);
    if (first === undefined || (before && actual !== undefined)) return undefined;
    return { service: first.member.remote, ports: first.ports, exclusions: first.link.spec };
  }

  #slices(
    service: Service,
    existing: readonly EndpointSlice[],
    admitted: readonly Admitted[],
    kept: readonly KeptMember[],
    local: Service | undefined,
  ): EndpointSlice[] {
    const { source, backends, policy } = this.#options;
    // Linkerd's proxies ask the members' clusters themselves.
    if (policy.dataPlane === "linkerd") return [];
    // By cluster, since another Link to it may have made them.
    const keptLinks = new Map(kept.map(({ link }) => [link.spec.targetClusterName, link]));
    return [
      ...admitted.flatMap((each) => {
        const { remote, target } = each.member;
        const wasEmpty = () =>
          existing.some((slice) => isMarkedEmpty(slice) && clusterOf(slice) === target.cluster);
        const empty = target.isEmpty(remote, wasEmpty);
        return memberSlices(service, each, { ...backends.of(each.link), empty });
      }),
      ...existing.flatMap((slice) => {
        const link = linkLabelOf(slice) && keptLinks.get(clusterOf(slice) ?? "");
        return link ? [keptMemberSlice(service, slice, link, backends.of(link))] : [];
      }),
      ...(local === undefined ? [] : localSlices(service, source.localSlicesOf(local))),
    ];
  }

  /** Members that have left give their egress ports back. */
  #releaseOthers(key: string, actual: Service | undefined, members: readonly { link: Link }[]): void {
    const had = this.#labels.get(key) ?? memberLabels(actual);
    const labels = new Set(members.map(({ link }) => linkLabelValue(link.metadata)));
    for (const label of had)
      if (!labels.has(label)) this.#options.ports.release(memberPortsOwner(key, label));
    if (labels.size > 0) this.#labels.set(key, labels);
    else this.#labels.delete(key);
  }

  #tell(admitted: readonly Admitted[], refusal: Refusal): Refusal {
    for (const { member } of admitted) this.#refuse(member, refusal);
    return refusal;
  }

  #refuse(member: Member, refusal: Refusal): void {
    this.#report(member, { mirrored: false, ...refusal });
  }

  #report(member: Member, outcome: Pick<LinkServiceStatus, "mirrored" | "reason" | "message">): void {
    const { namespace = "", name } = member.remote.metadata;
    this.#options.report(member, { namespace, name, mirror: federatedName(name), ...outcome });
  }
}

/** Whether a service of this cluster can be a member, and with which ports. */
export function examineLocal(local: Service, policy: MirrorPolicy): Mirrorable | Refusal {
  return examine(local, { cluster: "this one", exclusions: policy.localExclusions }, "federated", policy);
}

/** The cluster whose member a slice leads to. */
function clusterOf({ metadata }: EndpointSlice): string | undefined {
  return metadata.labels?.[CLUSTER_NAME_LABEL];
}

/** Who has the egress ports of a member: the federated Service for one Link. */
export function memberPortsOwner(key: string, linkLabel: string): string {
  return `${key}@${linkLabel}`;
}

/** The Service whose egress ports somebody has: its own, or those of a member. */
export function mirrorOfPorts(owner: string): string {
  return owner.split("@")[0]!;
}

/** The name that the members have: the federated Service's own may be a shortened one. */
function originalName(
  actual: Service | undefined,
  admitted: readonly Admitted[],
  local: Service | undefined,
): string {
  const known = local?.metadata.name ?? admitted[0]?.member.remote.metadata.name;
  if (known !== undefined) return known;
  const [, name = ""] = actual?.metadata.annotations?.[REMOTE_SERVICE_ANNOTATION]?.split("/") ?? [];
  return name;
}
