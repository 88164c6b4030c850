import type { Link } from "../../contract/index.ts";
import { type KubeObject, keyOf, type Service } from "../kube/objects.ts";
import { activeLink, compareAge } from "./duplicates.ts";
import { linkLabelOf } from "./ownership.ts";
import { BY_LINK, BY_TARGET, type SourceCluster } from "./source.ts";
import { BY_MIRROR, type Target } from "./target.ts";

/** An exported service that a Link wants mirrored. */
export interface Claim {
  link: Link;
  target: Target;
  remote: Service;
}

/** All Links with what is known of their targets. */
export class Claims {
  readonly #source: SourceCluster;
  readonly #targets: ReadonlyMap<string, Target>;

  /** @param targets by the key of their Link */
  constructor(source: SourceCluster, targets: ReadonlyMap<string, Target>) {
    this.#source = source;
    this.#targets = targets;
  }

  /**
   * Who wants the mirror of this key (`namespace/name`), the oldest Link first. There can be several: cluster `c` with a
   * service `a-b` and cluster `b-c` with a service `a` both make `a-b-c`. The oldest gets it, whoever came first.
   */
  of(mirror: string): Claim[] {
    const claims: Claim[] = [];
    for (const [key, target] of this.#targets) {
      const services = target.services.by(BY_MIRROR, mirror);
      const link = services.length > 0 ? this.#source.links.get(key) : undefined;
      if (link === undefined || !this.isActive(link)) continue;
      for (const remote of services) claims.push({ link, target, remote });
    }
    return claims.sort((a, b) => compareAge(a.link, b.link) || compareNames(a.remote, b.remote));
  }

  /** Whether a Link is the one that mirrors its target. */
  isActive(link: Link): boolean {
    return this.activeFor(link)?.metadata.name === link.metadata.name;
  }

  /** The Link that mirrors the target of `link`: itself, unless an older one does. */
  activeFor(link: Link): Link | undefined {
    const target = link.spec.targetClusterName;
    return activeLink(target, this.#source.links.by(BY_TARGET, target));
  }

  /** The Link that an object was made for; `undefined` where there is no such Link here. */
  ownerOf(object: KubeObject): Link | undefined {
    const label = linkLabelOf(object);
    if (label === undefined) return undefined;
    return this.#source.links.by(BY_LINK, label)[0];
  }

  /**
   * Whether what was made for a Link, and that nobody wants any more, may go: the Link is being deleted, or the target's
   * exported services are completely known.
   */
  mayDelete(link: Link): boolean {
    if (link.metadata.deletionTimestamp !== undefined) return true;
    const active = this.activeFor(link);
    return active !== undefined && this.targetOf(active)?.listed === true;
  }

  /** Whether the exported services of every target are completely known. */
  get complete(): boolean {
    return this.#source.links.list().every((link) => this.mayDelete(link));
  }

  targetOf(link: Link): Target | undefined {
    return this.#targets.get(keyOf(link));
  }
}

function compareNames(a: Service, b: Service): number {
  return a.metadata.name < b.metadata.name ? -1 : a.metadata.name > b.metadata.name ? 1 : 0;
}
