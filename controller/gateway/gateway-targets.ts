import { isIP } from "node:net";
import {
  GATEWAY_PORT,
  type GatewayReference,
  isDnsLabel,
  isDnsName,
  type Link,
  type LinkGatewayStatus,
  linkLabelValue,
  parseDuration,
} from "../../contract/index.ts";
import { keyOf } from "../kube/objects.ts";
import type { GatewayTarget } from "./egress-config.ts";

/** Each of a Link's gateways is a backend, and each address a server with health checks of its own. */
export const MOST_GATEWAYS = 64;
const MOST_ADDRESSES = 16;

/** Where a gateway is reached, by a Link or by what the mirror controller made out. */
type Reached = { addresses: readonly string[]; port: number; identity: string | undefined };

/**
 * What HAProxy must know of a Link's gateways: its own, then those that services of the target choose. What cannot be
 * used is left out and told in `problems`.
 */
export function gatewayTargets(link: Link, problems: string[]): GatewayTarget[] {
  const targets: GatewayTarget[] = [];
  const own = gatewayTarget(link, ownGateway(link));
  if (typeof own === "string") problems.push(`link ${keyOf(link)} cannot be called over: ${own}`);
  else targets.push(own);

  const chosen = (link.status?.gateways ?? []).filter(isChosen);
  if (chosen.length > MOST_GATEWAYS) {
    problems.push(`link ${keyOf(link)} has more than ${MOST_GATEWAYS} gateways: the others are not used`);
  }
  const known = new Set<string>();
  for (const gateway of chosen.slice(0, MOST_GATEWAYS)) {
    const { namespace = "", name = "" } = gateway;
    const key = chosenName(gateway);
    if (known.has(key)) continue;
    known.add(key);
    const target =
      isDnsLabel(namespace) && isDnsLabel(name)
        ? gatewayTarget(link, reachedAt(gateway, gateway.identity), { namespace, name })
        : "it has no name that a Service can have";
    if (typeof target === "string") {
      problems.push(`gateway ${JSON.stringify(key)} of link ${keyOf(link)} cannot be called over: ${target}`);
    } else targets.push(target);
  }
  return targets;
}

/** Whether a gateway is one that services choose, and not the Link's own. */
export function isChosen({ namespace, name }: LinkGatewayStatus): boolean {
  return Boolean(namespace || name);
}

/** `<namespace>/<name>` of a gateway that services choose. */
export function chosenName({ namespace = "", name = "" }: LinkGatewayStatus): string {
  return `${namespace}/${name}`;
}

/** The Link's own gateway: where the mirror controller found it, else where the Link says it is. */
function ownGateway({ spec, status }: Link): Reached {
  const found = status?.gateways?.find(({ namespace, name }) => !namespace && !name);
  if (found !== undefined) return reachedAt(found, spec.gatewayIdentity);
  const { gatewayAddresses: addresses = [], gatewayPort: port = GATEWAY_PORT } = spec;
  return { addresses, port, identity: spec.gatewayIdentity };
}

/** Whether an address is alive, HAProxy finds out by itself. */
function reachedAt({ addresses, port }: LinkGatewayStatus, identity: string | undefined): Reached {
  return { addresses: addresses.slice(0, MOST_ADDRESSES).map(({ address }) => address), port, identity };
}

/** What HAProxy must know of one gateway of a Link, or why it cannot be used. */
function gatewayTarget(
  link: Link,
  { addresses, port, identity }: Reached,
  gateway?: GatewayReference,
): GatewayTarget | string {
  const { probe = {} } = link.spec;
  if (identity === undefined || identity === "") return "it names no gatewayIdentity";
  if (!isDnsName(identity)) return `its gatewayIdentity ${JSON.stringify(identity)} is no DNS name`;
  if (!Number.isInteger(port) || port < 1 || port > 65_535) return `its gatewayPort ${port} is no port`;
  const wrong = addresses.find((address) => !isAddress(address));
  if (wrong !== undefined) {
    return `its gateway address ${JSON.stringify(wrong)} is neither an IP address nor a host name`;
  }
  return {
    link: linkLabelValue(link.metadata),
    ...(gateway && { gateway }),
    addresses: [...new Set(addresses.map((address) => address.toLowerCase()))],
    port,
    identity,
    check: {
      periodMs: probeTime(probe.period, 3000),
      timeoutMs: probeTime(probe.timeout, 5000),
      failures: probe.failureThreshold ?? 3,
    },
  };
}

/** HAProxy takes no address with a zone (`fe80::1%eth0`), and refuses a whole configuration for one. */
function isAddress(text: string): boolean {
  return isIP(text) !== 0 ? !text.includes("%") : isDnsName(text.toLowerCase());
}

/**
 * A time of a probe in milliseconds, half a second to an hour: HAProxy refuses a whole configuration, that of all links,
 * for one time that overflows.
 */
function probeTime(text: string | undefined, otherwise: number): number {
  return Math.min(3_600_000, Math.max(500, parseDuration(text) ?? otherwise));
}
