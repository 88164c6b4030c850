import type { Clock } from "../../kube/clock.ts";
import { isConflict, KubeError } from "../../kube/errors.ts";
import type { Namespace, ResourceQuota } from "../../kube/objects.ts";
import type { ReconcileResult } from "../../kube/queue.ts";
import { NAMESPACES } from "../../kube/resource.ts";
import type { SourceCluster } from "../source.ts";
import type { SourceWriter } from "../writer.ts";
import type { EmptinessQuotas } from "./emptiness.ts";
import { isClosed, isLast, judge, typesOf } from "./quota.ts";

/** How long a count is not believed: whoever counts may hear of an object, or of its end, a little late. */
const SETTLE_MS = 1_000;
/** The quota controller counts within a second; by then it does not. */
const COUNT_WITHIN_MS = 20_000;
const COUNT_EVERY_MS = 100;
/** What could not be counted is looked at again after this time, then after twice as long, and so on. */
const UNKNOWN_AGAIN_MS = 30_000;

export interface NamespaceRemovalOptions {
  source: SourceCluster;
  writer: SourceWriter;
  quotas: EmptinessQuotas;
  /** The namespace as it is now, if it may go: ours, wanted by nobody, and all that could want it is known. */
  dispensable: (name: string) => Namespace | undefined;
  /** Mirrors can be made there again. */
  onReady: (name: string) => void;
  onRemoved: (namespace: Namespace) => void;
  /** It stays, since `why`. */
  onKept: (namespace: Namespace, why: string) => void;
  /** One that is not empty is counted again no sooner. */
  lookAgainMs: number;
  clock: Clock;
}

interface Examination {
  /** No object can be made there. */
  closing: boolean;
  startedAt: number;
  /** When the first count was seen. */
  countedAt?: number;
  emptySince?: number;
}

/**
 * Removes namespaces of ours that are empty. All that has to be known for that stands in the quota itself, so that another
 * process can go on where one ended. Steps: make an open quota; when it shows nothing for a second, close it; when it shows
 * nothing for another second, have all counted once more; when it still shows nothing, delete the namespace. Anything else
 * takes the quota away again.
 */
export class NamespaceRemoval {
  readonly #options: NamespaceRemovalOptions;
  readonly #examined = new Map<string, Examination>();
  /** Namespaces that have no quota of ours: looked at once, and ours to say since. */
  readonly #free = new Set<string>();
  /** Namespaces that stay for now, and when to look again. */
  readonly #kept = new Map<string, number>();
  /** How often in a row a namespace could not be counted. */
  readonly #unknown = new Map<string, number>();

  constructor(options: NamespaceRemovalOptions) {
    this.#options = options;
  }

  /** Whether a namespace takes no objects, since it is about to be deleted. */
  isClosing(name: string): boolean {
    return this.#examined.get(name)?.closing ?? false;
  }

  /** What was found in it before says nothing any more. */
  touch(name: string): void {
    this.#kept.delete(name);
    this.#unknown.delete(name);
  }

  /** There is no such namespace, or none of ours. */
  forget(name: string): void {
    this.touch(name);
    this.#examined.delete(name);
    this.#free.delete(name);
  }

  /** It was made just now: there is no quota in it. */
  made(name: string): void {
    this.#free.add(name);
  }

  /** Whether a quota of ours may be in it. */
  mayHaveQuota(name: string): boolean {
    return this.#examined.has(name);
  }

  /** Take the quota away, if there is one: the namespace is wanted, or somebody else's. */
  async release(name: string, signal: AbortSignal): Promise<void> {
    if (this.#free.has(name)) return;
    const quota = await this.#options.quotas.read(name, signal);
    await this.#open(name, quota, signal);
  }

  /** Delete a namespace that may go if it is empty: one step of it. */
  async remove(name: string, signal: AbortSignal): Promise<ReconcileResult | undefined> {
    const { quotas, clock } = this.#options;
    const waitMs = (this.#kept.get(name) ?? 0) - clock.monotonic();
    if (waitMs > 0) return { againMs: waitMs };
    const quota = await quotas.read(name, signal);
    if (quota !== undefined && !quotas.isOurs(quota)) return this.#keep(name, "it has a ResourceQuota");
    if (quota === undefined) return await this.#begin(name, signal);
    this.#free.delete(name);
    const examination = this.#examined.get(name) ?? { closing: false, startedAt: clock.monotonic() };
    this.#examined.set(name, examination);
    examination.closing = isClosed(quota);
    const verdict = judge(quota, await quotas.standard(name, signal));
    if (verdict.state === "counting") {
      if (clock.monotonic() - examination.startedAt < COUNT_WITHIN_MS) return { againMs: COUNT_EVERY_MS };
      await this.#open(name, quota, signal);
      return this.#unknowable(name, "Kubernetes does not count what is in it");
    }
    examination.countedAt ??= clock.monotonic();
    if (verdict.state === "empty") return await this.#empty(name, quota, examination, signal);
    delete examination.emptySince;
    if (verdict.state === "used") {
      const leftMs = this.#unsettledMs(examination.countedAt);
      if (leftMs > 0) return { againMs: leftMs };
      await this.#open(name, quota, signal);
      return this.#keep(name, `it holds ${listed(verdict.held)}`);
    }
    await this.#open(name, quota, signal);
    return this.#unknowable(name, `it cannot be known whether it holds ${listed(verdict.types)}`);
  }

  /** The count shows nothing: one step on, once that can be believed. */
  async #empty(
    name: string,
    quota: ResourceQuota,
    examination: Examination,
    signal: AbortSignal,
  ): Promise<ReconcileResult | undefined> {
    const { quotas, dispensable, clock } = this.#options;
    if (isLast(quota)) return await this.#delete(name, quota, signal);
    examination.emptySince ??= clock.monotonic();
    const leftMs = this.#unsettledMs(examination.emptySince);
    if (leftMs > 0) return { againMs: leftMs };
    delete examination.emptySince;
    if (!examination.closing) return await this.#close(name, quota, examination, signal);
    if (dispensable(name) === undefined) return { againMs: 0 };
    await quotas.countAgain(quota, signal);
    return { againMs: COUNT_EVERY_MS };
  }

  /** How long what is seen since then is still not believed. */
  #unsettledMs(since: number): number {
    return since + SETTLE_MS - this.#options.clock.monotonic();
  }

