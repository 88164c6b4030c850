import { isDeepStrictEqual } from "node:util";
import { CREATED_BY_LABEL, EMPTINESS_QUOTA, MANAGED_BY_LABEL, MANAGER } from "../../../contract/index.ts";
import type { ResourceQuota } from "../../kube/objects.ts";

/** More objects of one type than any namespace has. */
const OUT_OF_REACH = "1000000000";
/** The limit on quotas. */
const QUOTAS = limitOf("resourcequotas");

/** How many there are of the objects that stand in every namespace, by type. */
export interface StandardCounts {
  configmaps: number;
  serviceaccounts: number;
}

/** What a count says of a namespace. */
export type Verdict =
  /** Kubernetes has not counted yet. */
  | { state: "counting" }
  | { state: "empty" }
  /** `held`: what is there, for people: `secrets (2)`. */
  | { state: "used"; held: string[] }
  /** Nobody counts these types, or fewer objects were counted than there are. */
  | { state: "unknown"; types: string[] };

/**
 * Tells how many objects of every type a namespace holds, without reading one of them: Kubernetes counts them for a
 * ResourceQuota. At first its limits are out of reach, and it hinders nobody. Where nothing was found, they become what an
 * empty namespace has (`closedQuota`): from then on the API server takes no object there, so that none can be made between
 * the last look and the end of the namespace. What was made just before may not be in that count, but it is in the one that
 * is asked for a second later (`lastQuota`).
 *
 * @param types as `selectTypes` names them: `secrets`, `deployments.apps`
 */
export function openQuota(namespace: string, isthmus: string, types: readonly string[]): ResourceQuota {
  return quota(namespace, isthmus, Object.fromEntries(types.map((type) => [limitOf(type), OUT_OF_REACH])));
}

/** The same with the limits of an empty namespace, from the version seen. */
export function closedQuota(seen: ResourceQuota, standard: StandardCounts): ResourceQuota {
  const limits = typesOf(seen).map((type) => [limitOf(type), String(expected(type, standard))]);
  return { ...seen, spec: { hard: Object.fromEntries(limits) } };
}

/**
 * The same once more, so that all is counted anew. One limit must be another for that: a namespace that is closed takes no
 * quota either way.
 */
export function lastQuota(seen: ResourceQuota): ResourceQuota {
  return { ...seen, spec: { hard: { ...seen.spec?.hard, [QUOTAS]: "0" } } };
}

/** Whether what is in its namespace is counted for the last time. */
export function isLast(quota: ResourceQuota): boolean {
  return quota.spec?.hard?.[QUOTAS] === "0";
}

/** Whether nothing can be made in its namespace any more. */
export function isClosed(quota: ResourceQuota): boolean {
  return Object.values(quota.spec?.hard ?? {}).includes("0");
}

export function isOurQuota(quota: ResourceQuota, isthmus: string): boolean {
  const { labels } = quota.metadata;
  return labels?.[MANAGED_BY_LABEL] === MANAGER && labels[CREATED_BY_LABEL] === isthmus;
}

/** The types that a quota of ours counts. */
export function typesOf(quota: ResourceQuota): string[] {
  return Object.keys(quota.spec?.hard ?? {}).map((limit) => limit.slice(limitOf("").length));
}

/** What the count says. All that is not known to be empty is in use. */
export function judge(quota: ResourceQuota, standard: StandardCounts): Verdict {
  const { hard, used = {} } = quota.status ?? {};
  if (hard === undefined || !isDeepStrictEqual(hard, quota.spec?.hard)) return { state: "counting" };
  const held: string[] = [];
  const unknown: string[] = [];
  for (const type of typesOf(quota)) {
    const count = used[limitOf(type)];
    const empty = expected(type, standard);
    if (count === undefined) unknown.push(type);
    else if (count === String(empty)) continue;
    else if (/^\d$/.test(count) && Number(count) < empty) unknown.push(type);
    else held.push(`${type} (${count})`);
  }
  if (held.length > 0) return { state: "used", held };
  return unknown.length > 0 ? { state: "unknown", types: unknown } : { state: "empty" };
}

/** How many objects of a type an empty namespace has. */
function expected(type: string, standard: StandardCounts): number {
  // The quota itself.
  if (type === "resourcequotas") return 1;
  if (type === "configmaps" || type === "serviceaccounts") return standard[type];
  return 0;
}

function limitOf(type: string): string {
  return `count/${type}`;
}

function quota(namespace: string, isthmus: string, hard: Record<string, string>): ResourceQuota {
  return {
    apiVersion: "v1",
    kind: "ResourceQuota",
    metadata: {
      namespace,
      name: EMPTINESS_QUOTA,
      labels: { [MANAGED_BY_LABEL]: MANAGER, [CREATED_BY_LABEL]: isthmus },
      annotations: {
        "kubernetes.io/description":
          "Counts what is left in this namespace, which Isthmus made and needs no longer; it is here for seconds only.",
      },
    },
    spec: { hard },
  };
}
