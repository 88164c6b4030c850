import { RESOURCES } from "../fake-api-request.ts";

/** What an API server says of its types, in one document for all versions of all groups; `/api` has those of the core group. */
export function discover(path: "/api" | "/apis"): unknown {
  const resources = RESOURCES.filter(({ group }) => (group === "") === (path === "/api"));
  const groups = [...new Set(resources.map(({ group }) => group))];
  const typesOf = (group: string) =>
    resources
      .filter((each) => each.group === group)
      .map(({ plural, namespaced }) => ({
        resource: plural,
        scope: namespaced ? "Namespaced" : "Cluster",
        verbs: ["create", "delete", "get", "list", "watch"],
      }));
  return {
    kind: "APIGroupDiscoveryList",
    items: groups.map((name) => ({
      metadata: { name },
      versions: [{ freshness: "Current", resources: typesOf(name) }],
    })),
  };
}
