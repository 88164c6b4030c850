import type { CallOptions, Fence } from "./calls.ts";
import type { KubeClient } from "./client.ts";
import { type Clock, systemClock } from "./clock.ts";
import { FencedError, isAlreadyExists, isConflict, isNotFound } from "./errors.ts";
import type { Log } from "./log.ts";
import type { Lease } from "./objects.ts";
import { LEASES } from "./resource.ts";

export interface LeaderElectionOptions {
  client: KubeClient;
  /** Where the Lease is, and its name. */
  namespace: string;
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
  /** 0 ≤ x < 1. @default Math.random */
  random?: () => number;
  log: Log;
}

/** How long giving the lease up may take, and before it an answer that is still awaited when we stop. */
const GIVE_UP_MS = 3_000;

/** What became of an attempt to have the lease. */
type Outcome = "held" | "other" | "unsure";

/** For `/state`. */
export interface LeaderElectionState {
  lease: string;
  identity: string;
  leading: boolean;
  /** Who holds the lease, as last seen. */
  holder: string | undefined;
  lastError: string | undefined;
}

/**
 * Leader election by a Lease of `coordination.k8s.io/v1`: at most one candidate leads.
 *
 * Clocks of different machines are never compared. A candidate takes the lease over once it has watched it unchanged, by
 * its own clock, for as long as the holder promised to renew it in; the holder stops working earlier than that, counted
 * from before its last successful renewal was sent. Every write names the version it replaces, so of two that take over at
 * the same time one gets a conflict.
 *
 * A process that was stopped for a while, by a debugger, a full machine or a moved virtual one, wakes up in the middle of
 * what it did, and its timers have not said yet that its term is over. So its writes look at the clock themselves: the work
 * gets a fence to hand to each of them, and one whose time has come after the term's is not sent. What had been sent before
 * may still be on its way then, for which there are the seconds between `renewDeadlineMs` and `durationMs`.
 */
export class LeaderElection {
  readonly #options: Required<LeaderElectionOptions>;
  readonly #clock: Clock;
  readonly #log: Log;
  /** The lease as last seen, and when, by our clock, it was first seen so. */
  #seen: { lease: Lease; at: number } | undefined;
  #mustLook = true;
  /** Until when, by our clock, we lead without having renewed; absent while we do not. */
  #leadsUntil: number | undefined;
  #lastError: unknown;

