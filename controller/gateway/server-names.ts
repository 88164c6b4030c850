import type { Route } from "../../contract/index.ts";
import { routeServerName } from "../../contract/index.ts";
import type { EndpointSlice } from "../kube/objects.ts";

/** Of every slice: server names by gateway identity, port and host. */
const known = new WeakMap<EndpointSlice, Map<string, string>>();

/**
 * `routeServerName` of a host in a slice, remembered for as long as the slice is there: of a service with thousands of
 * hosts, a change concerns one slice.
 */
export function hostServerName(slice: EndpointSlice, route: Route, identity: string): string {
  const names = known.get(slice) ?? new Map<string, string>();
  known.set(slice, names);
  const key = `${identity}|${route.port}|${route.hostname ?? ""}`;
  const name = names.get(key) ?? routeServerName(route, identity);
  names.set(key, name);
  return name;
}
