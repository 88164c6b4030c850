import { setImmediate } from "node:timers";
import type { Clock } from "../../../controller/kube/clock.ts";

interface Timer {
  at: number;
  number: number;
  callback: (() => void) | undefined;
}

/** When every simulation begins, by the clocks on the wall. */
export const EPOCH = Date.parse("2026-01-01T00:00:00Z");

/**
 * Time that passes only when nothing is left to do at the moment it stands at: timers fire one by one, in the order of
 * their times and of their setting, and everything that one leads to happens before the next. Whole milliseconds.
 */
export class VirtualTime {
  #now = 0;
  #number = 0;
  /** A binary heap, the next timer first. */
  readonly #timers: Timer[] = [];
  /** Timers that fired so far. */
  fired = 0;

  /** Milliseconds since the beginning. */
  get now(): number {
    return this.#now;
  }

  /** As Kubernetes writes times. */
  timestamp(): string {
    return `${new Date(EPOCH + this.#now).toISOString().slice(0, 19)}Z`;
  }

  /** Call `callback` after `ms`; the function returned cancels that. */
  after(ms: number, callback: () => void): () => void {
    const timer: Timer = { at: this.#now + Math.max(0, Math.ceil(ms)), number: this.#number++, callback };
    this.#push(timer);
    return () => {
      timer.callback = undefined;
    };
  }

  /** Let time pass until `at`; sooner if `stop` says so. */
  async runUntil(at: number, stop: () => boolean = () => false): Promise<void> {
    await settled();
    while (!stop()) {
      const next = this.#timers[0];
      if (next === undefined || next.at > at) break;
      this.#pop();
      if (next.callback === undefined) continue;
      this.#now = Math.max(this.#now, next.at);
      this.fired++;
      next.callback();
      await settled();
    }
    if (!stop()) this.#now = Math.max(this.#now, at);
  }

  #push(timer: Timer): void {
    const heap = this.#timers;
    let index = heap.push(timer) - 1;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (!isBefore(timer, heap[parent]!)) break;
      heap[index] = heap[parent]!;
      index = parent;
    }
    heap[index] = timer;
  }

  #pop(): void {
    const heap = this.#timers;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++;
      if (!isBefore(heap[child]!, last)) break;
      heap[index] = heap[child]!;
      index = child;
    }
    heap[index] = last;
  }
}

function isBefore(a: Timer, b: Timer): boolean {
  return a.at < b.at || (a.at === b.at && a.number < b.number);
}

/** When all promises that can come to something have: with no sockets, files and real timers that is a single turn. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

export interface ClockErrors {
  /** How far the wall clock is off, in milliseconds. */
  offsetMs: number;
  /** How much of its time passes in a second of ours: 0.95 to 1.05. */
  rate: number;
}

/** The clock of one machine: wrong by some hours and a little too fast or too slow. It stops for good when the process dies. */
export class SkewedClock implements Clock {
  readonly #time: VirtualTime;
  readonly #errors: ClockErrors;
  #dead = false;

  constructor(time: VirtualTime, errors: ClockErrors) {
    this.#time = time;
    this.#errors = errors;
  }

  now(): number {
    return EPOCH + this.#errors.offsetMs + this.monotonic();
  }

  monotonic(): number {
    return this.#time.now * this.#errors.rate;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const done = () => {
        cancel();
        signal?.removeEventListener("abort", done);
        resolve();
      };
      const cancel = this.after(ms, done);
      signal?.addEventListener("abort", done, { once: true });
    });
  }

  after(ms: number, callback: () => void): () => void {
    // No real timer fires sooner than after a millisecond.
    return this.#time.after(Math.max(1, ms / this.#errors.rate), () => {
      if (!this.#dead) callback();
    });
  }

  /** No timer set by this clock fires any more. */
  kill(): void {
    this.#dead = true;
  }
}
