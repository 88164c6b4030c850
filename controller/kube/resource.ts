import { LINK_GROUP, LINK_KIND, LINK_PLURAL, LINK_VERSION } from "../../contract/index.ts";
import type {
  ConfigMap,
  EndpointSlice,
  Event,
  KubeObject,
  Lease,
  Link,
  Namespace,
  Node,
  Pod,
  ResourceQuota,
  Secret,
  Service,
  ServiceAccount,
} from "./objects.ts";

/** A kind of object and where an API server keeps it. `T` is only for the compiler: it types what comes back. */
export interface Resource<T extends KubeObject = KubeObject> {
  /** API group; empty for the core group. */
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly kind: string;
  readonly namespaced: boolean;
  /** Never set: carries `T`. */
  readonly _type?: T;
}

function resource<T extends KubeObject>(
  groupVersion: string,
  plural: string,
  kind: string,
  namespaced = true,
): Resource<T> {
  const slash = groupVersion.indexOf("/");
  return {
    group: slash < 0 ? "" : groupVersion.slice(0, slash),
    version: groupVersion.slice(slash + 1),
    plural,
    kind,
    namespaced,
  };
}

export const SERVICES = resource<Service>("v1", "services", "Service");
export const ENDPOINT_SLICES = resource<EndpointSlice>(
  "discovery.k8s.io/v1",
  "endpointslices",
  "EndpointSlice",
);
export const PODS = resource<Pod>("v1", "pods", "Pod");
export const NAMESPACES = resource<Namespace>("v1", "namespaces", "Namespace", false);
export const NODES = resource<Node>("v1", "nodes", "Node", false);
export const SECRETS = resource<Secret>("v1", "secrets", "Secret");
export const CONFIG_MAPS = resource<ConfigMap>("v1", "configmaps", "ConfigMap");
export const RESOURCE_QUOTAS = resource<ResourceQuota>("v1", "resourcequotas", "ResourceQuota");
export const SERVICE_ACCOUNTS = resource<ServiceAccount>("v1", "serviceaccounts", "ServiceAccount");
export const EVENTS = resource<Event>("v1", "events", "Event");
export const LEASES = resource<Lease>("coordination.k8s.io/v1", "leases", "Lease");
export const LINKS = resource<Link>(`${LINK_GROUP}/${LINK_VERSION}`, LINK_PLURAL, LINK_KIND);

/** `v1`, `discovery.k8s.io/v1`: what objects of this resource carry as `apiVersion`. */
export function apiVersion(resource: Resource): string {
  return resource.group === "" ? resource.version : `${resource.group}/${resource.version}`;
}

/** A collection, an object in it, or a part of an object. */
export interface Place {
  namespace?: string | undefined;
  name?: string | undefined;
  subresource?: string | undefined;
}

/**
 * The path of a resource's collection, of one object, or of a part of one (`status`, `token`). Without a namespace the
 * collection is that of all namespaces.
 */
export function path(resource: Resource, where: Place = {}): string {
  const segments = resource.group === "" ? ["api"] : ["apis", resource.group];
  segments.push(resource.version);
  if (resource.namespaced && where.namespace !== undefined) segments.push("namespaces", where.namespace);
  segments.push(resource.plural);
  if (where.name !== undefined) {
    if (where.name === "") throw new Error(`a ${resource.kind} without a name has no path`);
    if (resource.namespaced && where.namespace === undefined) {
      throw new Error(`${resource.kind} "${where.name}" has no path without its namespace`);
    }
    segments.push(where.name);
    if (where.subresource !== undefined) segments.push(where.subresource);
  }
  return `/${segments.map(encodeURIComponent).join("/")}`;
}

/** What follows a path: `?limit=500&watch=true`, or nothing. Absent and empty values are left out. */
export function queryString(query: Record<string, string | number | boolean | undefined>): string {
  const pairs = Object.entries(query).filter(([, value]) => value !== undefined && value !== "");
  if (pairs.length === 0) return "";
  return `?${new URLSearchParams(Object.fromEntries(pairs.map(([key, value]) => [key, String(value)])))}`;
}
