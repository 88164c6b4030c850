import { isIP } from "node:net";
import {
  EGRESS_PORTS_ANNOTATION,
  GATEWAY_PORT,
  isDnsName,
  LINK_LABEL,
  type Link,
  linkLabelValue,
  MANAGED_BY_LABEL,
  MANAGER,
  MIRRORED_LABEL,
  parseDuration,
  parseEgressPorts,
  REMOTE_SERVICE_ANNOTATION,
} from "../../contract/index.ts";
import { keyOf, type Service } from "../kube/objects.ts";
import { type EgressSettings, egressConfig, type LinkTarget, linkBackend } from "./egress-config.ts";
import { isMapToken, type Picture } from "./picture.ts";
import { serverNameFor } from "./server-names.ts";

export interface EgressInput {
  settings: Omit<EgressSettings, "links">;
  /** Services of the whole cluster; those that are not our mirrors are passed over. */
  services: readonly Service[];
  /** Links of the namespace of Isthmus. */
  links: readonly Link[];
}

/** Which Services an egress must know, as a label selector. */
export const MIRROR_SELECTOR = `${MIRRORED_LABEL}=true,${MANAGED_BY_LABEL}=${MANAGER}`;

/** What an egress should carry, and where to. */
export function egressPicture({ settings, services, links }: EgressInput): Picture {
  const problems: string[] = [];
  const targets = new Map<string, LinkTarget>();
  for (const link of links) {
    const target = linkTarget(link);
    if (typeof target === "string") problems.push(`link ${keyOf(link)} cannot be called over: ${target}`);
    else targets.set(target.link, target);
  }
  return {
    config: egressConfig({ ...settings, links: [...targets.values()] }),
    maps: [
      {
        file: settings.files.routes,
        entries: routesOf(services, targets, settings.ports, problems),
        backend: (value) => value.slice(0, value.indexOf("/")),
      },
    ],
    problems,
  };
}

/** What HAProxy must know of a Link, or why it cannot be used. */
export function linkTarget(link: Link): LinkTarget | string {
  const { gatewayIdentity, gatewayPort = GATEWAY_PORT, gatewayAddresses = [], probe = {} } = link.spec;
  if (gatewayIdentity === undefined || gatewayIdentity === "") return "it names no gatewayIdentity";
  if (!isDnsName(gatewayIdentity))
    return `its gatewayIdentity ${JSON.stringify(gatewayIdentity)} is no DNS name`;
  if (!Number.isInteger(gatewayPort) || gatewayPort < 1 || gatewayPort > 65_535) {
    return `its gatewayPort ${gatewayPort} is no port`;
  }
  const wrong = gatewayAddresses.find((address) => isIP(address) === 0 && !isDnsName(address.toLowerCase()));
  if (wrong !== undefined) {
    return `its gateway address ${JSON.stringify(wrong)} is neither an IP address nor a host name`;
  }
  return {
    link: linkLabelValue(link.metadata),
    addresses: [...new Set(gatewayAddresses.map((address) => address.toLowerCase()))],
    port: gatewayPort,
    identity: gatewayIdentity,
    check: {
      periodMs: probeTime(probe.period, 3000),
      timeoutMs: probeTime(probe.timeout, 5000),
      failures: probe.failureThreshold ?? 3,
    },
  };
}

/**
 * A time of a probe in milliseconds, half a second to an hour: HAProxy refuses a whole configuration, that of all links,
 * for one time that overflows.
 */
function probeTime(text: string | undefined, otherwise: number): number {
  return Math.min(3_600_000, Math.max(500, parseDuration(text) ?? otherwise));
}

/**
 * Entries of the routes map. Key: the local port. Value: `<backend>/<server name>/<namespace>/<mirror>:<port>`, where
 * the last part is for the log. Where two mirrors claim a port, the older one has it: nobody can take another's calls by
 * writing an annotation.
 */
function routesOf(
  services: readonly Service[],
  targets: ReadonlyMap<string, LinkTarget>,
  range: { first: number; last: number },
  problems: string[],
): Map<string, string> {
  const routes = new Map<string, string>();
  const owners = new Map<string, string>();
  for (const mirror of services.filter(isMirror).sort(byAge)) {
    const name = keyOf(mirror);
    const target = targets.get(mirror.metadata.labels?.[LINK_LABEL] ?? "");
    const [namespace = "", service = ""] =
      mirror.metadata.annotations?.[REMOTE_SERVICE_ANNOTATION]?.split("/") ?? [];
    if (target === undefined || service === "") {
      problems.push(
        `mirror ${name} cannot be called: ${service === "" ? "it does not say of which service it is the mirror" : "its link is not there"}`,
      );
      continue;
    }
    for (const [port, egressPort] of parseEgressPorts(
      mirror.metadata.annotations?.[EGRESS_PORTS_ANNOTATION],
    )) {
      const key = String(egressPort);
      const value = `${linkBackend(target.link)}/${serverNameFor(mirror, { namespace, service, port }, target.identity)}/${name}:${port}`;
      const owner = owners.get(key);
      if (owner !== undefined) {
        problems.push(`mirror ${name} claims egress port ${key}, which ${owner} has`);
      } else if (egressPort < range.first || egressPort > range.last) {
        problems.push(`mirror ${name} claims egress port ${key}, outside ${range.first}–${range.last}`);
      } else if (!isMapToken(value)) {
        problems.push(`mirror ${name} has a name that cannot be routed`);
      } else {
        owners.set(key, name);
        routes.set(key, value);
      }
    }
  }
  return routes;
}

function isMirror({ metadata: { labels = {}, deletionTimestamp } }: Service): boolean {
  return (
    labels[MIRRORED_LABEL] === "true" &&
    labels[MANAGED_BY_LABEL] === MANAGER &&
    deletionTimestamp === undefined
  );
}

function byAge(a: Service, b: Service): number {
  const [left, right] = [a.metadata.creationTimestamp ?? "", b.metadata.creationTimestamp ?? ""];
  if (left !== right) return left < right ? -1 : 1;
  return keyOf(a) < keyOf(b) ? -1 : 1;
}
