import { routeServerName } from "../../contract/index.ts";
import type { EndpointSlice, Service } from "../kube/objects.ts";
import { hostRoutes, isHeadless } from "./host-routes.ts";
import { isMapToken } from "./picture.ts";
import { tcpPorts } from "./ports.ts";
import { hostServerName } from "./server-names.ts";

/** What a Service may be called by, and where that leads. */
export interface Door {
  /** With a caller before it, a key of the routes map. */
  serverName: string;
  /**
   * Value of the routes map: `<address>/<port>/<namespace>/<service>:<port>`, or `…/<host>.<service>:<port>`, where the
   * last part is for the log.
   */
  to: string;
}

const known = new WeakMap<Service, { identity: string; slices: readonly EndpointSlice[]; doors: Door[] }>();

/**
 * The doors of a Service: one for each TCP port; of a headless Service, one for each port of each host in its slices.
 * Remembered as long as these are the same objects: after a change, nearly all are.
 */
export function doorsOf(service: Service, slices: readonly EndpointSlice[], identity: string): Door[] {
  const found = known.get(service);
  if (found && found.identity === identity && isSameList(found.slices, slices)) return found.doors;
  const doors = [
    ...(isHeadless(service) ? hostDoors(service, slices, identity) : serviceDoors(service, identity)),
  ].filter(({ serverName, to }) => isMapToken(serverName) && isMapToken(to));
  known.set(service, { identity, slices, doors });
  return doors;
}

function* serviceDoors(service: Service, identity: string): Generator<Door> {
  const { name, namespace = "" } = service.metadata;
  for (const { port } of tcpPorts(service.spec?.ports)) {
    const serverName = routeServerName({ namespace, service: name, port }, identity);
    yield { serverName, to: `${service.spec?.clusterIP}/${port}/${namespace}/${name}:${port}` };
  }
}

function* hostDoors(service: Service, slices: readonly EndpointSlice[], identity: string): Generator<Door> {
  const { name, namespace = "" } = service.metadata;
  for (const { host, port, address, targetPort, slice } of hostRoutes(service, slices)) {
    const route = { namespace, service: name, port, hostname: host };
    const to = `${address}/${targetPort}/${namespace}/${host}.${name}:${port}`;
    yield { serverName: hostServerName(slice, route, identity), to };
  }
}

function isSameList<T>(a: readonly T[], b: readonly T[]): boolean {
  return a.length === b.length && a.every((item, index) => item === b[index]);
}