  constructor(options: LeaderElectionOptions) {
    this.#options = {
      durationMs: 15_000,
      renewDeadlineMs: 10_000,
      retryMs: 2_000,
      clock: systemClock,
      random: Math.random,
      ...options,
    };
    const { durationMs, renewDeadlineMs, retryMs } = this.#options;
    if (!(durationMs > renewDeadlineMs && renewDeadlineMs > retryMs)) {
      throw new Error(
        "leader election: durationMs must be more than renewDeadlineMs, and that more than retryMs",
      );
    }
    this.#clock = this.#options.clock;
    this.#log = options.log.child({ lease: `${options.namespace}/${options.name}` });
  }

  get leading(): boolean {
    return this.#leadsUntil !== undefined && this.#clock.monotonic() < this.#leadsUntil;
  }

  state(): LeaderElectionState {
    const { namespace, name, identity } = this.#options;
    return {
      lease: `${namespace}/${name}`,
      identity,
      leading: this.leading,
      holder: this.#seen?.lease.spec?.holderIdentity || undefined,
      lastError: this.#lastError === undefined ? undefined : String(this.#lastError),
    };
  }

  /**
   * Stand for election until `signal` is aborted. While we lead, `lead` runs; its signal is aborted when leadership is lost
   * or about to be, its fence throws a `FencedError` from that moment on, and nothing else is done until it has ended. Then
   * we stand again. On stopping, the lease is given up after `lead` has ended, so that another can take it at once. Ends
   * early when `lead` ends by itself, and rejects with what it throws.
   */
  async run(lead: (signal: AbortSignal, fence: Fence) => Promise<void>, signal: AbortSignal): Promise<void> {
    for (;;) {
      const wonAt = await this.#acquire(signal);
      if (wonAt === undefined) return;
      const term = new AbortController();
      const over = new AbortController();
      const stop = () => term.abort(signal.reason);
      signal.addEventListener("abort", stop, { once: true });
      this.#leadsUntil = wonAt + this.#options.renewDeadlineMs;
      const fence: Fence = () => {
        if (!over.signal.aborted && this.leading) return;
        throw new FencedError(`not written: ${this.#options.identity} leads no longer`);
      };
      this.#log.info("leading", { identity: this.#options.identity });
      // Until the work has ended, not just until it was told to: it may still write while it ends.
      const keeping = this.#keep(wonAt, term, over.signal);
      try {
        await lead(term.signal, fence);
      } catch (error) {
        if (!term.signal.aborted) throw error;
        this.#log.debug("the work was broken off", { error });
      } finally {
        signal.removeEventListener("abort", stop);
        this.#leadsUntil = undefined;
        over.abort();
        if ((await keeping) === "held") await this.#release();
      }
      if (signal.aborted || !term.signal.aborted) return;
    }
  }

  /** Try until we hold the lease; the time from which it counts. When stopped, nothing, and we hold none. */
  async #acquire(signal: AbortSignal): Promise<number | undefined> {
    const { retryMs, renewDeadlineMs, random } = this.#options;
    let outcome: Outcome = "other";
    while (!signal.aborted) {
      const sentAt = this.#clock.monotonic();
      outcome = await this.#attempt(renewDeadlineMs, signal);
      if (outcome === "held" && !signal.aborted) return sentAt;
      await this.#clock.sleep(retryMs * (1 + random() / 5), signal);
    }
    // What was asked last may have been done though its answer was lost.
    if (outcome !== "other") await this.#release();
    return undefined;
  }

  /** Renew until `over`; when that is no longer possible in time, end the term. */
  async #keep(wonAt: number, term: AbortController, over: AbortSignal): Promise<"held" | "lost"> {
    const { retryMs, renewDeadlineMs } = this.#options;
    let until = wonAt + renewDeadlineMs;
    for (;;) {
      const left = () => until - this.#clock.monotonic();
      await this.#clock.sleep(Math.max(0, Math.min(retryMs, left())), over);
      if (over.aborted) return "held";
      const sentAt = this.#clock.monotonic();
      const outcome = left() > 0 ? await this.#attempt(left(), over) : "unsure";
      if (over.aborted) return outcome === "other" ? "lost" : "held";
      if (outcome === "held") this.#leadsUntil = until = sentAt + renewDeadlineMs;
      if (outcome !== "other" && left() > 0) continue;
      const error =
        outcome === "other" ? "another took the lease" : `not renewed: ${String(this.#lastError)}`;
      this.#log.error("leadership lost", { error, holder: this.state().holder });
      this.#leadsUntil = undefined;
      term.abort(new Error("leadership lost"));
      return "lost";
    }
  }

  /**
   * Take or renew the lease, if it is ours to take. Never throws: what failed is `unsure`. When `signal` is aborted, what has
   * been asked may be done all the same, so its answer is waited for a little, and nothing more is asked.
   */
  async #attempt(limitMs: number, signal: AbortSignal): Promise<Outcome> {
    const limit = new AbortController();
    const abortAfter = (ms: number, reason: Error) => this.#clock.after(ms, () => limit.abort(reason));
    const timers = [abortAfter(limitMs, new Error("no answer in time"))];
    const stop = () => timers.push(abortAfter(GIVE_UP_MS, new Error("no answer while stopping")));
    signal.addEventListener("abort", stop, { once: true });
    try {
      if (this.#mustLook || !this.#isOurs()) await this.#look({ signal: limit.signal });
      if (signal.aborted) return this.#isOurs() ? "held" : "other";
      if (!this.#isOurs() && !this.#isFree()) return "other";
      await this.#write(limit.signal);
      this.#lastError = undefined;
      return "held";
    } catch (error) {
      // Whatever we believed about the lease may be wrong now.
      this.#mustLook = true;
      const routine = isConflict(error) || isAlreadyExists(error) || isNotFound(error);
      this.#log[routine ? "debug" : "warn"]("could not take or renew the lease", { error });
      this.#lastError = error;
      return "unsure";
    } finally {
      for (const cancel of timers) cancel();
      signal.removeEventListener("abort", stop);
    }
  }

  async #look(options: CallOptions): Promise<void> {
    const { client, namespace, name } = this.#options;
    try {
      this.#saw(await client.get(LEASES, { namespace, name }, options));
    } catch (error) {
      if (!isNotFound(error)) throw error;
      this.#seen = undefined;
    }
    this.#mustLook = false;
  }

  async #write(signal: AbortSignal): Promise<void> {
    const { client, namespace, name, identity, durationMs } = this.#options;
    const known = this.#seen?.lease;
    const now = microTime(this.#clock.now());
    const ours = this.#isOurs();
    const spec = {
      ...known?.spec,
      holderIdentity: identity,
      leaseDurationSeconds: Math.ceil(durationMs / 1000),
      acquireTime: ours ? (known?.spec?.acquireTime ?? now) : now,
      renewTime: now,
      leaseTransitions: (known?.spec?.leaseTransitions ?? 0) + (known && !ours ? 1 : 0),
    };
    const lease: Lease = known
      ? { ...known, spec }
      : { apiVersion: "coordination.k8s.io/v1", kind: "Lease", metadata: { namespace, name }, spec };
    const options = { signal, unthrottled: true };
    this.#saw(
      known ? await client.update(LEASES, lease, options) : await client.create(LEASES, lease, options),
    );
  }

  async #release(): Promise<void> {
    const { client } = this.#options;
    const limit = new AbortController();
    const cancel = this.#clock.after(GIVE_UP_MS, () => limit.abort(new Error("no answer in time")));
    const options = { signal: limit.signal, unthrottled: true };
    try {
      // A renewal that failed just now has not cost us the lease.
      if (this.#mustLook) await this.#look(options);
      const lease = this.#seen?.lease;
      if (!lease || !this.#isOurs()) return;
      const spec = { ...lease.spec, holderIdentity: "", leaseDurationSeconds: 1 };
      await client.update(LEASES, { ...lease, spec }, options);
      this.#log.info("lease given up");
    } catch (error) {
      this.#log.info("lease not given up: it runs out by itself", { error });
    } finally {
      cancel();
    }
    this.#mustLook = true;
  }

  #saw(lease: Lease): void {
    const unchanged = this.#seen?.lease.metadata.resourceVersion === lease.metadata.resourceVersion;
    this.#seen = { lease, at: unchanged && this.#seen ? this.#seen.at : this.#clock.monotonic() };
  }

  #isOurs(): boolean {
    return this.#seen?.lease.spec?.holderIdentity === this.#options.identity;
  }

  /** Nobody holds it, or its holder has not renewed it for as long as it said it would. */
  #isFree(): boolean {
    if (!this.#seen?.lease.spec?.holderIdentity) return true;
    const { leaseDurationSeconds } = this.#seen.lease.spec;
    const durationMs = leaseDurationSeconds ? leaseDurationSeconds * 1000 : this.#options.durationMs;
    return this.#clock.monotonic() - this.#seen.at >= durationMs;
  }
}

/** RFC 3339 with the six digits that Kubernetes' `MicroTime` is written with. */
function microTime(ms: number): string {
  return new Date(ms).toISOString().replace("Z", "000Z");
}
