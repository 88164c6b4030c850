import type { KubeClient } from "./client.ts";
import type { Clock } from "./clock.ts";
import type { Log } from "./log.ts";
import type { KubeObject } from "./objects.ts";
import type { Resource } from "./resource.ts";

/** Where a reflector delivers. Watch mechanics end here. */
export interface Sink<T extends KubeObject> {
  /** This object exists, like this. */
  apply(object: T): void;
  /** This object exists no longer; `object` is its last state. */
  delete(object: T): void;
  /** These objects exist and no others: only ever called with a complete list. */
  reset(objects: T[]): void;
}

export interface ReflectorOptions<T extends KubeObject> {
  client: KubeClient;
  resource: Resource<T>;
  namespace?: string | undefined;
  labelSelector?: string | undefined;
  fieldSelector?: string | undefined;
  sink: Sink<T>;
  /** What is kept of an object. `metadata.managedFields` is always dropped before. @default all */
  transform?: (object: T) => T;
  clock?: Clock;
  /** 0 ≤ x < 1. @default Math.random */
  random?: () => number;
  log: Log;
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
  lists: number;
  watches: number;
}

export declare class Reflector<T extends KubeObject> {
  constructor(options: ReflectorOptions<T>);
  /** Whether a complete list has been delivered. */
  readonly isSynced: boolean;
  /** Resolves with the first complete list. */
  readonly synced: Promise<void>;
  /** The error that keeps the watch from being open, until the next success. */
  readonly error: unknown;
  state(): ReflectorState;
  /** Called when `connected`, `synced` or the error changes. The function returned unsubscribes. */
  onStateChange(listener: () => void): () => void;
  /** Until `signal` is aborted; never throws. */
  run(signal: AbortSignal): Promise<void>;
}
