import { EVENT_REASON, type Link, SERVICE_REASON } from "../../../contract/index.ts";
import type { KubeClient } from "../../kube/client.ts";
import type { Clock } from "../../kube/clock.ts";
import { isForbidden, isInvalid } from "../../kube/errors.ts";
import type { Log } from "../../kube/log.ts";
import { keyOf, type Namespace } from "../../kube/objects.ts";
import type { ReconcileResult } from "../../kube/queue.ts";
import { NAMESPACES } from "../../kube/resource.ts";
import type { Claims } from "../claims.ts";
import type { Refusal } from "../desired.ts";
import type { LinkEvent } from "../events.ts";
import { BY_CREATOR, BY_NAMESPACE, BY_TARGET, type SourceCluster } from "../source.ts";
import type { Target } from "../target/target.ts";
import type { SourceWriter } from "../writer.ts";
import { clusterOf, desiredNamespace, isMadeBy, isReserved, isTakenOver } from "./desired.ts";
import { EmptinessQuotas } from "./emptiness.ts";
import { NamespaceRemoval } from "./removal.ts";

/** A target is not trusted: so many namespaces are made for one, and no more. */
export const MAX_NAMESPACES = 1_000;
/** What kept a namespace from being made is looked at again after this time. */
const RECHECK_MS = 30_000;

export interface MirrorNamespacesOptions {
  client: KubeClient;
  source: SourceCluster;
  /** By the key of their Link. */
  targets: ReadonlyMap<string, Target>;
  claims: Claims;
  writer: SourceWriter;
  /** The namespace of this Isthmus, which says what was made by it. */
  isthmus: string;
  /** Namespaces that are never made and never removed, whatever their labels say. */
  never: ReadonlySet<string>;
  /** Look at a namespace, soon: calls `reconcile`. */
  wake: (name: string) => void;
  /** The mirrors of this namespace are to be looked at: they can be made now, or it is known why not. */
  onReady: (name: string) => void;
  record: (link: Link, event: LinkEvent) => void;
  /** A namespace that is not empty is looked at again no sooner, in milliseconds. */
  lookAgainMs: number;
  clock: Clock;
  log: Log;
}

/** Namespaces made for mirrors: there when a service wants one, gone when none does and nobody else has anything in it. */
export class MirrorNamespaces {
  readonly #options: MirrorNamespacesOptions;
  readonly #removal: NamespaceRemoval;
  /** Keys of the Links whose services want a namespace that is not there. */
  readonly #asked = new Map<string, Set<string>>();
  /** Why a namespace cannot be made. */
  readonly #refused = new Map<string, Refusal>();
  /** What was said of namespaces that stay: not to be said again. */
  readonly #told = new Map<string, string>();
  /** For which cluster each namespace is being made at the moment. */
  readonly #making = new Map<string, string>();

