import { type Link, type LinkServiceStatus, mirrorName, SERVICE_REASON } from "../../contract/index.ts";
import { isForbidden, isInvalid } from "../kube/errors.ts";
import { keyOf, refOf, type Service } from "../kube/objects.ts";
import type { ReconcileResult } from "../kube/queue.ts";
import type { Claim, Claims, Member, PodClaim, ServiceClaim } from "./claims.ts";
import {
  desiredService,
  examine,
  isRefusal,
  keptService,
  type Mirrorable,
  type MirrorPolicy,
  type Refusal,
} from "./desired.ts";
import { backendSlices, type Ways } from "./gateways/ways.ts";
import {
  desiredPodService,
  headlessSlices,
  isMirroredByPod,
  isMirrorOfPod,
  keptHeadlessSlices,
  type PodEndpoint,
} from "./headless.ts";
import type { MirrorObjects, Plan } from "./mirror-objects.ts";
import type { MirrorNamespaces } from "./namespaces/namespaces.ts";
import { PodProblems } from "./pod-problems.ts";
import type { EgressPorts } from "./ports.ts";
import type { FederatedReconciler } from "./reconcile-federated.ts";
import {
  gatewayNotFound,
  missingNamespace,
  nameTaken,
  podsNotMirrored,
  portsExhausted,
  refusedByServer,
} from "./refusals.ts";
import { MODE } from "./selector.ts";
import { isMarkedEmpty } from "./slices.ts";
import { BY_MIRROR, type SourceCluster } from "./source.ts";
import { mirrorKey } from "./target/target.ts";

/** How often an obstacle is looked at again that no watch tells us about. */
const RECHECK_MS = 30_000;

export interface MirrorReconcilerOptions {
  source: SourceCluster;
  claims: Claims;
  ways: Ways;
  ports: EgressPorts;
  policy: MirrorPolicy;
  objects: MirrorObjects;
  federated: FederatedReconciler;
  /** Makes namespaces that are missing. @default nobody does */
  namespaces?: Pick<MirrorNamespaces, "isClosing" | "want">;
  /** What became of an exported service. */
  report: (member: Member, outcome: LinkServiceStatus) => void;
  /** A pod of a headless service got or lost its mirror: the mirror of the service, by its key, is to be looked at. */
  onPod: (mirror: string) => void;
}

/**
 * One Service here that stands for others elsewhere, by its key (`namespace/name`): see what should be there, see what is
 * there, write at most what differs. It knows nothing of what happened, so nothing depends on the order in which things
 * happen.
 */
export class MirrorReconciler {
  readonly #options: MirrorReconcilerOptions;
  /** Mirrors being made for each Link at the moment. */
  readonly #busy = new Map<string, number>();
  readonly #podProblems = new PodProblems();

  constructor(options: MirrorReconcilerOptions) {
    this.#options = options;
  }

  /** Whether a mirror is being made for a Link at the moment, and may be there only after it. */
  isBusy(link: Link): boolean {
    return this.#busy.has(keyOf(link));
  }

