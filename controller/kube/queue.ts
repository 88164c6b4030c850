import { backoffMs } from "./backoff.ts";
import { type Clock, systemClock } from "./clock.ts";
import { retryAfterMs } from "./errors.ts";
import { FairLine } from "./fair-line.ts";
import type { Log } from "./log.ts";
import { type Reconcile, TerminalError } from "./reconcile.ts";

export { type Reconcile, type ReconcileResult, TerminalError } from "./reconcile.ts";

export type ReconcileOutcome = "success" | "again" | "error" | "terminal";

export interface WorkQueueMetrics {
  /** One reconcile ended after `seconds`, its key having waited for `waitedSeconds`. */
  done(outcome: ReconcileOutcome, seconds: number, waitedSeconds: number): void;
}

export interface WorkQueueOptions {
  /** For logs. */
  name: string;
  reconcile: Reconcile;
  /** Keys reconciled at a time. @default 1 */
  workers?: number;
  /** Pauses after failures. @default 5 ms doubling to 60 s */
  backoff?: { baseMs?: number; capMs?: number };
  /** Keys of one group wait in one line, and the lines take turns: no group can starve another. @default one group */
  group?: (key: string) => string;
  clock?: Clock;
  /** 0 ≤ x < 1. @default Math.random */
  random?: () => number;
  log: Log;
  metrics?: WorkQueueMetrics;
}

type Lane = "urgent" | "normal";

interface Entry {
  /** In which line the key waits for a worker. */
  waiting: Lane | undefined;
  since: number;
  processing: boolean;
  /** Added while being reconciled. */
  dirty: Lane | undefined;
  failures: number;
  /** Cancels the retry after a failure, which any `add` makes needless. */
  retry: (() => void) | undefined;
  /** Cancels the time asked for, and when it is. */
  later: { at: number; cancel: () => void } | undefined;
}

/** Keys to reconcile: each at most once in line, and never two workers at one. */
export class WorkQueue {
  readonly #options: WorkQueueOptions;
  readonly #workers: number;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #entries = new Map<string, Entry>();
  readonly #lines = { urgent: new FairLine(), normal: new FairLine() };
  #depth = 0;
  #busy = 0;
  #signal: AbortSignal | undefined;
  #onIdle: (() => void)[] = [];
  #onDrained: (() => void)[] = [];

  constructor(options: WorkQueueOptions) {
    this.#options = options;
    this.#workers = options.workers ?? 1;
    this.#clock = options.clock ?? systemClock;
    this.#log = options.log.child({ queue: options.name });
  }

  /** Keys that wait for a worker now; those that wait for a time are not among them. */
  get depth(): number {
    return this.#depth;
  }

  /** Keys being reconciled now. */
  get busy(): number {
    return this.#busy;
  }

  /** Reconcile `key` as soon as a worker is free; an urgent one before all that are not. */
  add(key: string, options: { urgent?: boolean } = {}): void {
    const lane: Lane = options.urgent ? "urgent" : "normal";
    const entry = this.#entry(key);
    entry.retry?.();
    entry.retry = undefined;
    if (entry.processing) {
      if (entry.dirty !== "urgent") entry.dirty = lane;
      return;
    }
    this.#enqueue(key, entry, lane);
    this.#pump();
  }

