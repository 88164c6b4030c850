import type { Clock } from "../kube/clock.ts";

export interface DrainOptions {
  /** Whether new calls may still be sent here, as far as the API server knows; undefined while that is not known. */
  called: () => boolean | undefined;
  /** Connections open in HAProxy, those of old workers included. */
  open: () => Promise<number>;
  /** Nodes learn a little later than the API server that a pod is to get no more calls. @default 3000 */
  settleMs?: number;
  timeoutMs: number;
  clock: Clock;
}

export interface Drained {
  /** Nobody is cut off: no new calls come, and the last open connection has ended. */
  clean: boolean;
  /** What happened, in words. */
  text: string;
}

const POLL_MS = 250;

/**
 * Wait until this pod can be stopped without cutting a call, or `timeoutMs` is over. Only waits: what ends the calls is
 * that the pod is being deleted.
 */
export async function drain(options: DrainOptions, signal: AbortSignal): Promise<Drained> {
  const { called, open, settleMs = 3_000, timeoutMs, clock } = options;
  const start = clock.monotonic();
  const left = () => timeoutMs - (clock.monotonic() - start);
  const until = async (condition: () => boolean | Promise<boolean>) => {
    while (!(await condition())) {
      if (left() <= 0 || signal.aborted) return false;
      await clock.sleep(Math.min(POLL_MS, left()), signal);
    }
    return true;
  };
  if (!(await until(() => called() === false))) {
    return { clean: false, text: "calls may still come: the time to wait for that is over" };
  }
  await clock.sleep(Math.min(settleMs, Math.max(0, left())), signal);
  if (await until(async () => (await open()) === 0)) return { clean: true, text: "no connection is open" };
  return {
    clean: false,
    text: `${await open()} connections are still open: the time to wait for them is over`,
  };
}