  async reconcile(key: string, signal: AbortSignal): Promise<ReconcileResult | undefined> {
    const { claims, federated, source } = this.#options;
    const [claim, ...losers] = claims.of(key);
    const problems: { claim: PodClaim; message: string }[] = [];
    for (const loser of losers) {
      const refusal = nameTaken(key, describe(claim!));
      if (loser.kind === "pod") problems.push({ claim: loser, message: refusal.message });
      else if (loser.kind === "service") this.#refuse(loser, refusal);
      else federated.refuse(loser, refusal);
    }
    const refusal = await this.#counted(claim, async () => {
      if (claim?.kind === "service") return await this.#service(key, claim, signal);
      if (claim?.kind === "pod") return await this.#pod(key, claim, signal);
      const actual = source.services.get(key);
      const isFederation = actual === undefined ? federated.remembers(key) : claims.isFederation(actual);
      if (claim !== undefined || isFederation) return await federated.reconcile(key, claim, signal);
      return await this.#withdraw(key, signal);
    });
    if (claim?.kind === "pod" && refusal !== undefined) problems.push({ claim, message: refusal.message });
    this.#podProblems.set(key, problems);
    if (claim?.kind === "pod" || problems.length > 0) this.#tellServices(key);
    return refusal === undefined ? undefined : { againMs: RECHECK_MS };
  }

  async #service(key: string, claim: ServiceClaim, signal: AbortSignal): Promise<Refusal | undefined> {
    const { source, claims, ways, ports, policy, namespaces } = this.#options;
    const { link, remote, target, mode } = claim;
    const examined = examine(remote, originOf(link), mode, policy);
    if (isRefusal(examined)) return await this.#refuseForGood(key, claim, examined, signal);
    const { namespace = "" } = remote.metadata;
    if (!source.hasNamespace(namespace) || namespaces?.isClosing(namespace)) {
      const missing = namespaces ? namespaces.want(namespace, link) : missingNamespace(namespace);
      if (missing !== undefined) this.#refuse(claim, missing);
      return undefined;
    }

    const mirror = source.services.get(key);
    const slices = target.slicesOf(remote);
    const headless = mode === MODE.gateway && isMirroredByPod(remote, slices, policy.dataPlane, mirror);
    const direct = mode === MODE.gateway && !headless;
    const egressPorts = direct ? this.#assign(key, examined) : new Map<number, number>();
    if (egressPorts === undefined) return this.#refuse(claim, portsExhausted(ports));
    if (!direct) ports.release(key);

    const pods = headless ? this.#podEndpoints(claim) : [];
    const wasEmpty = () => source.slices.by(BY_MIRROR, key).some(isMarkedEmpty);
    const way = ways.of(link, remote, mirror, target.isEmpty(remote, wasEmpty));
    const shape = { ports: examined.ports, mode, headless, egressPorts };
    const refusal = await this.#ensure(
      {
        service: desiredService(remote, link, { ...shape, ...(direct && { gateway: way.gateway }) }),
        slices: (service, existing) => {
          // Who its pods are is known once all slices have been listed.
          const wasHeadless = mirror?.spec?.clusterIP === "None";
          if (headless && wasHeadless && !target.listed && existing.length > 0)
            return keptHeadlessSlices(service, existing);
          if (headless) return headlessSlices(service, pods, existing);
          return direct ? backendSlices(service, existing, way.backend) : [];
        },
        governs: (object) => claims.governs(link, object),
      },
      signal,
    );
    if (refusal !== undefined) return this.#refuse(claim, refusal);
    if (mode === MODE.gateway && way.problem !== undefined) {
      // What becomes of the gateway's Service is watched.
      this.#refuse(claim, gatewayNotFound(way.problem));
      return undefined;
    }
    const podProblems = headless ? this.#podProblems.of(claim, claims) : [];
    if (podProblems.length > 0) this.#refuse(claim, podsNotMirrored(podProblems));
    else this.#report(claim, { mirrored: true, reason: SERVICE_REASON.mirrored, ...noteOf(examined) });
    return undefined;
  }

  async #pod(key: string, claim: PodClaim, signal: AbortSignal): Promise<Refusal | undefined> {
    const { source, claims, ways, ports, policy } = this.#options;
    const { link, remote, host } = claim;
    const examined = examine(remote, originOf(link), MODE.gateway, policy);
    // The service itself tells why.
    if (isRefusal(examined)) return await this.#withdraw(key, signal);
    if (!source.hasNamespace(remote.metadata.namespace ?? "")) return undefined;
    const egressPorts = this.#assign(key, examined);
    const ready = claims.podsOf(claim).get(key)?.ready ?? false;
    const way = ways.of(link, remote, source.services.get(key), !ready);
    if (egressPorts === undefined) return portsExhausted(ports);
    const shape = { ports: examined.ports, egressPorts, gateway: way.gateway };
    return await this.#ensure(
      {
        service: desiredPodService(remote, host, link, shape),
        slices: (service, existing) => backendSlices(service, existing, way.backend),
        governs: (object) => claims.governs(link, object),
      },
      signal,
    );
  }

  /** Nobody wants this mirror, or it cannot be: remove it, unless it may be that we only do not know better. */
  async #withdraw(key: string, signal: AbortSignal): Promise<undefined> {
    const { source, claims, ports, objects } = this.#options;
    const actual = source.services.get(key);
    const owner = actual === undefined ? undefined : claims.ownerOf(actual);
    if (owner !== undefined && !claims.mayDelete(owner)) {
      await this.#keep(key, actual!, owner, signal);
      return;
    }
    // Of a Service that is not ours, or no longer, only slices of ours go.
    await objects.remove(refOf(key), owner && actual, signal);
    if (owner !== undefined || (actual === undefined && !claims.mayBeWanted(key))) ports.release(key);
  }

  /** A mirror whose service cannot be known now stays, and its slices go on following what carries its calls. */
  async #keep(key: string, actual: Service, owner: Link, signal: AbortSignal): Promise<void> {
    const { ways, ports, claims } = this.#options;
    const link = claims.activeFor(owner) ?? owner;
    // A leader that has only just taken over may not have heard that the Link is gone: nothing is made for it until the Link's
    // own reconcile has asked.
    if (claims.targetOf(link) === undefined) return;
    await this.#ensure(
      {
        service: keptService(actual, link, ports.of(key)),
        slices: (service, existing) => ways.kept(service, existing, link),
        governs: (object) => claims.governs(link, object),
      },
      signal,
    );
  }

  async #ensure(plan: Plan, signal: AbortSignal): Promise<Refusal | undefined> {
    try {
      return await this.#options.objects.ensure(plan, signal);
    } catch (error) {
      if (isInvalid(error) || isForbidden(error)) return refusedByServer(error);
      throw error;
    }
  }

  /** The egress ports of a mirror; none where there is no egress, `undefined` where too few are left. */
  #assign(key: string, { ports }: Mirrorable): ReadonlyMap<number, number> | undefined {
    if (this.#options.policy.dataPlane === "linkerd") return new Map();
    return this.#options.ports.assign(
      key,
      ports.map(({ port }) => port),
    );
  }

  /** Those pods of a headless service that have mirrors. */
  #podEndpoints(claim: ServiceClaim): PodEndpoint[] {
    const { source, claims } = this.#options;
    return [...claims.podsOf(claim)].flatMap(([key, { host, ready }]) => {
      const mirror = source.services.get(key);
      // Another may have the name; then it is no way to the pod.
      if (mirror === undefined || !isMirrorOfPod(mirror, claim.remote, host)) return [];
      if (!claims.governs(claim.link, mirror)) return [];
      const { clusterIP, clusterIPs } = mirror.spec ?? {};
      return [{ host, ready, ips: clusterIPs ?? (clusterIP ? [clusterIP] : []) }];
    });
  }

  /** The mirrors of headless services that lead to the mirror of this key. */
  #tellServices(key: string): void {
    for (const claim of this.#options.claims.of(key)) {
      if (claim.kind === "pod") this.#options.onPod(mirrorKey(claim.remote, claim.target.cluster));
    }
  }

  /** Count as busy for all Links that are concerned. */
  async #counted<T>(claim: Claim | undefined, work: () => Promise<T>): Promise<T> {
    const links =
      claim?.kind === "federated" ? claim.members.map(({ link }) => link) : claim ? [claim.link] : [];
    const keys = links.map(keyOf);
    for (const key of keys) this.#busy.set(key, (this.#busy.get(key) ?? 0) + 1);
    try {
      return await work();
    } finally {
      for (const key of keys) {
        const left = this.#busy.get(key)! - 1;
        if (left > 0) this.#busy.set(key, left);
        else this.#busy.delete(key);
      }
    }
  }

  /** What cannot be mirrored loses the mirror that it had. */
  async #refuseForGood(
    key: string,
    claim: ServiceClaim,
    refusal: Refusal,
    signal: AbortSignal,
  ): Promise<undefined> {
    await this.#withdraw(key, signal);
    this.#refuse(claim, refusal);
  }

  #refuse(claim: Member, refusal: Refusal): Refusal {
    this.#report(claim, { mirrored: false, ...refusal });
    return refusal;
  }

  #report(claim: Member, outcome: Pick<LinkServiceStatus, "mirrored" | "reason" | "message">): void {
    const { namespace = "", name } = claim.remote.metadata;
    const mirror = mirrorName(name, claim.target.cluster);
    this.#options.report(claim, { namespace, name, mirror, ...outcome });
  }
}

function originOf(link: Link) {
  return { cluster: link.spec.targetClusterName, exclusions: link.spec };
}

function noteOf({ note }: Mirrorable): { message?: string } {
  return note === undefined ? {} : { message: note };
}

/** Who has got a name, for people. */
function describe(claim: Claim): string {
  if (claim.kind === "federated") return "the federated service";
  const what = claim.kind === "pod" ? `pod ${claim.host} of service` : "service";
  return `${what} ${keyOf(claim.remote)} of cluster ${claim.target.cluster}`;
}
