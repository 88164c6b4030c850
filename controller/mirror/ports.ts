import { createHash } from "node:crypto";

/** First and last port of a range, both in it. */
export interface PortRange {
  readonly first: number;
  readonly last: number;
}

/**
 * Which port of the egress stands for which port of which mirror. A mirror keeps its ports while it is remembered here,
 * whatever happens to the object, so that a mirror deleted by hand comes back where callers' connections expect it.
 *
 * A port is chosen by a hash of what it is for, so that a controller that lost everything chooses alike; the next free one
 * is taken where two meet. A port given back goes to somebody else only when no other is left: an egress that has not
 * heard of the change yet would carry calls to the wrong service.
 */
export class EgressPorts {
  readonly #range: PortRange;
  /** Mirror → service port → egress port. */
  readonly #assigned = new Map<string, Map<number, number>>();
  readonly #owner = new Map<number, string>();
  /** Given back, oldest first, with what they were for. */
  readonly #freed = new Map<number, string>();
  /** Who asked in vain since a port was last given back. */
  readonly #refused = new Set<string>();
  readonly #onFree: (mirror: string) => void;

  /** @param onFree called for each mirror that there were too few for, once some are given back */
  constructor(range: PortRange, onFree: (mirror: string) => void = () => undefined) {
    this.#range = range;
    this.#onFree = onFree;
  }

  /** Take over what a mirror's annotation says, at start. A port that another mirror has is not taken twice. */
  claim(mirror: string, ports: ReadonlyMap<number, number>): void {
    for (const [servicePort, port] of ports) {
      const free = !this.#owner.has(port);
      if (free && this.#contains(port) && !this.#assigned.get(mirror)?.has(servicePort)) {
        this.#take(mirror, servicePort, port);
      }
    }
  }

  /**
   * The egress port of each of a mirror's service ports: those it has, new ones for new service ports; ports of service
   * ports that are gone are given back. `undefined` where the range has too few left: then nothing changes.
   */
  assign(mirror: string, servicePorts: readonly number[]): ReadonlyMap<number, number> | undefined {
    const had = this.#assigned.get(mirror) ?? new Map<number, number>();
    // A target may name a port twice; one that was taken twice could be given back only once.
    const fresh = [...new Set(servicePorts)].filter((servicePort) => !had.has(servicePort));
    const gone = [...had.keys()].filter((servicePort) => !servicePorts.includes(servicePort));
    const { used, size } = this.usage;
    if (fresh.length > size - used + gone.length) {
      this.#refused.add(mirror);
      return undefined;
    }
    for (const servicePort of gone) this.#giveBack(mirror, servicePort);
    for (const servicePort of fresh)
      this.#take(mirror, servicePort, this.#choose(purpose(mirror, servicePort)));
    this.#refused.delete(mirror);
    if (gone.length > fresh.length) this.#tellRefused();
    return new Map(this.#assigned.get(mirror));
  }

  /** What a mirror has. */
  of(mirror: string): ReadonlyMap<number, number> {
    return new Map(this.#assigned.get(mirror));
  }

  /** Give back all that a mirror has: it is gone, and not to come back. */
  release(mirror: string): void {
    this.#refused.delete(mirror);
    const had = [...this.of(mirror).keys()];
    for (const servicePort of had) this.#giveBack(mirror, servicePort);
    if (had.length > 0) this.#tellRefused();
  }

  /** How many ports are in use, of how many. */
  get usage(): { used: number; size: number } {
    return { used: this.#owner.size, size: this.#range.last - this.#range.first + 1 };
  }

  #choose(wanted: string): number {
    const size = this.#range.last - this.#range.first + 1;
    const start = createHash("sha256").update(wanted).digest().readUInt32BE(0) % size;
    for (let step = 0; step < size; step++) {
      const port = this.#range.first + ((start + step) % size);
      const last = this.#freed.get(port);
      if (!this.#owner.has(port) && (last === undefined || last === wanted)) return port;
    }
    const [oldest] = this.#freed.keys();
    if (oldest === undefined) throw new Error("assign() lets nobody choose where no port is left");
    return oldest;
  }

  #take(mirror: string, servicePort: number, port: number): void {
    const ports = this.#assigned.get(mirror) ?? new Map<number, number>();
    ports.set(servicePort, port);
    this.#assigned.set(mirror, ports);
    this.#owner.set(port, purpose(mirror, servicePort));
    this.#freed.delete(port);
  }

  #giveBack(mirror: string, servicePort: number): void {
    const ports = this.#assigned.get(mirror);
    const port = ports?.get(servicePort);
    if (ports === undefined || port === undefined) return;
    ports.delete(servicePort);
    if (ports.size === 0) this.#assigned.delete(mirror);
    this.#owner.delete(port);
    this.#freed.set(port, purpose(mirror, servicePort));
  }

  /** Those who are refused again are told again. */
  #tellRefused(): void {
    const refused = [...this.#refused];
    this.#refused.clear();
    for (const mirror of refused) this.#onFree(mirror);
  }

  #contains(port: number): boolean {
    return port >= this.#range.first && port <= this.#range.last;
  }
}

function purpose(mirror: string, servicePort: number): string {
  return `${mirror}:${servicePort}`;
}
