import { type Route, routeServerName } from "../../contract/index.ts";

/** Of every owner: server names by gateway identity, port and host. */
const known = new WeakMap<object, Map<string, string>>();

/**
 * `routeServerName`, remembered for as long as `owner` is there: a picture is drawn anew after every change, and nearly
 * all of its objects are those of the one before. An owner must always ask for the same service.
 */
export function serverNameFor(owner: object, route: Route, identity: string): string {
  const names = known.get(owner) ?? new Map<string, string>();
  known.set(owner, names);
  const key = `${identity}|${route.port}|${route.hostname ?? ""}`;
  const name = names.get(key) ?? routeServerName(route, identity);
  names.set(key, name);
  return name;
}
