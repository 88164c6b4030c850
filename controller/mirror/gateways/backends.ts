import type { GatewayReference, Link } from "../../../contract/index.ts";
import type { DataPlane } from "../desired.ts";
import { type Backend, egressAddresses } from "../slices.ts";
import type { SourceCluster } from "../source.ts";
import type { Gateways } from "./gateways.ts";

/** Where calls go, and whether that is known. */
export interface GatewayBackend extends Backend {
  /** The target was not asked yet, or a host name not found yet: slices that exist are better left as they are. */
  pending?: true;
}

/** Where the calls to each Link's mirrors go: to the egress pods, or to the target's gateway. */
export class Backends {
  readonly #source: Pick<SourceCluster, "pods">;
  readonly #gateways: Pick<Gateways, "of">;
  readonly #dataPlane: DataPlane;

  constructor(source: Pick<SourceCluster, "pods">, gateways: Pick<Gateways, "of">, dataPlane: DataPlane) {
    this.#source = source;
    this.#gateways = gateways;
    this.#dataPlane = dataPlane;
  }

  /**
   * Where the calls to a Link's mirrors go now. Without a gateway address they go nowhere.
   *
   * @param ref the gateway that the mirror's service chooses; absent: the Link's own
   */
  of(link: Link, ref?: GatewayReference): GatewayBackend {
    const { addresses, port, identity, alive, known } = this.#gateways.of(link, ref);
    if (addresses.length === 0) return known ? { addresses: [] } : { addresses: [], pending: true };
    if (this.#dataPlane === "standalone") {
      const ips = egressAddresses(this.#source.pods.list());
      return { addresses: ips.map((ip) => ({ ip, ready: alive })) };
    }
    const ips = addresses.flatMap((each) => each.ips);
    const pending = addresses.some((each) => each.ips.length === 0);
    return {
      addresses: ips.map((each) => ({ ip: each.ip, ready: each.alive })),
      port,
      ...(identity === undefined ? {} : { identity }),
      ...(pending ? { pending } : {}),
    };
  }
}
