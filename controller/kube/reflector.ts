import type { KubeClient } from "./client.ts";
import { type Clock, systemClock } from "./clock.ts";
import { HistoryError, isGone, retryAfterMs, UNREACHABLE_REASON, UnreachableError } from "./errors.ts";
import { listAll } from "./list.ts";
import type { Log } from "./log.ts";
import type { KubeObject } from "./objects.ts";
import { path, type Resource } from "./resource.ts";
import { Retry } from "./retry.ts";
import type { Sink } from "./sink.ts";
import { compareVersions } from "./version.ts";

export type { Sink };

export interface ReflectorOptions<T extends KubeObject> {
  client: KubeClient;
  resource: Resource<T>;
  /** Absent: all namespaces. */
  namespace?: string | undefined;
  labelSelector?: string | undefined;
  fieldSelector?: string | undefined;
  sink: Sink<T>;
  /**
   * What is kept of an object; `undefined` when the object is to be taken as not there. `metadata.managedFields` is always
   * dropped before. @default all
   */
  transform?: (object: T) => T | undefined;
  clock?: Clock;
  /** 0 ≤ x < 1. @default Math.random */
  random?: () => number;
  log: Log;
  /** Objects a page. @default 500 */
  pageSize?: number;
  /**
   * How long a watch may be silent before another takes its place, up to a fifth more: bookmarks come every minute, if any.
   *
   * @default 75000
   */
  idleTimeoutMs?: number;
  /** Pauses after failures. @default 100 ms doubling to 30 s */
  backoff?: { baseMs?: number; capMs?: number };
}

/** For `/state`. Times are milliseconds since the epoch. */
export interface ReflectorState {
  resource: string;
  cluster: string;
  synced: boolean;
  /** A watch is open. */
  connected: boolean;
  resourceVersion: string | undefined;
  lastError: string | undefined;
  /** Since when what is known may be out of date; absent while a watch is open. */
  staleSince: number | undefined;
  /** Complete lists taken, and watches opened, so far. */
  lists: number;
  watches: number;
}

/** A watch that ends sooner than this counts as a failure: or else a server that ends them all would be asked all the time. */
const SHORT_WATCH_MS = 1_000;

/**
 * After so many short watches in a row, the next one must last before it is believed: or else a server that takes watches
 * and breaks them would be reported as well and as broken by turns.
 */
const SHORT_WATCHES_BELIEVED = 2;

/** Longer than the minute in which an API server sends a bookmark, where it has anything to say. */
const WATCH_IDLE_MS = 75_000;

/**
 * A server may have nothing to say, or something between it and us may keep what it says: after so many silent watches in
 * a row, a list tells.
 */
const SILENT_WATCHES_BELIEVED = 8;

/** The sink threw. What it missed must come again, and a new list is what brings it. */
class DeliveryError extends Error {
  constructor(cause: unknown) {
    super(`what the watch brought could not be taken in: ${message(cause)}`, { cause });
  }
}

/**
 * Keeps a sink true to what an API server has: one complete list, then a watch from there for ever. Connections that break
 * are taken up where they ended; a list is taken again only when the server no longer knows that place.
 */
export class Reflector<T extends KubeObject> {
  readonly #options: ReflectorOptions<T>;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #retry: Retry;
  readonly #log: Log;
  readonly #listeners = new Set<() => void>();
  readonly #firstList: Promise<void>;
  #resolveFirstList: () => void = () => undefined;
  #synced = false;
  #connected = false;
  #error: unknown;
  #version: string | undefined;
  #staleSince: number | undefined;
  #lists = 0;
  #watches = 0;
  #openedAt = Number.POSITIVE_INFINITY;
  /** In a row, up to the last one that ended. */
  #shortWatches = 0;
  /** In a row, since the last list. */
  #silentWatches = 0;
  #cancelBelief: (() => void) | undefined;

