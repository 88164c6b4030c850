import { type Link, type LinkServiceStatus, mirrorName, SERVICE_REASON } from "../../contract/index.ts";
import { isForbidden, isInvalid, type KubeError } from "../kube/errors.ts";
import { keyOf, refOf, type Service } from "../kube/objects.ts";
import type { ReconcileResult } from "../kube/queue.ts";
import type { Backends } from "./backends.ts";
import type { Claim, Claims } from "./claims.ts";
import {
  desiredService,
  examine,
  isRefusal,
  keptService,
  type Mirrorable,
  type MirrorPolicy,
  type Refusal,
} from "./desired.ts";
import type { MirrorObjects } from "./mirror-objects.ts";
import type { EgressPorts } from "./ports.ts";
import type { SourceCluster } from "./source.ts";

/** How often an obstacle is looked at again that no watch tells us about. */
const RECHECK_MS = 30_000;

export interface MirrorReconcilerOptions {
  source: SourceCluster;
  claims: Claims;
  backends: Backends;
  ports: EgressPorts;
  policy: MirrorPolicy;
  objects: MirrorObjects;
  /** What became of an exported service. */
  report: (claim: Claim, outcome: LinkServiceStatus) => void;
}

/**
 * One mirror, by its key (`namespace/name`): see what should be there, see what is there, write at most what differs. It
 * knows nothing of what happened, so nothing depends on the order in which things happen.
 */
export class MirrorReconciler {
  readonly #options: MirrorReconcilerOptions;
  /** Mirrors being made for each Link at the moment. */
  readonly #busy = new Map<string, number>();

  constructor(options: MirrorReconcilerOptions) {
    this.#options = options;
  }

  /** Whether a mirror is being made for a Link at the moment, and may be there only after it. */
  isBusy(link: Link): boolean {
    return this.#busy.has(keyOf(link));
  }

  async reconcile(key: string, signal: AbortSignal): Promise<ReconcileResult | undefined> {
    const [claim, ...losers] = this.#options.claims.of(key);
    for (const loser of losers) this.#refuse(loser, nameTaken(key, claim!));
    if (claim === undefined) {
      await this.#withdraw(key, signal);
      return undefined;
    }
    const examined = examine(claim.remote, claim.link, this.#options.policy);
    if (isRefusal(examined)) {
      await this.#withdraw(key, signal);
      this.#refuse(claim, examined);
      return undefined;
    }
    if (!this.#options.source.hasNamespace(claim.remote.metadata.namespace ?? "")) {
      this.#refuse(claim, missingNamespace(claim.remote.metadata.namespace ?? ""));
      return undefined;
    }
    const refusal = await this.#counted(claim.link, () => this.#mirror(key, claim, examined, signal));
    if (refusal === undefined) return undefined;
    this.#refuse(claim, refusal);
    return { againMs: RECHECK_MS };
  }

  async #mirror(
    key: string,
    claim: Claim,
    examined: Mirrorable,
    signal: AbortSignal,
  ): Promise<Refusal | undefined> {
    const { backends, ports, policy, objects } = this.#options;
    const { link, remote } = claim;
    let egressPorts: ReadonlyMap<number, number> | undefined;
    if (policy.dataPlane === "standalone") {
      egressPorts = ports.assign(
        key,
        examined.ports.map(({ port }) => port),
      );
      if (egressPorts === undefined) return portsExhausted(ports);
    }
    try {
      const service = await objects.ensureService(
        desiredService(remote, link, examined.ports, egressPorts),
        link,
        signal,
      );
      if (isRefusal(service)) {
        // A Service that is not ours, perhaps a mirror that was taken over by hand: no slice of ours may lead its calls away.
        await objects.remove(refOf(key), undefined, signal);
        return service;
      }
      const refusal = await objects.ensureSlices(service, backends.of(link), link, signal);
      if (refusal !== undefined) return refusal;
    } catch (error) {
      if (isInvalid(error) || isForbidden(error)) return refusedByServer(error);
      throw error;
    }
    this.#report(claim, {
      mirrored: true,
      reason: SERVICE_REASON.mirrored,
      ...(examined.note === undefined ? {} : { message: examined.note }),
    });
    return undefined;
  }

  /** Nobody wants this mirror, or it cannot be: remove it, unless it may be that we only do not know better. */
  async #withdraw(key: string, signal: AbortSignal): Promise<void> {
    const { source, claims, ports, objects } = this.#options;
    const actual = source.services.get(key);
    const owner = actual === undefined ? undefined : claims.ownerOf(actual);
    if (actual !== undefined) {
      if (owner === undefined) return;
      if (!claims.mayDelete(owner)) {
        await this.#keep(key, actual, owner, signal);
        return;
      }
    }
    await objects.remove(refOf(key), actual, signal);
    if (actual !== undefined || claims.complete) ports.release(key);
  }

  /**
   * A mirror whose service cannot be known now stays, and its slices go on following what carries its calls.
   */
  async #keep(key: string, actual: Service, owner: Link, signal: AbortSignal): Promise<void> {
    const { backends, ports, objects, claims } = this.#options;
    const link = claims.activeFor(owner) ?? owner;
    const desired = keptService(actual, ports.of(key));
    const service = await objects.ensureService(desired, link, signal);
    if (!isRefusal(service)) await objects.ensureSlices(service, backends.of(link), link, signal);
  }

  async #counted<T>(link: Link, work: () => Promise<T>): Promise<T> {
    const key = keyOf(link);
    this.#busy.set(key, (this.#busy.get(key) ?? 0) + 1);
    try {
      return await work();
    } finally {
      const left = this.#busy.get(key)! - 1;
      if (left > 0) this.#busy.set(key, left);
      else this.#busy.delete(key);
    }
  }

  #refuse(claim: Claim, refusal: Refusal): void {
    this.#report(claim, { mirrored: false, ...refusal });
  }

  #report(claim: Claim, outcome: Pick<LinkServiceStatus, "mirrored" | "reason" | "message">): void {
    const { namespace = "", name } = claim.remote.metadata;
    const mirror = mirrorName(name, claim.target.cluster);
    this.#options.report(claim, { namespace, name, mirror, ...outcome });
  }
}

function nameTaken(key: string, winner: Claim): Refusal {
  return {
    reason: SERVICE_REASON.nameConflict,
    message: `service ${keyOf(winner.remote)} of cluster ${winner.target.cluster} has a mirror of the same name, ${key}, and its Link is older; rename one of the services`,
  };
}

function missingNamespace(namespace: string): Refusal {
  return {
    reason: SERVICE_REASON.missingNamespace,
    message: `there is no namespace ${namespace} here; the service is mirrored as soon as there is`,
  };
}

function portsExhausted(ports: EgressPorts): Refusal {
  const { used, size } = ports.usage;
  return {
    reason: SERVICE_REASON.portsExhausted,
    message: `${used} of the ${size} egress ports are taken; export fewer services`,
  };
}

function refusedByServer(error: KubeError): Refusal {
  return { reason: SERVICE_REASON.refused, message: `the API server refuses the mirror: ${error.detail}` };
}
