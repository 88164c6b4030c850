import { performance } from "node:perf_hooks";

/** Time, injected: backoff and deadlines are tested without waiting for them. All durations are milliseconds. */
export interface Clock {
  /** Wall clock, milliseconds since the epoch: for what people and other machines read. It may jump. */
  now(): number;
  /** Milliseconds that never run backwards: for durations and deadlines. */
  monotonic(): number;
  /** Resolves after `ms`, or as soon as `signal` is aborted: the caller looks at the signal, nothing is thrown. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** Call `callback` once after `ms`; the function returned cancels that. */
  after(ms: number, callback: () => void): () => void;
}

/** Longest delay of a timer: beyond it Node would fire at once. */
const MAX_DELAY = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  sleep(ms, signal) {
    if (signal?.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, Math.min(ms, MAX_DELAY));
      signal?.addEventListener("abort", done, { once: true });
    });
  },
  after(ms, callback) {
    const timer = setTimeout(callback, Math.min(ms, MAX_DELAY));
    return () => clearTimeout(timer);
  },
};
