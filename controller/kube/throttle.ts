import { type Clock, systemClock } from "./clock.ts";
import { isTooManyRequests, isUnreachable, KubeError } from "./errors.ts";

export interface ThrottleOptions {
  /** Calls at a time to begin with. @default 16 */
  initial?: number;
  /** Most calls at a time, however fast the answers. @default 64 */
  max?: number;
  clock?: Clock;
}

/** For `/state` and metrics. */
export interface ThrottleState {
  /** Calls at a time that the server is given now. */
  limit: number;
  inFlight: number;
  waiting: number;
  /** Milliseconds of a call that goes alone, when last looked at. */
  unloadedMs: number | undefined;
}

interface Look {
  left: number;
  leastMs: number;
  /** Ends the look when it takes too long; set with its first call. */
  cancel?: () => void;
}

interface Waiter {
  start: () => void;
}

/**
 * Fewer calls than this must be queueing in the server before it is given another at a time. So many are what it has to do
 * while we are busy with answers.
 */
const QUEUE_LOW = 12;
/** More than this, and it is given one less. */
const QUEUE_HIGH = 18;
/** So often the server is seen without our crowd, by this many calls that go alone: it may have become slower, or faster. */
const LOOK_EVERY_MS = 30_000;
const LOOK_CALLS = 5;
/** No longer than this: one call that hangs must not keep all others waiting. */
const LOOK_LIMIT_MS = 1_000;

/**
 * Finds how many calls at a time a server takes. It is given one more as long as answers come about as fast as to a call
 * that goes alone, one less when calls mostly wait behind each other, half as many when it says 429 or does not answer. For
 * as long as `Retry-After` says, it is left alone.
 */
export class Throttle {
  readonly #max: number;
  readonly #clock: Clock;
  readonly #urgent: Waiter[] = [];
  readonly #waiting: Waiter[] = [];
  #limit: number;
  #inFlight = 0;
  #pausedUntil = 0;
  #cancelPause: (() => void) | undefined;
  /** What a call alone takes: while calls are still to be made to know, those left. */
  #look: Look | undefined = newLook();
  #nextLookAt = 0;
  #unloaded: number | undefined;
  #window = newWindow();

  constructor(options: ThrottleOptions = {}) {
    this.#limit = options.initial ?? 16;
    this.#max = options.max ?? 64;
    this.#clock = options.clock ?? systemClock;
  }

  state(): ThrottleState {
    return {
      limit: this.#limit,
      inFlight: this.#inFlight,
      waiting: this.#urgent.length + this.#waiting.length,
      unloadedMs: this.#unloaded,
    };
  }

  /** Make `call` when its turn comes; urgent ones before all others. Rejects with what it rejects with. */
  async run<T>(
    call: () => Promise<T>,
    options: { urgent?: boolean | undefined; signal?: AbortSignal | undefined } = {},
  ): Promise<T> {
    await this.#turn(options.urgent ? this.#urgent : this.#waiting, options.signal);
    const startedAt = this.#clock.monotonic();
    const crowd = this.#inFlight;
    if (this.#look) this.#look.cancel ??= this.#clock.after(LOOK_LIMIT_MS, () => this.#endLook());
    try {
      const result = await call();
      this.#sample(this.#clock.monotonic() - startedAt, crowd);
      return result;
    } catch (error) {
      this.#failed(error);
      throw error;
    } finally {
      this.#inFlight--;
      this.#pump();
    }
  }

  #turn(line: Waiter[], signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      const waiter: Waiter = {
        start: () => {
          signal?.removeEventListener("abort", leave);
          this.#inFlight++;
          resolve();
        },
      };
      const leave = () => {
        line.splice(line.indexOf(waiter), 1);
        reject(signal?.reason);
      };
      signal?.addEventListener("abort", leave, { once: true });
      line.push(waiter);
      this.#pump();
    });
  }

  #pump(): void {
    if (this.#cancelPause) return;
    while (this.#inFlight < (this.#look ? 1 : this.#limit)) {
      const next = this.#urgent.shift() ?? this.#waiting.shift();
      if (!next) return;
      next.start();
    }
  }

  #sample(ms: number, crowd: number): void {
    if (this.#look) {
      this.#lookAt(this.#look, ms, crowd);
      return;
    }
    const window = this.#window;
    window.calls++;
    window.totalMs += ms;
    window.full ||= crowd >= this.#limit;
    // Each call at a time should have been seen twice before something is concluded.
    if (window.calls < 2 * this.#limit + 4) return;
    this.#window = newWindow();
    const average = window.totalMs / window.calls;
    const unloaded = Math.min(this.#unloaded ?? average, average);
    const queued = this.#limit * (1 - unloaded / average);
    if (queued > QUEUE_HIGH) this.#limit = Math.max(1, this.#limit - 1);
    // More room is of use only to those who filled what there was.
    else if (queued < QUEUE_LOW && window.full) this.#limit = Math.min(this.#max, this.#limit + 1);
    if (this.#clock.monotonic() >= this.#nextLookAt) this.#look = newLook();
  }

  #lookAt(look: Look, ms: number, crowd: number): void {
    // Those that began before the others had ended were not alone.
    if (crowd > 1) return;
    look.left--;
    look.leastMs = Math.min(look.leastMs, ms);
    if (look.left === 0) this.#endLook();
  }

  #endLook(): void {
    const look = this.#look;
    look?.cancel?.();
    this.#look = undefined;
    if (look && look.leastMs < Number.POSITIVE_INFINITY) this.#unloaded = look.leastMs;
    this.#nextLookAt = this.#clock.monotonic() + LOOK_EVERY_MS;
    this.#pump();
  }

  #failed(error: unknown): void {
    const overloaded =
      isTooManyRequests(error) ||
      (error instanceof KubeError && (error.status === 503 || error.status === 504)) ||
      (isUnreachable(error) && error.reason === "timeout");
    if (!overloaded) return;
    const pauseMs = (error instanceof KubeError && error.retryAfterMs) || 0;
    const now = this.#clock.monotonic();
    // Calls that were under way together fail together: that is one message, not many.
    if (now >= this.#pausedUntil) this.#limit = Math.max(1, Math.floor(this.#limit / 2));
    const until = Math.max(this.#pausedUntil, now + Math.max(pauseMs, 50));
    if (until === this.#pausedUntil) return;
    this.#pausedUntil = until;
    this.#cancelPause?.();
    this.#cancelPause = this.#clock.after(until - now, () => {
      this.#cancelPause = undefined;
      this.#pump();
    });
  }
}

function newLook(): Look {
  return { left: LOOK_CALLS, leastMs: Number.POSITIVE_INFINITY };
}

function newWindow() {
  return { calls: 0, totalMs: 0, full: false };
}