  constructor(options: MirrorNamespacesOptions) {
    const { client, source, writer, isthmus, lookAgainMs, clock, onReady } = options;
    this.#options = options;
    this.#removal = new NamespaceRemoval({
      source,
      writer,
      quotas: new EmptinessQuotas(client, writer, isthmus),
      dispensable: (name) => this.#dispensable(name),
      onReady,
      onRemoved: (namespace) => this.#removed(namespace),
      onKept: (namespace, why) => this.#kept(namespace, why),
      lookAgainMs,
      clock,
    });
  }

  /** Whether no mirror can be made in a namespace for the moment, since it is about to be deleted. */
  isClosing(name: string): boolean {
    return this.#removal.isClosing(name);
  }

  /**
   * An exported service of `link` wants a namespace that is not there, or is being deleted. The answer is why there will be
   * none; `undefined` while it is being made: `onReady`, or the namespace itself, will tell.
   */
  want(name: string, link: Link): Refusal | undefined {
    const { source, wake } = this.#options;
    if (isReserved(name)) return reserved(name);
    const isClosing = this.isClosing(name);
    if (source.namespaces.has(name) && !isClosing) return ending(name);
    const links = this.#asked.get(name) ?? new Set();
    this.#asked.set(name, links);
    if (links.has(keyOf(link)) && !isClosing) return this.#refused.get(name);
    links.add(keyOf(link));
    wake(name);
    return undefined;
  }

  /** An exported service was added, changed or removed in a namespace. */
  changed(name: string): void {
    if (this.#isOurs(name)) this.#options.wake(name);
  }

  /** What is to be known of a target, or of all Links, has changed. */
  wakeAll(): void {
    const { source, isthmus, wake } = this.#options;
    for (const namespace of source.namespaces.by(BY_CREATOR, isthmus)) wake(namespace.metadata.name);
  }

  /** Listen to the stores of the source; the function returned ends that. */
  listen(): () => void {
    const { source, wake } = this.#options;
    const madeOrGone = (namespace = "", current: unknown, previous: unknown) => {
      if ((current === undefined) === (previous === undefined)) return;
      this.#removal.touch(namespace);
      this.changed(namespace);
    };
    const ends = [
      source.namespaces.onChange((name, current, previous) => {
        const ours = [current, previous].some((each) => each && isMadeBy(this.#options.isthmus, each));
        if (ours || this.#asked.has(name)) wake(name);
      }),
      source.services.onChange((_, current, previous) =>
        madeOrGone((current ?? previous)?.metadata.namespace, current, previous),
      ),
      source.slices.onChange((_, current, previous) =>
        madeOrGone((current ?? previous)?.metadata.namespace, current, previous),
      ),
      source.links.onChange((_, current, previous) => {
        const same =
          current?.metadata.generation === previous?.metadata.generation &&
          current?.metadata.deletionTimestamp === previous?.metadata.deletionTimestamp;
        if (!same) this.wakeAll();
      }),
    ];
    this.wakeAll();
    // What an earlier term left in them, nobody else takes away.
    for (const each of source.namespaces.list()) if (isTakenOver(each)) wake(each.metadata.name);
    return () => {
      for (const end of ends) end();
    };
  }

  async reconcile(name: string, signal: AbortSignal): Promise<ReconcileResult | undefined> {
    const namespace = this.#options.source.namespaces.get(name);
    if (namespace === undefined) {
      this.#removal.forget(name);
      this.#told.delete(name);
      return await this.#make(name, signal);
    }
    this.#asked.delete(name);
    this.#refused.delete(name);
    if (namespace.metadata.deletionTimestamp !== undefined) {
      this.#removal.forget(name);
      return undefined;
    }
    if (!this.#isOurs(name)) {
      if (this.#removal.mayHaveQuota(name) || isTakenOver(namespace))
        await this.#removal.release(name, signal);
      this.#removal.forget(name);
      return undefined;
    }
    if (this.#dispensable(name) !== undefined) return await this.#removal.remove(name, signal);
    this.#removal.touch(name);
    await this.#removal.release(name, signal);
    return undefined;
  }

  async #make(name: string, signal: AbortSignal): Promise<ReconcileResult | undefined> {
    const { source, writer, isthmus, record, log } = this.#options;
    const links = this.#asking(name);
    if (links.length === 0) {
      this.#asked.delete(name);
      this.#refused.delete(name);
      return undefined;
    }
    const link = links.find((each) => this.#count(each.spec.targetClusterName) < MAX_NAMESPACES);
    if (link === undefined) return this.#refuse(name, tooMany(name));
    const cluster = link.spec.targetClusterName;
    this.#making.set(name, cluster);
    try {
      const shelf = { resource: NAMESPACES, store: source.namespaces };
      await writer.create(shelf, desiredNamespace(name, cluster, isthmus), { signal });
    } catch (error) {
      if (isForbidden(error) || isInvalid(error)) return this.#refuse(name, notMade(name, error.detail));
      // Where somebody was faster (409), the watch will tell.
      throw error;
    } finally {
      this.#making.delete(name);
    }
    this.#removal.made(name);
    log.info("namespace made", { namespace: name, link: keyOf(link), cluster });
    const message = `namespace ${name} was made for the exported services of cluster ${cluster}`;
    record(link, { type: "Normal", reason: EVENT_REASON.namespaceCreated, message });
    return undefined;
  }

  #refuse(name: string, refusal: Refusal): ReconcileResult {
    const known = this.#refused.get(name);
    this.#refused.set(name, refusal);
    if (known?.message !== refusal.message) this.#options.onReady(name);
    return { againMs: RECHECK_MS };
  }

  /** The Links that still want a namespace, those that asked first before the others. */
  #asking(name: string): Link[] {
    const wanting = new Set(this.#wanting(name).map((link) => keyOf(link)));
    return [...(this.#asked.get(name) ?? [])]
      .filter((key) => wanting.has(key))
      .map((key) => this.#options.source.links.get(key)!);
  }

  /** The Links whose targets export a service in a namespace, whether or not it can be mirrored. */
  #wanting(name: string): Link[] {
    const { source, targets, claims } = this.#options;
    return [...targets].flatMap(([key, target]) => {
      const link = source.links.get(key);
      if (link === undefined || !claims.isActive(link)) return [];
      const services = target.services.by(BY_NAMESPACE, name);
      return services.some((service) => target.mirrorsOf(service).length > 0) ? [link] : [];
    });
  }

  #count(cluster: string): number {
    const { source, isthmus } = this.#options;
    const made = source.namespaces.by(BY_CREATOR, isthmus).filter((each) => clusterOf(each) === cluster);
    return made.length + [...this.#making.values()].filter((each) => each === cluster).length;
  }

  #isOurs(name: string): boolean {
    const { source, isthmus, never } = this.#options;
    const namespace = source.namespaces.get(name);
    return namespace !== undefined && isMadeBy(isthmus, namespace) && !never.has(name) && !isReserved(name);
  }

  /** A namespace that may be removed where it is empty. */
  #dispensable(name: string): Namespace | undefined {
    const { source, claims } = this.#options;
    const namespace = source.namespaces.get(name);
    if (namespace?.metadata.deletionTimestamp !== undefined || !this.#isOurs(name)) return undefined;
    if (!claims.complete || this.#wanting(name).length > 0) return undefined;
    const left = [...source.services.by(BY_NAMESPACE, name), ...source.slices.by(BY_NAMESPACE, name)];
    return left.length > 0 ? undefined : namespace;
  }

  #removed(namespace: Namespace): void {
    const { name } = namespace.metadata;
    this.#options.log.info("namespace removed", { namespace: name });
    this.#tell(namespace, {
      type: "Normal",
      reason: EVENT_REASON.namespaceRemoved,
      message: `namespace ${name} was removed: it was made for mirrors, none is wanted there, and it was empty`,
    });
  }

  #kept(namespace: Namespace, why: string): void {
    const { name } = namespace.metadata;
    if (this.#told.get(name) === why) return;
    this.#told.set(name, why);
    this.#options.log.info("namespace stays though no mirror is wanted there", { namespace: name, why });
    this.#tell(namespace, {
      type: "Normal",
      reason: EVENT_REASON.namespaceKept,
      message: `namespace ${name} stays though no mirror is wanted there: ${why}`,
    });
  }

  /** To the Link of the cluster that it was made for, if there still is one. */
  #tell(namespace: Namespace, event: LinkEvent): void {
    const { source, claims, record } = this.#options;
    const link = source.links.by(BY_TARGET, clusterOf(namespace)).find((each) => claims.isActive(each));
    if (link !== undefined) record(link, event);
  }
}

function ending(name: string): Refusal {
  return {
    reason: SERVICE_REASON.missingNamespace,
    message: `namespace ${name} is being deleted; it is made again as soon as it is gone`,
  };
}

function reserved(name: string): Refusal {
  return {
    reason: SERVICE_REASON.missingNamespace,
    message: `there is no namespace ${name} here, and none is made by a name that begins with kube-, which Kubernetes keeps for itself`,
  };
}

function tooMany(name: string): Refusal {
  return {
    reason: SERVICE_REASON.missingNamespace,
    message: `there is no namespace ${name} here, and ${MAX_NAMESPACES} were made for this cluster already, which is the most; make it yourself, or export from fewer namespaces`,
  };
}

function notMade(name: string, detail: string): Refusal {
  return {
    reason: SERVICE_REASON.missingNamespace,
    message: `there is no namespace ${name} here, and the API server does not let it be made: ${detail}`,
  };
}
