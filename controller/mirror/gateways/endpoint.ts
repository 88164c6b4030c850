import {
  GATEWAY_PORT,
  type GatewayReference,
  type Link,
  type LinkGatewayStatus,
  PROBE_PORT,
} from "../../../contract/index.ts";
import type { DataPlane } from "../desired.ts";
import { gatewayKey, isProblem } from "./choice.ts";
import { chosenIdentity, readGatewayService } from "./gateway-service.ts";
import { type FoundService, MAX_GATEWAYS } from "./gateway-services.ts";

/** Where a gateway is reached, as far as that is known. */
export interface GatewayEndpoint {
  /** IP addresses or host names. */
  addresses: readonly string[];
  port: number;
  /** Absent where it cannot be probed. */
  probePort?: number;
  identity?: string;
  /** The addresses are the target's word, and so are the IP addresses behind its host names. */
  fromTarget: boolean;
  /**
   * Whether this is all there is to know for now. If not, the target was not asked yet: where there are addresses they
   * are those of the status, and where there are none, what exists is to be left as it is.
   */
  known: boolean;
  /** What is wrong, for people. A Link's own gateway may have addresses all the same: those of its spec. */
  problem?: string;
}

/** The Link's own gateway. Its identity is never taken from the target. */
export function ownEndpoint(link: Link, found: FoundService): GatewayEndpoint {
  const { gateway, gatewayAddresses = [], gatewayPort = GATEWAY_PORT, gatewayIdentity, probe } = link.spec;
  const identity = gatewayIdentity === undefined ? {} : { identity: gatewayIdentity };
  const given: GatewayEndpoint = {
    addresses: gatewayAddresses,
    port: gatewayPort,
    probePort: probe?.port ?? PROBE_PORT,
    ...identity,
    fromTarget: false,
    known: true,
  };
  if (gateway === undefined) return given;
  if (found === "unknown") return remembered(link) ?? { ...given, known: false };
  const where = `Service ${gatewayKey(gateway)}`;
  if (found === "too many") return { ...given, problem: tooMany() };
  if (found === undefined) {
    return { ...given, problem: `the target has no ${where}, which spec.gateway names` };
  }
  const said = readGatewayService(found);
  if (isProblem(said)) return { ...given, problem: said.problem };
  const { addresses, port, probePort = given.probePort } = said;
  return {
    addresses,
    port,
    ...(probePort === undefined ? {} : { probePort }),
    ...identity,
    fromTarget: true,
    known: true,
  };
}

/** A gateway that exported services choose: all that is known of it is the target's word. */
export function chosenEndpoint(
  link: Link,
  ref: GatewayReference,
  found: FoundService,
  dataPlane: DataPlane,
): GatewayEndpoint {
  const none = { addresses: [], port: GATEWAY_PORT, fromTarget: true, known: true };
  const name = `the gateway ${gatewayKey(ref)}`;
  if (found === "unknown") {
    const last = statusOf(link, ref);
    const identity = chosenIdentity(last?.identity, link.spec.gatewayIdentity, dataPlane);
    if (last === undefined || isProblem(identity)) {
      return { ...none, known: false, problem: `${name} is not known yet` };
    }
    return { ...none, addresses: addressesOf(last), port: last.port, ...identity, known: false };
  }
  if (found === "too many") return { ...none, problem: `${name} is not looked at: ${tooMany()}` };
  if (found === undefined)
    return { ...none, problem: `there is no Service ${gatewayKey(ref)} in the target` };
  const said = readGatewayService(found);
  if (isProblem(said)) return { ...none, problem: said.problem };
  const identity = chosenIdentity(said.identity, link.spec.gatewayIdentity, dataPlane);
  if (isProblem(identity)) {
    return { ...none, problem: `${name} cannot be used: ${identity.problem}` };
  }
  const { addresses, port, probePort } = said;
  return { ...none, addresses, port, ...(probePort === undefined ? {} : { probePort }), ...identity };
}

/** What the status says of a gateway: the Link's own, or one that services chose. */
export function statusOf(link: Link, ref: GatewayReference | undefined): LinkGatewayStatus | undefined {
  return link.status?.gateways?.find(
    ({ namespace, name }) => namespace === ref?.namespace && name === ref?.name,
  );
}

/**
 * Its own gateway as the status has it, while the target cannot be asked: a controller that starts over must not fall back
 * to addresses that were left long ago. Unless the Link was changed since, which may be why.
 */
function remembered(link: Link): GatewayEndpoint | undefined {
  const last = statusOf(link, undefined);
  if (last === undefined || last.addresses.length === 0) return undefined;
  if (link.status?.observedGeneration !== link.metadata.generation) return undefined;
  const { gatewayAddresses = [], gatewayPort = GATEWAY_PORT, gatewayIdentity, probe } = link.spec;
  const addresses = addressesOf(last);
  // Where its Service has another port for probes, that is not known yet: better no probe than one of a wrong port.
  const same = addresses.join() === gatewayAddresses.join() && last.port === gatewayPort;
  return {
    addresses,
    port: last.port,
    ...(same ? { probePort: probe?.port ?? PROBE_PORT } : {}),
    ...(gatewayIdentity === undefined ? {} : { identity: gatewayIdentity }),
    fromTarget: !same,
    known: false,
  };
}

function addressesOf(status: LinkGatewayStatus): string[] {
  return status.addresses.map(({ address }) => address);
}

function tooMany(): string {
  return `more than ${MAX_GATEWAYS} gateways are chosen by the target's exported services`;
}
