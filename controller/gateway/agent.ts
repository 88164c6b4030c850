import type { Clock } from "../kube/clock.ts";
import type { Log } from "../kube/log.ts";
import type { Applied, Applier } from "./apply.ts";
import type { Material } from "./material.ts";
import type { Picture } from "./picture.ts";

export interface AgentOptions {
  applier: Applier;
  /** The picture as of now; undefined until everything that belongs to it has been read once. */
  picture: () => Picture | undefined;
  readMaterial: () => Promise<Material>;
  /** Called after every round that succeeded. */
  onApplied?: (applied: Applied, picture: Picture, material: Material) => void;
  /** Called after every round that failed. */
  onError?: (error: Error) => void;
  clock: Clock;
  log: Log;
}

/** Changes that come together are applied together. */
const GATHER_MS = 20;
/**
 * Where there are many thousands of routes a round takes its time. For so many times as long the agent rests after it, at
 * most so many milliseconds: a flood of changes leaves it three quarters of the time without work.
 */
const RESTS = 3;
const MOST_REST_MS = 500;
/** With nothing to apply: how often files and HAProxy are looked at all the same. */
const RESYNC_MS = 10_000;
const FIRST_RETRY_MS = 100;
const LAST_RETRY_MS = 5_000;
/** Most problems of objects that are logged at a time, and shown in `/state`; the metric counts them all. */
const MOST_PROBLEMS = 20;

/** For `/state`. */
export interface AgentState {
  serving: boolean;
  notReady: string[];
  problems: string[];
  certificate: { issuer: string | undefined; notAfter: string } | undefined;
}

/**
 * The loop that keeps HAProxy as the picture says: a round after every change, and one every ten seconds. A round reads
 * everything afresh, so that what failed once is made good by the next.
 */
export class GatewayAgent {
  readonly #options: AgentOptions;
  #dirty = true;
  #wake: () => void = () => undefined;
  #material: Material | undefined;
  #materialError: string | undefined;
  #roundError: string | undefined;
  #applied: Applied | undefined;
  #problems: readonly string[] = [];

  constructor(options: AgentOptions) {
    this.#options = options;
  }

  /** Something changed: a round is due. */
  changed(): void {
    this.#dirty = true;
    this.#wake();
  }

  /** Why this gateway does not serve, in words; empty when it does. */
  notReady(): string[] {
    return [
      this.#options.picture() === undefined && "the first full picture is not in yet",
      this.#material === undefined && (this.#materialError ?? "the certificate has not been read yet"),
      this.#material !== undefined &&
        !this.#certificateGood() &&
        "the gateway's certificate is not valid now",
      !this.#applied?.inForce && "HAProxy does not have its configuration yet",
      this.#roundError,
    ].filter((reason) => typeof reason === "string");
  }

  state(): AgentState {
    return {
      serving: this.notReady().length === 0,
      notReady: this.notReady(),
      problems: [
        ...(this.#materialError === undefined ? [] : [this.#materialError]),
        ...(this.#applied?.refused === undefined ? [] : [this.#applied.refused.message]),
        ...this.#problems.slice(0, MOST_PROBLEMS),
      ],
      certificate: this.#material && {
        issuer: this.#material.issuer,
        notAfter: this.#material.notAfter.toISOString(),
      },
    };
  }

  /** Until `signal` is aborted; never throws. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#options;
    signal.addEventListener("abort", () => this.#wake(), { once: true });
    let retryMs = FIRST_RETRY_MS;
    while (!signal.aborted) {
      this.#dirty = false;
      let pauseMs = RESYNC_MS;
      const began = clock.monotonic();
      try {
        await this.#round();
        if (this.#roundError !== undefined) log.info("the gateway follows again");
        this.#roundError = undefined;
        retryMs = FIRST_RETRY_MS;
      } catch (error) {
        const failure = error instanceof Error ? error : new Error(String(error));
        if (failure.message !== this.#roundError)
          log.warn("the gateway could not be updated", { error: failure });
        this.#roundError = failure.message;
        this.#options.onError?.(failure);
        pauseMs = retryMs;
        retryMs = Math.min(retryMs * 2, LAST_RETRY_MS);
      }
      const ended = clock.monotonic();
      const restUntil = ended + Math.min(MOST_REST_MS, (ended - began) * RESTS);
      await this.#pause(pauseMs, signal);
      await clock.sleep(Math.max(GATHER_MS, restUntil - clock.monotonic()), signal);
    }
  }

  async #round(): Promise<void> {
    const { applier, picture: current, onApplied, log } = this.#options;
    await this.#refreshMaterial();
    const picture = current();
    if (picture === undefined || this.#material === undefined) return;
    const applied = await applier.apply(picture, this.#material, this.#certificateGood());
    if (applied.refused !== undefined && this.#applied?.refused !== applied.refused) {
      log.error("the configuration in force is not the one that is wanted", { error: applied.refused });
    }
    if (applied.certificateReplaced) {
      log.info("HAProxy uses a new certificate", { notAfter: this.#material.notAfter.toISOString() });
    }
    if (applied.trust !== "none") log.info("HAProxy uses a new trust bundle", { trust: applied.trust });
    this.#reportProblems(picture.problems);
    this.#applied = applied;
    onApplied?.(applied, picture, this.#material);
  }

  /** Each problem is logged once, when it comes up. */
  #reportProblems(problems: readonly string[]): void {
    const before = new Set(this.#problems);
    const fresh = problems.filter((problem) => !before.has(problem));
    for (const problem of fresh.slice(0, MOST_PROBLEMS)) this.#options.log.warn(problem);
    if (fresh.length > MOST_PROBLEMS) {
      this.#options.log.warn("and more of the kind", { more: fresh.length - MOST_PROBLEMS });
    }
    this.#problems = problems;
  }

  /** Files that are not sound leave what is in force where it is. */
  async #refreshMaterial(): Promise<void> {
    try {
      this.#material = await this.#options.readMaterial();
      this.#materialError = undefined;
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      if (message !== this.#materialError)
        this.#options.log.warn("keeping the certificate as it is", { error });
      this.#materialError = message;
    }
  }

  #certificateGood(): boolean {
    const now = this.#options.clock.now();
    return (
      this.#material !== undefined &&
      this.#material.notBefore.getTime() <= now &&
      now < this.#material.notAfter.getTime()
    );
  }

  #pause(ms: number, signal: AbortSignal): Promise<void> {
    if (this.#dirty || signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const cancel = this.#options.clock.after(ms, () => this.#wake());
      this.#wake = () => {
        cancel();
        this.#wake = () => undefined;
        resolve();
      };
    });
  }
}
