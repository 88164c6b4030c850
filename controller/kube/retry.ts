import { backoffMs } from "./backoff.ts";
import type { Clock } from "./clock.ts";

export interface RetryOptions {
  baseMs: number;
  capMs: number;
  clock: Clock;
  /** 0 ≤ x < 1. */
  random: () => number;
}

/** The pauses of something that is tried for ever: longer from failure to failure, and cut short when there is new hope. */
export class Retry {
  readonly #options: RetryOptions;
  #failures = 0;
  #hurry = false;
  #wake: AbortController | undefined;

  constructor(options: RetryOptions) {
    this.#options = options;
  }

  /** Failures in a row. */
  get failures(): number {
    return this.#failures;
  }

  /** Count a failure that needs no pause, the first of its kind. */
  count(): void {
    this.#failures++;
  }

  /** It worked: the next failure is a first one again. */
  forgive(): void {
    this.#failures = 0;
  }

  /** Do not wait before the next try: ends a pause, or leaves out the next but for what it is at least. */
  hurry(): void {
    if (this.#wake) this.#wake.abort();
    else this.#hurry = true;
  }

  /** What there was to hurry for has been used. */
  calm(): void {
    this.#hurry = false;
  }

  /** Count a failure and wait, at least for `leastMs`. Ends early, without an error, when `signal` is aborted. */
  async pause(leastMs: number, signal: AbortSignal): Promise<void> {
    this.#failures++;
    const ms = Math.max(leastMs, this.#hurry ? 0 : backoffMs(this.#failures, this.#options));
    this.#hurry = false;
    if (ms === 0) return;
    const wake = new AbortController();
    const stop = () => wake.abort();
    if (signal.aborted) stop();
    signal.addEventListener("abort", stop, { once: true });
    this.#wake = wake;
    await this.#options.clock.sleep(ms, wake.signal);
    this.#wake = undefined;
    signal.removeEventListener("abort", stop);
  }
}
