import { isIP } from "node:net";
import type { GatewayReference, Link } from "../../../contract/index.ts";
import { keyOf } from "../../kube/objects.ts";
import { gatewayKey } from "./choice.ts";
import { type GatewayEndpoint, statusOf } from "./endpoint.ts";
import { mayBeCalled } from "./gateway-service.ts";
import { probeSettings } from "./probe.ts";
import type { Liveness, Probes, ProbeTarget } from "./probes.ts";
import type { GatewayAddress } from "./report.ts";
import type { HostNames } from "./resolver.ts";

/** Most IP addresses probed for one Link: those beyond are taken to be alive. */
const MAX_PROBED = 256;

type Ref = GatewayReference | undefined;

/** The addresses of gateways: which IP addresses they are, which are alive, and which are to be probed. */
export class GatewayAddresses {
  readonly #names: Pick<HostNames, "of">;
  readonly #probes: Pick<Probes, "of" | "startingWith">;

  constructor(names: Pick<HostNames, "of">, probes: Pick<Probes, "of" | "startingWith">) {
    this.#names = names;
    this.#probes = probes;
  }

  /** Those of one gateway: the Link's own, where `ref` is `undefined`. */
  of(link: Link, ref: Ref, endpoint: GatewayEndpoint): GatewayAddress[] {
    return endpoint.addresses.map((address) => this.#address(link, ref, endpoint, address));
  }

  /** What to probe for a Link, by `targetKey`. */
  targets(link: Link, all: readonly { ref: Ref; endpoint: GatewayEndpoint }[]): Map<string, ProbeTarget> {
    const targets = new Map<string, ProbeTarget>();
    if (link.spec.probe === undefined) return targets;
    for (const { ref, endpoint } of all) {
      if (endpoint.probePort === undefined) continue;
      const settings = probeSettings(link.spec.probe, endpoint.probePort);
      for (const address of endpoint.addresses) {
        const ips = this.#ipsOf(endpoint, address);
        if (ips === undefined) continue;
        for (const ip of ips.length > 0 ? ips : [""]) {
          if (targets.size >= MAX_PROBED) return targets;
          const alive = this.#isAlive(link, ref, address, ip);
          targets.set(targetKey(ref, address, ip), { ip: ip || undefined, host: address, settings, alive });
        }
      }
    }
    return targets;
  }

  #address(link: Link, ref: Ref, endpoint: GatewayEndpoint, address: string): GatewayAddress {
    const found = this.#ipsOf(endpoint, address);
    const ips = (found ?? []).map((ip) => ({ ip, alive: this.#isAlive(link, ref, address, ip) }));
    const lives = this.#livesOf(link, ref, address, found ?? []);
    const alive = ips.length > 0 ? ips.some((each) => each.alive) : this.#isAlive(link, ref, address, "");
    const probed = link.spec.probe !== undefined && endpoint.probePort !== undefined;
    const undecided =
      found === undefined || (probed ? lives.some((life) => !life?.decided) : !endpoint.known);
    const cause = alive ? undefined : lives.find((life) => life?.cause !== undefined)?.cause;
    return {
      address,
      ips,
      alive,
      ...(cause === undefined ? {} : { cause }),
      ...(undecided ? { undecided } : {}),
    };
  }

  /** The IP addresses of an address; `undefined` where its name was not looked up yet. */
  #ipsOf({ fromTarget }: GatewayEndpoint, address: string): readonly string[] | undefined {
    if (isIP(address) !== 0) return [address];
    const ips = this.#names.of(address);
    // The target's name may lead where its addresses may not.
    return fromTarget ? ips?.filter(mayBeCalled) : ips;
  }

  #livesOf(link: Link, ref: Ref, address: string, ips: readonly string[]): (Liveness | undefined)[] {
    return (ips.length > 0 ? ips : [""]).map((ip) =>
      this.#probes.of(keyOf(link), targetKey(ref, address, ip)),
    );
  }

  /** What its probes say; before, what those of the other addresses of its name do, or the status. Else it is alive. */
  #isAlive(link: Link, ref: Ref, address: string, ip: string): boolean {
    if (link.spec.probe === undefined) return true;
    const own = this.#probes.of(keyOf(link), targetKey(ref, address, ip));
    if (own !== undefined) return own.alive;
    const others = this.#probes.startingWith(keyOf(link), targetKey(ref, address, ""));
    if (others.length > 0) return others.some(({ alive }) => alive);
    return statusOf(link, ref)?.addresses.find((each) => each.address === address)?.alive ?? true;
  }
}

/** What one IP address of a gateway is called among the targets of the probes. */
export function targetKey(ref: Ref, address: string, ip: string): string {
  return `${ref ? gatewayKey(ref) : ""} ${address} ${ip}`;
}
