import type { KubeClient } from "../../kube/client.ts";
import { KubeError } from "../../kube/errors.ts";

/** What objects a namespace of an API server can hold. */
export interface ApiTypes {
  /** `secrets`, `deployments.apps`: sorted. */
  types: string[];
  /** Groups (or versions of groups) whose types cannot be known now. */
  unknown: string[];
}

/** One version of an API group. */
export interface ApiVersion {
  /** Empty for the core group. */
  group: string;
  /** The server cannot say now what is in it. */
  stale?: boolean;
  resources: { name: string; namespaced: boolean; verbs: readonly string[] }[];
}

/** Objects that are no sign of use, and that no quota counts. */
const HARMLESS_TYPES = new Set(["events", "events.events.k8s.io"]);
/** Groups of measurements, of which nothing is stored: mostly the first that do not answer. */
const HARMLESS_GROUPS = /(^|\.)metrics\.k8s\.io$/;

const AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";

/** Ask an API server which types there are: two calls, or one for each version of each group where it is old. */
export async function readApiTypes(client: KubeClient, signal: AbortSignal): Promise<ApiTypes> {
  const versions: ApiVersion[] = [];
  for (const path of ["/api", "/apis"]) {
    const answer = await client.request("GET", path, { accept: AGGREGATED, signal });
    const all = aggregatedVersions(answer);
    if (all !== undefined) versions.push(...all);
    else
      for (const each of versionPaths(path, answer)) versions.push(await readVersion(client, each, signal));
  }
  return selectTypes(versions);
}

/** What can be stored in a namespace: a type that can be created and looked at again. */
export function selectTypes(versions: readonly ApiVersion[]): ApiTypes {
  const types = new Set<string>();
  const unknown = new Set<string>();
  for (const { group, stale, resources } of versions) {
    if (HARMLESS_GROUPS.test(group)) continue;
    if (stale) unknown.add(group);
    for (const { name, namespaced, verbs } of resources) {
      const stored =
        verbs.includes("create") && ["get", "list", "delete"].some((verb) => verbs.includes(verb));
      const type = group === "" ? name : `${name}.${group}`;
      if (namespaced && stored && !name.includes("/") && !HARMLESS_TYPES.has(type)) types.add(type);
    }
  }
  return { types: [...types].sort(), unknown: [...unknown].sort() };
}

/** The versions of an aggregated discovery document; `undefined` where the server gave another. */
export function aggregatedVersions(answer: unknown): ApiVersion[] | undefined {
  const { kind, items = [] } = answer as AggregatedDiscovery;
  if (kind !== "APIGroupDiscoveryList") return undefined;
  return items.flatMap(({ metadata, versions = [] }) =>
    versions.map(({ freshness, resources = [] }) => ({
      group: metadata?.name ?? "",
      stale: freshness === "Stale",
      resources: resources.map(({ resource, scope, verbs = [] }) => ({
        name: resource,
        namespaced: scope === "Namespaced",
        verbs,
      })),
    })),
  );
}

interface AggregatedDiscovery {
  kind?: string;
  items?: {
    metadata?: { name?: string };
    versions?: {
      freshness?: string;
      resources?: { resource: string; scope: string; verbs?: string[] }[];
    }[];
  }[];
}

interface VersionPath {
  group: string;
  path: string;
}

function versionPaths(path: string, answer: unknown): VersionPath[] {
  const { versions = [], groups = [] } = answer as {
    versions?: string[];
    groups?: { name: string; versions: { groupVersion: string }[] }[];
  };
  return [
    ...versions.map((version) => ({ group: "", path: `${path}/${version}` })),
    ...groups.flatMap(({ name, versions: all }) =>
      all.map(({ groupVersion }) => ({ group: name, path: `${path}/${groupVersion}` })),
    ),
  ];
}

async function readVersion(
  client: KubeClient,
  { group, path }: VersionPath,
  signal: AbortSignal,
): Promise<ApiVersion> {
  try {
    const { resources = [] } = (await client.request("GET", path, { signal })) as Partial<ApiVersion>;
    return { group, resources: resources.map((each) => ({ ...each, verbs: each.verbs ?? [] })) };
  } catch (error) {
    // One group behind an API server of its own may be out of order while all others answer.
    if (!(error instanceof KubeError)) throw error;
    return { group, stale: true, resources: [] };
  }
}