  /** Reconcile `key` after `ms`, if it was not added before: the earliest time asked for counts. */
  addAfter(key: string, ms: number): void {
    const entry = this.#entry(key);
    const at = this.#clock.monotonic() + ms;
    if (entry.later && entry.later.at <= at) return;
    entry.later?.cancel();
    const cancel = this.#clock.after(ms, () => {
      entry.later = undefined;
      this.add(key);
    });
    entry.later = { at, cancel };
  }

  /** Reconcile until `signal` is aborted, then wait for what is under way. May be called again afterwards. */
  async run(signal: AbortSignal): Promise<void> {
    if (this.#signal) throw new Error(`queue ${this.#options.name} is running already`);
    this.#signal = signal;
    this.#pump();
    await new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      else signal.addEventListener("abort", () => resolve(), { once: true });
    });
    if (this.#busy > 0) await new Promise<void>((resolve) => this.#onDrained.push(resolve));
    this.#signal = undefined;
    // Nothing may keep the process from ending; whoever runs the queue again finds the keys in line.
    for (const [key, entry] of this.#entries) {
      if (!entry.retry && !entry.later) continue;
      this.#cancelTimers(entry);
      this.#enqueue(key, entry, "normal");
    }
  }

  /** Resolves once no key waits for a worker and none is being reconciled. Those that wait for a time do not count. */
  idle(): Promise<void> {
    if (this.#depth === 0 && this.#busy === 0) return Promise.resolve();
    return new Promise((resolve) => this.#onIdle.push(resolve));
  }

  #entry(key: string): Entry {
    const known = this.#entries.get(key);
    if (known) return known;
    const entry: Entry = {
      waiting: undefined,
      since: 0,
      processing: false,
      dirty: undefined,
      failures: 0,
      retry: undefined,
      later: undefined,
    };
    this.#entries.set(key, entry);
    return entry;
  }

  #enqueue(key: string, entry: Entry, lane: Lane): void {
    if (entry.waiting === "urgent" || entry.waiting === lane) return;
    if (entry.waiting === undefined) {
      entry.since = this.#clock.monotonic();
      this.#depth++;
    }
    // One that moves up leaves its old place behind, which is skipped when its turn comes.
    entry.waiting = lane;
    this.#lines[lane].push(this.#options.group?.(key) ?? "", key);
  }

  #pump(): void {
    if (!this.#signal) return;
    while (this.#busy < this.#workers && !this.#signal.aborted) {
      const next = this.#next("urgent") ?? this.#next("normal");
      if (!next) return;
      const [key, entry] = next;
      entry.waiting = undefined;
      entry.processing = true;
      this.#busy++;
      this.#depth--;
      void this.#process(key, entry, this.#signal);
    }
  }

  #next(lane: Lane): [string, Entry] | undefined {
    for (let key = this.#lines[lane].shift(); key !== undefined; key = this.#lines[lane].shift()) {
      const entry = this.#entries.get(key);
      if (entry?.waiting === lane) return [key, entry];
    }
    return undefined;
  }

  async #process(key: string, entry: Entry, signal: AbortSignal): Promise<void> {
    const startedAt = this.#clock.monotonic();
    const waited = startedAt - entry.since;
    let outcome: ReconcileOutcome | undefined;
    try {
      const result = await this.#options.reconcile(key, signal);
      entry.failures = 0;
      outcome = result?.againMs === undefined ? "success" : "again";
      if (result?.againMs !== undefined) this.addAfter(key, result.againMs);
    } catch (error) {
      outcome = this.#failed(key, entry, error, signal);
    }
    if (outcome) {
      const took = this.#clock.monotonic() - startedAt;
      this.#options.metrics?.done(outcome, took / 1000, waited / 1000);
    }
    this.#finish(key, entry);
  }

  #failed(key: string, entry: Entry, error: unknown, signal: AbortSignal): ReconcileOutcome | undefined {
    if (signal.aborted) {
      entry.dirty ??= "normal";
      return undefined;
    }
    if (error instanceof TerminalError) {
      entry.failures = 0;
      this.#log.error("cannot be reconciled until something changes", { key, error });
      return "terminal";
    }
    entry.failures++;
    const { baseMs = 5, capMs = 60_000 } = this.#options.backoff ?? {};
    const random = this.#options.random ?? Math.random;
    const pause = backoffMs(entry.failures, { baseMs, capMs, random });
    const ms = Math.max(pause, retryAfterMs(error) ?? 0);
    // A first failure is mostly two writers meeting, and heals with the next try.
    const level = entry.failures === 1 ? "debug" : "warn";
    this.#log[level]("reconcile failed, trying again", {
      key,
      error,
      failures: entry.failures,
      inMs: Math.round(ms),
    });
    entry.retry = this.#clock.after(ms, () => {
      entry.retry = undefined;
      this.add(key);
    });
    return "error";
  }

  #finish(key: string, entry: Entry): void {
    entry.processing = false;
    this.#busy--;
    if (entry.dirty) {
      const lane = entry.dirty;
      entry.dirty = undefined;
      entry.retry?.();
      entry.retry = undefined;
      this.#enqueue(key, entry, lane);
    } else if (!entry.retry && !entry.later) {
      this.#entries.delete(key);
    }
    this.#pump();
    if (this.#busy > 0) return;
    wake(this.#onDrained);
    if (this.#depth === 0) wake(this.#onIdle);
  }

  #cancelTimers(entry: Entry): void {
    entry.retry?.();
    entry.retry = undefined;
    entry.later?.cancel();
    entry.later = undefined;
  }
}

function wake(waiting: (() => void)[]): void {
  for (const resolve of waiting.splice(0)) resolve();
}