  constructor(options: ReflectorOptions<T>) {
    this.#options = options;
    this.#firstList = new Promise((resolve) => {
      this.#resolveFirstList = resolve;
    });
    this.#clock = options.clock ?? systemClock;
    this.#random = options.random ?? Math.random;
    const { baseMs = 100, capMs = 30_000 } = options.backoff ?? {};
    this.#retry = new Retry({ baseMs, capMs, clock: this.#clock, random: this.#random });
    this.#log = options.log.child({ cluster: options.client.cluster, resource: options.resource.plural });
  }

  /** Whether a complete list has been delivered. */
  get isSynced(): boolean {
    return this.#synced;
  }

  /** Resolves with the first complete list. */
  get synced(): Promise<void> {
    return this.#firstList;
  }

  /** Whether a watch is open. */
  get connected(): boolean {
    return this.#connected;
  }

  /** What keeps the watch from being open, until it is open again. */
  get error(): unknown {
    return this.#error;
  }

  state(): ReflectorState {
    return {
      resource: this.#options.resource.plural,
      cluster: this.#options.client.cluster,
      synced: this.#synced,
      connected: this.#connected,
      resourceVersion: this.#version,
      lastError: this.#error === undefined ? undefined : message(this.#error),
      staleSince: this.#staleSince,
      lists: this.#lists,
      watches: this.#watches,
    };
  }

  /** Call `listener` when `isSynced`, `connected` or `error` has changed. The function returned ends that. */
  onStateChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Do not wait before the next try: something may have changed for the better. */
  retryNow(): void {
    this.#retry.hurry();
  }

  /** Until `signal` is aborted. Never rejects: every failure is logged, shown in the state, and tried again. */
  async run(signal: AbortSignal): Promise<void> {
    this.#staleSince ??= this.#clock.now();
    const unsubscribe = this.#options.client.onSwap(() => this.retryNow());
    try {
      while (!signal.aborted) {
        try {
          if (this.#version === undefined) await this.#list(signal);
          await this.#watch(signal);
        } catch (error) {
          if (!signal.aborted) await this.#failed(error, signal);
        }
      }
    } finally {
      unsubscribe();
      if (this.#connected) this.#disconnected(undefined);
    }
  }

  async #list(signal: AbortSignal): Promise<void> {
    const { client, resource, sink, namespace, labelSelector, fieldSelector, pageSize } = this.#options;
    const selection = { namespace, labelSelector, fieldSelector };
    const { items, resourceVersion } = await listAll(client, resource, selection, {
      signal,
      pageSize,
      capacity: sink.capacity,
      maxBytes: sink.maxBytes,
      clock: this.#clock,
      transform: (object) => this.#keep(object),
    });
    try {
      sink.reset(items, resourceVersion);
    } catch (cause) {
      throw new DeliveryError(cause);
    }
    this.#version = resourceVersion;
    this.#silentWatches = 0;
    this.#lists++;
    this.#log.debug("listed", { objects: items.length, resourceVersion });
    if (this.#synced) return;
    this.#synced = true;
    this.#resolveFirstList();
    this.#changed();
  }

  async #watch(signal: AbortSignal): Promise<void> {
    const { client, resource, namespace, labelSelector, fieldSelector } = this.#options;
    const { idleTimeoutMs = WATCH_IDLE_MS } = this.#options;
    const events = client.watch(
      resource,
      {
        namespace,
        labelSelector,
        fieldSelector,
        resourceVersion: this.#version ?? "",
        // Spread out, so that the watches of many processes do not end together.
        timeoutSeconds: Math.round(300 + 300 * this.#random()),
        idleTimeoutMs: Math.round(idleTimeoutMs * (1 + this.#random() / 5)),
        onOpen: () => this.#opened(),
      },
      signal,
    );
    let silent = true;
    for await (const event of events) {
      silent = false;
      const { resourceVersion } = event.object.metadata;
      const order = compareVersions(resourceVersion, this.#version);
      if (order !== undefined && order < 0) {
        throw new HistoryError(
          `the watch went back from resourceVersion ${this.#version} to ${resourceVersion}`,
        );
      }
      if (event.type !== "BOOKMARK") this.#deliver(event.type === "DELETED", event.object);
      this.#version = resourceVersion ?? this.#version;
    }
    if (this.#lasted()) {
      this.#silentWatches = silent ? this.#silentWatches + 1 : 0;
      if (this.#silentWatches === SILENT_WATCHES_BELIEVED) this.#version = undefined;
      return;
    }
    if (this.#shortWatches > SHORT_WATCHES_BELIEVED && !signal.aborted) {
      const site = { cluster: client.cluster, method: "GET", path: path(resource, { namespace }) };
      throw new UnreachableError(
        site,
        UNREACHABLE_REASON.answer,
        `every watch of ${resource.plural} is ended as soon as it is open`,
      );
    }
    await this.#retry.pause(0, signal);
  }

  #deliver(deleted: boolean, object: T): void {
    try {
      const kept = this.#keep(object);
      if (deleted || kept === undefined) this.#options.sink.delete(kept ?? object);
      else this.#options.sink.apply(kept);
    } catch (cause) {
      throw new DeliveryError(cause);
    }
  }

  #keep(object: T): T | undefined {
    delete object.metadata.managedFields;
    return this.#options.transform ? this.#options.transform(object) : object;
  }

  #opened(): void {
    this.#watches++;
    this.#openedAt = this.#clock.monotonic();
    this.#retry.calm();
    if (this.#shortWatches < SHORT_WATCHES_BELIEVED) this.#believe();
    else this.#cancelBelief = this.#clock.after(SHORT_WATCH_MS, () => this.#believe());
  }

  /** The watch that is open is one. */
  #believe(): void {
    if (this.#connected && this.#error === undefined) return;
    if (this.#error !== undefined) this.#log.info("watching again");
    this.#connected = true;
    this.#error = undefined;
    this.#staleSince = undefined;
    this.#changed();
  }

  async #failed(error: unknown, signal: AbortSignal): Promise<void> {
    this.#lasted();
    const outdated = isGone(error) || error instanceof HistoryError;
    if (outdated || error instanceof DeliveryError) this.#version = undefined;
    if (outdated && this.#retry.failures === 0) {
      // It happens to a watch that was away for long, and is no failure unless it happens again.
      this.#log.info("listing again", { reason: error });
      this.#retry.count();
      return;
    }
    const repeated = this.#error !== undefined && message(this.#error) === message(error);
    const level = error instanceof DeliveryError ? "error" : repeated ? "debug" : "warn";
    this.#log[level]("watch failed, trying again", { error, failures: this.#retry.failures + 1 });
    this.#disconnected(error);
    await this.#retry.pause(retryAfterMs(error) ?? 0, signal);
  }

  #disconnected(error: unknown): void {
    this.#connected = false;
    this.#error = error;
    this.#staleSince ??= this.#clock.now();
    this.#changed();
  }

  /** Whether the watch that ended was open for a while. If so, that makes up for the failures before it. */
  #lasted(): boolean {
    this.#cancelBelief?.();
    this.#cancelBelief = undefined;
    const lasted = this.#clock.monotonic() - this.#openedAt >= SHORT_WATCH_MS;
    if (lasted) this.#shortWatches = 0;
    else if (this.#openedAt !== Number.POSITIVE_INFINITY) this.#shortWatches++;
    this.#openedAt = Number.POSITIVE_INFINITY;
    if (lasted) this.#retry.forgive();
    return lasted;
  }

  #changed(): void {
    for (const listener of this.#listeners) {
      try {
        listener();
      } catch (error) {
        this.#log.error("a listener of the watch's state failed", { error });
      }
    }
  }
}

function message(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
