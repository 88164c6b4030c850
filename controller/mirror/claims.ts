import { endpointHost, type Link, mayBeMirrorOf, podMirrorName } from "../../contract/index.ts";
import { type Endpoint, type KubeObject, keyOf, refOf, type Service } from "../kube/objects.ts";
import type { MirrorPolicy } from "./desired.ts";
import { activeLink, compareAge } from "./duplicates.ts";
import { memberEntries } from "./federated.ts";
import { federatedBy, linkLabelOf } from "./ownership.ts";
import { MODE, type Mode } from "./selector.ts";
import { BY_LINK, BY_TARGET, type SourceCluster } from "./source.ts";
import { BY_FEDERATED, BY_MIRROR, BY_POD, serviceKeyOf, type Target } from "./target/target.ts";
import { type ExportedService, isReady } from "./target/trim.ts";

/** An exported service of a Link's target. */
export interface Member {
  link: Link;
  target: Target;
  remote: ExportedService;
}

/** An exported service wants a mirror. */
export interface ServiceClaim extends Member {
  kind: "service";
  mode: Mode;
}

/** One pod of an exported headless service wants a mirror. */
export interface PodClaim extends Member {
  kind: "pod";
  /** As `endpointHost` names it. */
  host: string;
}

/** Services of one name want to be behind one Service. */
export interface FederatedClaim {
  kind: "federated";
  /** In other clusters, the oldest Link first. */
  members: readonly Member[];
  /** In this cluster. */
  local: Service | undefined;
}

/** A pod of a headless service in the target. */
export interface Pod {
  /** As `endpointHost` names it. */
  host: string;
  ready: boolean;
}

export type Claim = ServiceClaim | PodClaim | FederatedClaim;

/** All Links with what is known of their targets: who wants what. */
export class Claims {
  readonly #source: SourceCluster;
  readonly #targets: ReadonlyMap<string, Target>;
  readonly #isthmus: string;
  readonly #hostOf: (endpoint: Endpoint) => string | undefined;

  /** @param targets by the key of their Link */
  constructor(source: SourceCluster, targets: ReadonlyMap<string, Target>, policy: MirrorPolicy) {
    this.#source = source;
    this.#targets = targets;
    this.#isthmus = policy.namespace;
    this.#hostOf = policy.dataPlane === "linkerd" ? ({ hostname }) => hostname : endpointHost;
  }

