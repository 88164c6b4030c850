import type { KubeClient } from "./client.ts";
import type { Clock } from "./clock.ts";
import type { Log } from "./log.ts";

export interface LeaderElectionOptions {
  client: KubeClient;
  namespace: string;
  /** Name of the Lease. */
  name: string;
  /** Who we are: unique among the candidates, e.g. the pod's name. */
  identity: string;
  /** How long a leader that says nothing stays leader. @default 15000 */
  durationMs?: number;
  /** How long a leader works on without having renewed. @default 10000 */
  renewDeadlineMs?: number;
  /** Pause between two tries. @default 2000 */
  retryMs?: number;
  clock?: Clock;
  random?: () => number;
  log: Log;
}

export interface LeaderElectionState {
  lease: string;
  identity: string;
  leading: boolean;
  /** Who holds the lease, as last seen. */
  holder: string | undefined;
  lastError: string | undefined;
}

export declare class LeaderElection {
  constructor(options: LeaderElectionOptions);
  readonly leading: boolean;
  state(): LeaderElectionState;
  /**
   * Stand for election until `signal` is aborted. While leader, `lead` runs; its signal is aborted when leadership is lost
   * or about to be. After that has ended, stand again. Rejects only with what `lead` throws.
   */
  run(lead: (signal: AbortSignal) => Promise<void>, signal: AbortSignal): Promise<void>;
}
