import type { KubeObject } from "../../controller/kube/objects.ts";
import * as resources from "../../controller/kube/resource.ts";

/** A request as an API server understands it. */
export interface FakeRequest {
  method: string;
  /** With its query. */
  path: string;
  query: URLSearchParams;
  /** Absent: not a resource that is known. */
  resource: resources.Resource | undefined;
  namespace: string | undefined;
  name: string | undefined;
  subresource: string | undefined;
  watch: boolean;
  contentType: string;
  userAgent: string;
  token: string | undefined;
  body: unknown;
}

/** All that a fake API server knows. */
export const RESOURCES: readonly resources.Resource<KubeObject>[] = [
  resources.SERVICES,
  resources.ENDPOINT_SLICES,
  resources.PODS,
  resources.NAMESPACES,
  resources.NODES,
  resources.SECRETS,
  resources.CONFIG_MAPS,
  resources.SERVICE_ACCOUNTS,
  resources.EVENTS,
  resources.RESOURCE_QUOTAS,
  resources.LEASES,
  resources.LINKS,
];

export function understand(
  method: string,
  path: string,
  headers: Record<string, string | string[] | undefined>,
  body: unknown,
): FakeRequest {
  const url = new URL(path, "https://fake");
  const segments = url.pathname.split("/").filter(Boolean).map(decodeURIComponent);
  const group = segments.shift() === "apis" ? segments.shift() : "";
  const version = segments.shift();
  let namespace: string | undefined;
  if (segments[0] === "namespaces" && segments.length > 2) [, namespace] = segments.splice(0, 2);
  const [plural, name, subresource] = segments;
  const resource = RESOURCES.find(
    (each) => each.group === group && each.version === version && each.plural === plural,
  );
  return {
    method,
    path,
    query: url.searchParams,
    resource,
    namespace,
    name,
    subresource,
    watch: url.searchParams.get("watch") === "true",
    contentType: String(headers["content-type"] ?? ""),
    userAgent: String(headers["user-agent"] ?? ""),
    token: /^Bearer (.+)$/.exec(String(headers.authorization ?? ""))?.[1],
    body,
  };
}