  /**
   * Who wants the Service of this key (`namespace/name`); the first gets it. There can be several: cluster `c` with a
   * service `a-b` and cluster `b-c` with a service `a` both make `a-b-c`. Of services the oldest Link's goes first, whoever
   * came first; then pods, then what is federated.
   */
  of(key: string): Claim[] {
    const services: ServiceClaim[] = [];
    const pods: PodClaim[] = [];
    const members: Member[] = [];
    for (const [link, target] of this.#active()) {
      for (const remote of target.services.by(BY_MIRROR, key)) {
        const { mode } = target.wanted(remote);
        if (mode !== undefined) services.push({ kind: "service", link, target, remote, mode });
      }
      pods.push(...this.#podClaims(key, link, target));
      for (const remote of target.services.by(BY_FEDERATED, key)) {
        if (target.wanted(remote).federated) members.push({ link, target, remote });
      }
    }
    const local = this.#source.localMembers.by(BY_FEDERATED, key)[0];
    const federated: FederatedClaim[] =
      members.length === 0 && local === undefined
        ? []
        : [{ kind: "federated", members: members.sort(byAge), local }];
    return [...services.sort(byAge), ...pods.sort(byAge), ...federated];
  }

  /** The pods of a headless service that want mirrors, by the keys of these. One with two addresses is one pod. */
  podsOf({ target, remote }: Member): Map<string, Pod> {
    const pods = new Map<string, Pod>();
    for (const slice of target.slicesOf(remote)) {
      for (const endpoint of slice.endpoints ?? []) {
        const host = this.#hostOf(endpoint);
        if (!host) continue;
        const key = podMirrorKey(slice, host, target);
        pods.set(key, { host, ready: isReady(endpoint) || pods.get(key)?.ready === true });
      }
    }
    return pods;
  }

  /** Whether a Link is the one that mirrors its target. */
  isActive(link: Link): boolean {
    return this.activeFor(link)?.metadata.name === link.metadata.name;
  }

  /** The Link that mirrors the target of `link`: itself, unless an older one does or it is being deleted. */
  activeFor(link: Link): Link | undefined {
    return this.activeForCluster(link.spec.targetClusterName);
  }

  activeForCluster(cluster: string): Link | undefined {
    return activeLink(cluster, this.#source.links.by(BY_TARGET, cluster));
  }

  /** The Link that an object was made for; `undefined` where there is no such Link here. */
  ownerOf(object: KubeObject): Link | undefined {
    const label = linkLabelOf(object);
    if (label === undefined) return undefined;
    return this.#source.links.by(BY_LINK, label)[0];
  }

  /**
   * Whether what was made for a Link, and that nobody wants any more, may go: the target's exported services are completely
   * known, by this Link or by another to the same target; or the Link is being deleted, and there is no other.
   */
  mayDelete(link: Link): boolean {
    const active = this.activeFor(link);
    if (active === undefined) return link.metadata.deletionTimestamp !== undefined;
    return this.targetOf(active)?.listed === true;
  }

  /** Whether an object that we made, and that nobody wants any more under its name, may go. Never what others made. */
  mayRemove(object: KubeObject): boolean {
    const owner = this.ownerOf(object);
    if (owner !== undefined) return this.mayDelete(owner);
    return this.isFederation(object) && this.keptMembers(object).size === 0;
  }

  /** Whether an object may be made into what a Link wants: it was made for it, or for another Link to its target. */
  governs(link: Link, object: KubeObject): boolean {
    const owner = this.ownerOf(object);
    if (owner === undefined || this.isFederation(object)) return false;
    return keyOf(owner) === keyOf(link) || this.activeFor(owner)?.metadata.name === link.metadata.name;
  }

  /** Whether an object is a federated Service of ours, or a slice of one. */
  isFederation(object: KubeObject): boolean {
    return federatedBy(object) === this.#isthmus;
  }

  /** The members that a federated Service names and of whose clusters it is not known whether they still have them. */
  keptMembers(federated: KubeObject): Map<Link, string> {
    const kept = new Map<Link, string>();
    for (const [cluster, entry] of memberEntries(federated)) {
      const link = this.activeForCluster(cluster);
      if (link !== undefined && !this.mayDelete(link)) kept.set(link, entry);
    }
    return kept;
  }

  /** Whether a target of which not everything is known yet may want the mirror of this key. */
  mayBeWanted(key: string): boolean {
    const { name } = refOf(key);
    return this.#source.links
      .list()
      .some((link) => !this.mayDelete(link) && mayBeMirrorOf(link.spec.targetClusterName, name));
  }

  /** Whether the exported services of every target are completely known. */
  get complete(): boolean {
    return this.#source.links.list().every((link) => this.mayDelete(link));
  }

  targetOf(link: Link): Target | undefined {
    return this.#targets.get(keyOf(link));
  }

  #podClaims(key: string, link: Link, target: Target): PodClaim[] {
    // A service that is not listed yet may have the name, and goes before a pod.
    if (!target.listed) return [];
    const claims = new Map<string, PodClaim>();
    for (const slice of target.slices.by(BY_POD, key)) {
      const remote = target.services.get(serviceKeyOf(slice));
      if (remote?.spec?.clusterIP !== "None" || target.wanted(remote).mode !== MODE.gateway) continue;
      for (const endpoint of slice.endpoints ?? []) {
        const host = this.#hostOf(endpoint);
        if (!host || podMirrorKey(slice, host, target) !== key) continue;
        claims.set(`${keyOf(remote)} ${host}`, { kind: "pod", link, target, remote, host });
      }
    }
    return [...claims.values()];
  }

  *#active(): Generator<[Link, Target]> {
    for (const [key, target] of this.#targets) {
      const link = this.#source.links.get(key);
      if (link !== undefined && this.isActive(link)) yield [link, target];
    }
  }
}

function podMirrorKey({ metadata }: KubeObject, host: string, { cluster }: Target): string {
  return `${metadata.namespace}/${podMirrorName(host, cluster)}`;
}

function byAge(a: Member, b: Member): number {
  const [left, right] = [keyOf(a.remote), keyOf(b.remote)];
  return compareAge(a.link, b.link) || (left < right ? -1 : left > right ? 1 : 0);
}
