import type { KubeObject, Namespace, ResourceQuota } from "../../../controller/kube/objects.ts";
import { NAMESPACES, RESOURCE_QUOTAS, SERVICES } from "../../../controller/kube/resource.ts";
import type { FakeObjects } from "../fake-api-objects.ts";
import { RESOURCES } from "../fake-api-request.ts";
import { activeLinks, claims, verdictOf, type Worlds, wantedBy } from "./model.ts";
import { type ClusterName, OWN_NAMESPACE, PROTECTED } from "./scene.ts";

/*
 * Namespaces that the controller makes: which of them are wanted, and what is in them, worked out from the objects alone.
 */

/** What stands in every namespace. */
export const STANDARD = { ConfigMap: "kube-root-ca.crt", ServiceAccount: "default" } as const;

const CREATED_BY = "isthmus.dev/created-by";

/** Whether the label says that the controller made a namespace. */
export function isMade({ metadata: { labels = {} } }: KubeObject): boolean {
  return labels[CREATED_BY] === OWN_NAMESPACE;
}

export function isOurQuota({ metadata: { name, labels = {} } }: KubeObject): boolean {
  const isManaged = labels["app.kubernetes.io/managed-by"] === "isthmus";
  return name === "isthmus-emptiness" && isManaged && labels[CREATED_BY] === OWN_NAMESPACE;
}

/** What would be lost with a namespace: all that is in it and not in every other. Nobody minds Events. */
export function contentsOf(source: FakeObjects, namespace: string): KubeObject[] {
  return RESOURCES.filter(({ namespaced, plural }) => namespaced && plural !== "events")
    .flatMap((resource) => source.list(resource, namespace))
    .filter((each) => !isOurQuota(each) && !isStandard(each));
}

function isStandard({ kind = "", metadata: { name } }: KubeObject): boolean {
  return (STANDARD as Record<string, string>)[kind] === name;
}

/** Whether the target of a Link exports a service in a namespace, be it one that can be mirrored or not. */
export function isWanted(worlds: Worlds, namespace: string): boolean {
  return activeLinks(worlds.source).some((link) =>
    worlds.targets[link.spec.targetClusterName as ClusterName]
      .list(SERVICES, namespace)
      .map(({ metadata }) => wantedBy(link, metadata.labels))
      .some(({ mirrored, federated }) => mirrored || federated),
  );
}

/** Whether what is wanted waits for a namespace that is to be made. */
export function isAwaited(worlds: Worlds, key: string): boolean {
  const [name = ""] = key.split("/");
  if (!worlds.createsNamespaces || worlds.source.find(NAMESPACES, { name })) return false;
  const verdict = verdictOf(worlds, key, claims(worlds).get(key) ?? []);
  return verdict.kind === "refused" && verdict.reason === "MissingNamespace";
}

/** What is different at rest: namespaces that should be there, or gone, and quotas that are left. */
export function namespaceDifferences(worlds: Worlds): string[] {
  const { source } = worlds;
  const awaited = [...claims(worlds).keys()].filter((key) => isAwaited(worlds, key));
  const idle = (source.list(NAMESPACES) as Namespace[])
    .filter((each) => worlds.createsNamespaces && isMade(each) && !PROTECTED.includes(each.metadata.name))
    .map(({ metadata }) => metadata.name)
    .filter((name) => !isWanted(worlds, name) && contentsOf(source, name).length === 0);
  const quotas = (source.list(RESOURCE_QUOTAS) as ResourceQuota[]).filter(isOurQuota);
  return [
    ...awaited.map((key) => `the namespace of ${key} is missing`),
    ...idle.map((name) => `namespace ${name} should be gone: it is empty, and nobody wants it`),
    ...quotas.map(({ metadata }) => `a quota is left in namespace ${metadata.namespace}`),
  ];
}