  async #begin(name: string, signal: AbortSignal): Promise<ReconcileResult> {
    const { quotas, dispensable, clock } = this.#options;
    this.#examined.delete(name);
    const { types, unknown } = await quotas.types(signal);
    if (unknown.length > 0) {
      return this.#unknowable(name, `the API server does not say what is in ${listed(unknown)}`);
    }
    if (dispensable(name) === undefined) return { againMs: 0 };
    this.#free.delete(name);
    this.#examined.set(name, { closing: false, startedAt: clock.monotonic() });
    await quotas.open(name, types, signal);
    return { againMs: COUNT_EVERY_MS };
  }

  async #close(
    name: string,
    quota: ResourceQuota,
    examination: Examination,
    signal: AbortSignal,
  ): Promise<ReconcileResult> {
    const { quotas, dispensable } = this.#options;
    // A type that came since then is not counted: start again.
    const { types, unknown } = await quotas.types(signal);
    if (unknown.length > 0 || types.join() !== typesOf(quota).sort().join()) {
      await this.#open(name, quota, signal);
      return { againMs: COUNT_EVERY_MS };
    }
    const standard = await quotas.standard(name, signal);
    if (dispensable(name) === undefined) return { againMs: 0 };
    // First this, then the write: a mirror that is wanted from here on waits.
    examination.closing = true;
    await quotas.close(quota, standard, signal);
    return { againMs: COUNT_EVERY_MS };
  }

  async #delete(
    name: string,
    quota: ResourceQuota,
    signal: AbortSignal,
  ): Promise<ReconcileResult | undefined> {
    const { source, writer, dispensable, onRemoved } = this.#options;
    const namespace = dispensable(name);
    if (namespace === undefined) return { againMs: 0 };
    try {
      await writer.remove({ resource: NAMESPACES, store: source.namespaces }, namespace, { signal });
    } catch (error) {
      if (!(error instanceof KubeError)) throw error;
      const { detail } = error;
      await this.#open(name, quota, signal);
      // Somebody has changed its labels, perhaps: then it is looked at as it is now.
      if (isConflict(error)) return { againMs: COUNT_EVERY_MS };
      return this.#keep(name, `the API server does not delete it: ${detail}`);
    }
    this.forget(name);
    onRemoved(namespace);
    return undefined;
  }

  /** Let objects be made there again. */
  async #open(name: string, quota: ResourceQuota | undefined, signal: AbortSignal): Promise<void> {
    const { quotas, onReady } = this.#options;
    if (quota !== undefined && quotas.isOurs(quota)) await quotas.remove(quota, signal);
    this.#free.add(name);
    const examined = this.#examined.delete(name);
    if (examined || quota !== undefined) onReady(name);
  }

  #unknowable(name: string, why: string): ReconcileResult {
    const times = this.#unknown.get(name) ?? 0;
    this.#unknown.set(name, times + 1);
    return this.#keep(name, why, Math.min(UNKNOWN_AGAIN_MS * 2 ** times, this.#options.lookAgainMs));
  }

  #keep(name: string, why: string, againMs = this.#options.lookAgainMs): ReconcileResult {
    const { source, clock, onKept } = this.#options;
    this.#kept.set(name, clock.monotonic() + againMs);
    const namespace = source.namespaces.get(name);
    if (namespace !== undefined) onKept(namespace, why);
    return { againMs };
  }
}

function listed(names: readonly string[]): string {
  const shown = names.slice(0, 5);
  return [...shown, ...(names.length > 5 ? [`${names.length - 5} more`] : [])].join(", ");
}
