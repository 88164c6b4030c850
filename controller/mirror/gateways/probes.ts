import { isDeepStrictEqual } from "node:util";
import type { Clock } from "../../kube/clock.ts";
import type { Probe, ProbeSettings } from "./probe.ts";

/** One IP address of a gateway, to be probed. */
export interface ProbeTarget {
  /** `undefined` where a host name has none: that fails each time, as a probe that is not answered does. */
  ip: string | undefined;
  /** The gateway's address: the IP address itself, or the host name. */
  host: string;
  settings: ProbeSettings;
  /** What it is taken to be before the first verdict. */
  alive: boolean;
}

/** What is known of a target. */
export interface Liveness {
  alive: boolean;
  /** Whether its own probes said so, and not somebody before. */
  decided: boolean;
  /** Why it is dead: what was wrong when it died. */
  cause: string | undefined;
}

/** What a single probe found. */
export interface ProbeResult {
  latencyMs: number;
  cause: string | undefined;
}

export interface ProbesOptions {
  probe: Probe;
  clock: Clock;
  random: () => number;
  /** After each probe, with the key of the Link. */
  onProbe: (link: string, result: ProbeResult) => void;
  /** A target was found alive or dead: for the first time, or otherwise than before. */
  onVerdict: (link: string, target: string, flipped: boolean) => void;
}

interface Entry extends Liveness {
  target: ProbeTarget;
  failures: number;
  stop: AbortController | undefined;
}

/** A part of the period by which the next probe is late, so that many gateways are not asked in one moment. */
const JITTER = 0.1;

/**
 * Probes gateways' addresses. One that fails as many times in a row as its Link says is dead; one success makes it alive.
 * Until one or the other it is what it was taken to be.
 */
export class Probes {
  readonly #options: ProbesOptions;
  /** By Link, then by whatever the targets are called. */
  readonly #links = new Map<string, Map<string, Entry>>();
  readonly #loops = new Set<Promise<void>>();
  #signal: AbortSignal | undefined;

  constructor(options: ProbesOptions) {
    this.#options = options;
  }

  /** Probe these for a Link and no others. What is known of those that stay, stays. */
  want(link: string, targets: ReadonlyMap<string, ProbeTarget>): void {
    const entries = this.#links.get(link) ?? new Map<string, Entry>();
    for (const [key, entry] of entries) {
      if (targets.has(key)) continue;
      entry.stop?.abort(new Error("the address is the gateway's no longer"));
      entries.delete(key);
    }
    for (const [key, target] of targets) {
      const entry = entries.get(key);
      if (entry !== undefined && isDeepStrictEqual(entry.target.settings, target.settings)) continue;
      entry?.stop?.abort(new Error("it is probed otherwise now"));
      const { alive, decided, cause } = entry ?? { alive: target.alive, decided: false, cause: undefined };
      const fresh: Entry = { alive, decided, cause, target, failures: 0, stop: undefined };
      entries.set(key, fresh);
      this.#start(link, key, fresh);
    }
    if (entries.size === 0) this.#links.delete(link);
    else this.#links.set(link, entries);
  }

  /** What is known of a target; `undefined` where it is not probed. */
  of(link: string, target: string): Liveness | undefined {
    return this.#links.get(link)?.get(target);
  }

  /** What is known of all whose names begin so. */
  startingWith(link: string, prefix: string): Liveness[] {
    const entries = [...(this.#links.get(link) ?? [])];
    return entries.filter(([key]) => key.startsWith(prefix)).map(([, entry]) => entry);
  }

  /** Probe until `signal` is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    this.#signal = signal;
    for (const [link, entries] of this.#links) {
      for (const [key, entry] of entries) this.#start(link, key, entry);
    }
    await new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      else signal.addEventListener("abort", () => resolve(), { once: true });
    });
    await Promise.all(this.#loops);
  }

  #start(link: string, key: string, entry: Entry): void {
    if (this.#signal === undefined || this.#signal.aborted) return;
    entry.stop = new AbortController();
    const loop = this.#loop(link, key, entry, AbortSignal.any([this.#signal, entry.stop.signal]));
    this.#loops.add(loop);
    void loop.finally(() => this.#loops.delete(loop));
  }

  async #loop(link: string, key: string, entry: Entry, signal: AbortSignal): Promise<void> {
    const { clock, random, onProbe } = this.#options;
    while (!signal.aborted) {
      const startedAt = clock.monotonic();
      const cause = await this.#ask(entry.target, signal);
      // A probe that was cut short found nothing.
      if (signal.aborted) return;
      const elapsed = clock.monotonic() - startedAt;
      onProbe(link, { latencyMs: elapsed, cause });
      this.#heard(link, key, entry, cause);
      const period = entry.target.settings.periodMs * (1 + JITTER * random());
      await clock.sleep(Math.max(0, period - elapsed), signal);
    }
  }

  /** Why the probe failed; `undefined` where it did not. */
  async #ask({ ip, host, settings }: ProbeTarget, signal: AbortSignal): Promise<string | undefined> {
    if (ip === undefined) return `the host name ${host} cannot be looked up`;
    try {
      await this.#options.probe({ ...settings, ip, host }, signal);
      return undefined;
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }

  #heard(link: string, key: string, entry: Entry, cause: string | undefined): void {
    const before = { ...entry };
    entry.failures = cause === undefined ? 0 : entry.failures + 1;
    if (cause === undefined) {
      entry.alive = true;
      entry.decided = true;
      entry.cause = undefined;
    } else if (!entry.alive || entry.failures >= entry.target.settings.failureThreshold) {
      // What it died of stays what is told of it: every probe may fail in another way.
      entry.cause ??= cause;
      entry.alive = false;
      entry.decided = true;
    }
    const flipped = before.alive !== entry.alive;
    if (flipped || before.decided !== entry.decided) this.#options.onVerdict(link, key, flipped);
  }
}
