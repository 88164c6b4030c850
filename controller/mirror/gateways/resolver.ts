import { Resolver, lookup as systemLookUp } from "node:dns/promises";
import type { Clock } from "../../kube/clock.ts";
import type { Log } from "../../kube/log.ts";

/** The IP addresses of a host name, and how long they are valid. */
export interface Answer {
  ips: string[];
  ttlMs: number;
}

/** Looks a host name up; rejects where there is no answer. */
export type Lookup = (host: string, signal: AbortSignal) => Promise<Answer>;

/** Names of which a DNS server says nothing, as those of /etc/hosts, are looked at again after this. */
const WITHOUT_TTL_MS = 30_000;
/** However short or long an answer says that it is valid. */
const MIN_TTL_MS = 1_000;
const MAX_TTL_MS = 300_000;
/** After a failure. */
const RETRY_MS = 10_000;
/** Most IP addresses of one name. */
const MAX_IPS = 16;

/**
 * Asks DNS, whose answers say how long they are valid; else the system, which also knows /etc/hosts and search domains.
 *
 * @param servers IP addresses of DNS servers, with or without a port. @default the system's
 */
export async function lookUp(
  host: string,
  signal: AbortSignal,
  servers?: readonly string[],
): Promise<Answer> {
  const resolver = new Resolver({ timeout: 2_000, tries: 2 });
  if (servers) resolver.setServers(servers);
  const cancel = () => resolver.cancel();
  signal.addEventListener("abort", cancel, { once: true });
  try {
    const answers = await Promise.allSettled([
      resolver.resolve4(host, { ttl: true }),
      resolver.resolve6(host, { ttl: true }),
    ]);
    const records = answers.flatMap((answer) => (answer.status === "fulfilled" ? answer.value : []));
    if (records.length > 0) {
      const ttlMs = Math.min(...records.map(({ ttl }) => ttl)) * 1000;
      return { ips: records.map(({ address }) => address), ttlMs };
    }
  } finally {
    signal.removeEventListener("abort", cancel);
  }
  signal.throwIfAborted();
  const found = await systemLookUp(host, { all: true });
  return { ips: found.map(({ address }) => address), ttlMs: WITHOUT_TTL_MS };
}

export interface HostNamesOptions {
  /** @default DNS, then the system */
  lookup?: Lookup;
  clock: Clock;
  log: Log;
  /** The addresses of a name changed, or it is known that they cannot be had. */
  onChange: (host: string) => void;
}

interface Name {
  /** Sorted; `undefined` before the first answer or failure. */
  ips: readonly string[] | undefined;
  failed: boolean;
  stop: AbortController | undefined;
}

/**
 * The IP addresses of host names, looked up again as often as their answers ask for. A name that cannot be looked up keeps
 * the addresses it had.
 */
export class HostNames {
  readonly #options: HostNamesOptions;
  readonly #names = new Map<string, Name>();
  readonly #loops = new Set<Promise<void>>();
  #signal: AbortSignal | undefined;

  constructor(options: HostNamesOptions) {
    this.#options = options;
  }

  /** Look these up and no others. */
  want(hosts: ReadonlySet<string>): void {
    for (const [host, { stop }] of this.#names) {
      if (hosts.has(host)) continue;
      stop?.abort(new Error(`${host} is wanted no longer`));
      this.#names.delete(host);
    }
    for (const host of hosts) {
      if (this.#names.has(host)) continue;
      const name: Name = { ips: undefined, failed: false, stop: undefined };
      this.#names.set(host, name);
      this.#start(host, name);
    }
  }

  /** The addresses of a name: none where it was never found, `undefined` where that is not known yet. */
  of(host: string): readonly string[] | undefined {
    return this.#names.get(host)?.ips;
  }

  /** Look up until `signal` is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    this.#signal = signal;
    for (const [host, name] of this.#names) this.#start(host, name);
    await new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      else signal.addEventListener("abort", () => resolve(), { once: true });
    });
    await Promise.all(this.#loops);
  }

  #start(host: string, name: Name): void {
    if (this.#signal === undefined || this.#signal.aborted) return;
    name.stop = new AbortController();
    const loop = this.#loop(host, name, AbortSignal.any([this.#signal, name.stop.signal]));
    this.#loops.add(loop);
    void loop.finally(() => this.#loops.delete(loop));
  }

  async #loop(host: string, name: Name, signal: AbortSignal): Promise<void> {
    const { lookup = lookUp, clock, log, onChange } = this.#options;
    while (!signal.aborted) {
      let againMs = RETRY_MS;
      let ips = name.ips ?? [];
      try {
        const answer = await lookup(host, signal);
        if (answer.ips.length === 0) throw new Error(`${host} has no address`);
        ips = [...new Set(answer.ips)].sort().slice(0, MAX_IPS);
        againMs = Math.min(MAX_TTL_MS, Math.max(MIN_TTL_MS, answer.ttlMs));
        name.failed = false;
      } catch (error) {
        if (signal.aborted) return;
        if (!name.failed) log.warn("a gateway's host name cannot be looked up", { host, error });
        name.failed = true;
      }
      if (signal.aborted) return;
      const changed = name.ips?.join() !== ips.join() || name.ips === undefined;
      name.ips = ips;
      if (changed) onChange(host);
      await clock.sleep(againMs, signal);
    }
  }
}
