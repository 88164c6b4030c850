/**
 * Readiness by handles: whoever must be ready before the process is takes a handle and lets go of it when done. Ready is
 * when every handle is done, so nobody has to keep a list of what to wait for.
 */
export class Initialized {
  readonly #waiting = new Map<symbol, string>();
  #wake: (() => void)[] = [];

  /** Take a handle. `name` says in `/ready` and `/state` what is being waited for. */
  handle(name: string): InitializedHandle {
    const id = Symbol(name);
    this.#waiting.set(id, name);
    return {
      done: () => {
        if (!this.#waiting.delete(id) || this.#waiting.size > 0) return;
        const wake = this.#wake;
        this.#wake = [];
        for (const resolve of wake) resolve();
      },
    };
  }

  /** Whether every handle taken so far is done. */
  get ready(): boolean {
    return this.#waiting.size === 0;
  }

  /** Names of the handles not done yet. */
  waitingFor(): string[] {
    return [...this.#waiting.values()];
  }

  /** Resolves once ready; at once if it is. */
  wait(): Promise<void> {
    return this.ready ? Promise.resolve() : new Promise((resolve) => this.#wake.push(resolve));
  }
}

export interface InitializedHandle {
  /** Let go; again does nothing. */
  done(): void;
}
