import { isDeepStrictEqual } from "node:util";
import {
  type Link,
  linkLabelValue,
  MANAGED_BY_LABEL,
  MANAGER,
  MIRRORED_LABEL,
  routeServerName,
} from "../../contract/index.ts";
import { keyOf, type Service } from "../kube/objects.ts";
import {
  backendOf,
  type EgressSettings,
  egressConfig,
  type GatewayTarget,
  gatewayBackend,
} from "./egress-config.ts";
import { gatewayTargets } from "./gateway-targets.ts";
import { type Crossing, crossingsOf } from "./mirror-crossings.ts";
import { isMapToken, type Picture } from "./picture.ts";

export interface EgressInput {
  settings: Omit<EgressSettings, "targets">;
  /** Services of the whole cluster; those that are not ours are passed over. */
  services: readonly Service[];
  /** Links of the namespace of Isthmus. */
  links: readonly Link[];
  /** The same with the gateways that HAProxy is to be told of. @default those of `links` */
  followed?: readonly Link[];
}

/** Which Services an egress must know, as a label selector: mirrors, and federated Services. */
export const MIRROR_SELECTOR = `${MIRRORED_LABEL}=true,${MANAGED_BY_LABEL}=${MANAGER}`;

/** The ways out that there are: every Link, and of each gateway that can be used its backend and what it must be. */
interface Ways {
  links: Set<string>;
  targets: Map<string, GatewayTarget>;
}

/** What an egress should carry, and where to. */
export function egressPicture({ settings, services, links, followed = links }: EgressInput): Picture {
  const problems: string[] = [];
  const inUse = new Map(followed.map((link) => [keyOf(link), link]));
  const backends = new Map<string, GatewayTarget>();
  const ways: Ways = { links: new Set(), targets: new Map() };
  for (const link of links) {
    const known = gatewayTargets(link, problems);
    const old = inUse.get(keyOf(link)) ?? link;
    // What is wrong with old ones was told when they were known.
    const told = old === link ? known : gatewayTargets(old, []);
    if (!isDeepStrictEqual(told, known)) {
      problems.push(`the gateways of link ${keyOf(link)} change too often: they are followed later`);
    }
    for (const target of told) backends.set(backendOf(target), target);
    ways.links.add(linkLabelValue(link.metadata));
    // Where there is a backend, what it leads to is what counts: another identity is not known there.
    for (const target of known)
      ways.targets.set(backendOf(target), backends.get(backendOf(target)) ?? target);
  }
  return {
    config: egressConfig({ ...settings, targets: [...backends.values()] }),
    maps: [
      {
        file: settings.files.routes,
        entries: routesOf(services, ways, settings.ports, problems),
        backend: (value) => value.slice(0, value.indexOf("/")),
        subject: subjectOf,
      },
    ],
    problems,
  };
}

/**
 * What an entry is for, whichever gateway it leads through: the link, and the first label of the server name, which stands
 * for a service of the target, its port and its host.
 */
function subjectOf(value: string): string {
  const [backend = "", serverName = ""] = value.split("/");
  return `${backend.split(":")[0]} ${serverName.split(".")[0]}`;
}

/**
 * Entries of the routes map. Key: the local port. Value: `<backend>/<server name>/<namespace>/<mirror>:<port>`, where
 * the last part is for the log. Where two mirrors claim a port, the older one has it: nobody can take another's calls by
 * writing an annotation.
 */
function routesOf(
  services: readonly Service[],
  ways: Ways,
  range: { first: number; last: number },
  problems: string[],
): Map<string, string> {
  const routes = new Map<string, string>();
  const owners = new Map<string, string>();
  for (const mirror of services.filter(isOurs).sort(byAge)) {
    const name = keyOf(mirror);
    for (const crossing of crossingsOf(mirror)) {
      const { subject, link, gateway, route } = crossing;
      const target = ways.targets.get(gatewayBackend(link, gateway));
      if (target === undefined || route.service === "") {
        problems.push(`${subject} cannot be called: ${whyNot(crossing, ways)}`);
        continue;
      }
      for (const { egressPort, key, value } of claimsOf(mirror, crossing, target.identity)) {
        const owner = owners.get(key);
        if (owner !== undefined) {
          problems.push(`${subject} claims egress port ${key}, which ${owner} has`);
        } else if (egressPort < range.first || egressPort > range.last) {
          problems.push(`${subject} claims egress port ${key}, outside ${range.first}–${range.last}`);
        } else if (!isMapToken(value)) {
          problems.push(`${subject} has a name that cannot be routed`);
        } else {
          owners.set(key, name);
          routes.set(key, value);
        }
      }
    }
  }
  return routes;
}

/** What a crossing would have in the map. */
interface Claim {
  egressPort: number;
  key: string;
  value: string;
}

const known = new WeakMap<Crossing, { identity: string; claims: Claim[] }>();

/** Remembered as long as the crossing is: after a change, nearly all are those of before. */
function claimsOf(mirror: Service, crossing: Crossing, identity: string): Claim[] {
  const found = known.get(crossing);
  if (found?.identity === identity) return found.claims;
  const { link, gateway, route, ports } = crossing;
  const claims = [...ports].map(([port, egressPort]) => {
    const serverName = routeServerName({ ...route, port }, identity);
    const value = `${gatewayBackend(link, gateway)}/${serverName}/${keyOf(mirror)}:${port}`;
    return { egressPort, key: String(egressPort), value };
  });
  known.set(crossing, { identity, claims });
  return claims;
}

function whyNot({ link, gateway, route }: Crossing, { links }: Ways): string {
  if (route.service === "") return "it does not say of which service it is the mirror";
  if (!links.has(link)) return "its link is not there";
  if (gateway === undefined) return "its link cannot be called over";
  const name = JSON.stringify(`${gateway.namespace}/${gateway.name}`);
  return `the status of its link does not say how its gateway ${name} is reached`;
}

/** A mirror of ours, or a federated Service. */
function isOurs({ metadata: { labels = {}, deletionTimestamp } }: Service): boolean {
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
