import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import type { Link } from "../../contract/index.ts";
import type { Clock } from "../kube/clock.ts";
import type { Log } from "../kube/log.ts";
import type { DataPlane } from "./desired.ts";
import { type Backend, egressAddresses } from "./slices.ts";
import type { SourceCluster } from "./source.ts";

/** All IP addresses of a host name. */
export type Resolve = (host: string) => Promise<string[]>;

const systemResolve: Resolve = async (host) =>
  (await lookup(host, { all: true })).map(({ address }) => address);

/** Load balancers change their addresses; their names are commonly valid for a minute. */
const RESOLVE_EVERY_MS = 30_000;

export interface BackendsOptions {
  source: SourceCluster;
  dataPlane: DataPlane;
  clock: Clock;
  log: Log;
  /** The addresses behind the gateways of these targets changed. */
  onChange: (link: Link) => void;
  /** @default the system's resolver */
  resolve?: Resolve;
}

/** Where the calls to each Link's mirrors go: to the egress pods, or to the target's gateway. */
export class Backends {
  readonly #options: BackendsOptions;
  readonly #resolved = new Map<string, string[]>();
  readonly #failed = new Set<string>();

  constructor(options: BackendsOptions) {
    this.#options = options;
  }

  /** Where the calls to a Link's mirrors go now. Without a gateway address they go nowhere. */
  of(link: Link): Backend {
    const { gatewayAddresses = [], gatewayPort = 4143, gatewayIdentity } = link.spec;
    const ready = (ips: readonly string[]) => ips.map((ip) => ({ ip, ready: true }));
    if (gatewayAddresses.length === 0) return { addresses: [] };
    if (this.#options.dataPlane === "standalone") {
      return { addresses: ready(egressAddresses(this.#options.source.pods.list())) };
    }
    const ips = gatewayAddresses.flatMap((host) => (isIP(host) ? [host] : (this.#resolved.get(host) ?? [])));
    return {
      addresses: ready(ips),
      port: gatewayPort,
      ...(gatewayIdentity === undefined ? {} : { identity: gatewayIdentity }),
    };
  }

  /** Look gateways' host names up again and again, until `signal` is aborted. The egress does so itself. */
  async run(signal: AbortSignal): Promise<void> {
    if (this.#options.dataPlane === "standalone") return;
    while (!signal.aborted) {
      await this.refresh();
      await this.#options.clock.sleep(RESOLVE_EVERY_MS, signal);
    }
  }

  /** Look the host names of all gateways up now. A name that cannot be looked up keeps its last addresses. */
  async refresh(): Promise<void> {
    const links = this.#options.source.links.list();
    const hosts = new Set(
      links.flatMap((link) => (link.spec.gatewayAddresses ?? []).filter((each) => !isIP(each))),
    );
    for (const host of this.#resolved.keys()) if (!hosts.has(host)) this.#resolved.delete(host);
    const changed = new Set<string>();
    await Promise.all(
      [...hosts].map(async (host) => {
        if (await this.#lookUp(host)) changed.add(host);
      }),
    );
    for (const link of links) {
      if (link.spec.gatewayAddresses?.some((host) => changed.has(host))) this.#options.onChange(link);
    }
  }

  async #lookUp(host: string): Promise<boolean> {
    try {
      const addresses = (await (this.#options.resolve ?? systemResolve)(host)).sort();
      this.#failed.delete(host);
      const before = this.#resolved.get(host);
      this.#resolved.set(host, addresses);
      return before?.join() !== addresses.join();
    } catch (error) {
      if (!this.#failed.has(host))
        this.#options.log.warn("a gateway's host name cannot be looked up", { host, error });
      this.#failed.add(host);
      return false;
    }
  }
}
