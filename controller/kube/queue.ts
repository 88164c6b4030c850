import type { Clock } from "./clock.ts";
import type { Log } from "./log.ts";

export type Reconcile = (
  key: string,
  signal: AbortSignal,
) => Promise<{ againMs?: number } | undefined | void>;

/** Thrown by a reconcile for what only a change can heal: logged and counted once, not tried again until the next `add`. */
export class TerminalError extends Error {
  override readonly name: string = "TerminalError";
}

export interface WorkQueueMetrics {
  depth(value: number): void;
  /** One reconcile ended, after `seconds`; the key had waited `waitedSeconds`. */
  done(outcome: "success" | "again" | "error" | "terminal", seconds: number, waitedSeconds: number): void;
}

export interface WorkQueueOptions {
  name: string;
  reconcile: Reconcile;
  /** Keys reconciled at a time. @default 1 */
  workers?: number;
  backoff?: { baseMs?: number; capMs?: number };
  /** Keys of one group wait in one line, and the lines take turns. @default all in one group */
  group?: (key: string) => string;
  clock?: Clock;
  random?: () => number;
  log: Log;
  metrics?: WorkQueueMetrics;
}

export declare class WorkQueue {
  constructor(options: WorkQueueOptions);
  /** Keys that wait for a worker now (not those that wait for a time). */
  readonly depth: number;
  add(key: string, options?: { urgent?: boolean }): void;
  addAfter(key: string, ms: number): void;
  /** Forget that a key failed, and its waiting retry. */
  forget(key: string): void;
  /** Work until `signal` is aborted, then until what is being reconciled has ended. */
  run(signal: AbortSignal): Promise<void>;
  /** Resolves when nothing waits for a worker and nothing is being reconciled (delayed keys do not count). */
  idle(): Promise<void>;
}
