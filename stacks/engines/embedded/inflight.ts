/** The work under way for one stack: bounded, and closed to new work by the first failure. */
import { Limit } from "../limit.ts";

const CLOSED = Symbol("closed");

export class InFlight<Failure> {
  /** Settles with the first failure. */
  readonly failed: Promise<Failure>;
  failure: Failure | undefined;
  readonly #limit: Limit;
  readonly #signal: AbortSignal;
  readonly #running = new Set<Promise<unknown>>();
  #settle: (failure: Failure) => void = () => undefined;

  constructor(parallel: number, signal: AbortSignal) {
    this.#limit = new Limit(parallel);
    this.#signal = signal;
    this.failed = new Promise((resolve) => {
      this.#settle = resolve;
    });
  }

  /**
   * Runs `work` when its turn comes. Once something has failed or the run was stopped, the promise never settles: nobody
   * asks for the answer then but the program, which is about to be ended.
   * @param onError turns what `work` threw into the failure
   */
  async attempt<T>(work: () => Promise<T>, onError: (error: unknown) => Failure): Promise<T> {
    const result = await this.#limit.run(async () => {
      if (this.#closed) return CLOSED;
      const running = (async () => work())();
      this.#running.add(running);
      try {
        return await running;
      } catch (error) {
        const failure = onError(error);
        if (this.failure === undefined) {
          this.failure = failure;
          this.#settle(failure);
        }
        return CLOSED;
      } finally {
        this.#running.delete(running);
      }
    });
    return result === CLOSED ? new Promise<never>(() => undefined) : result;
  }

  /** Returns when nothing is being worked on any more. */
  async idle(): Promise<void> {
    while (this.#running.size > 0) await Promise.allSettled([...this.#running]);
  }

  get #closed(): boolean {
    return this.failure !== undefined || this.#signal.aborted;
  }
}
