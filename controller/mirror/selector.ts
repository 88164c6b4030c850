import { isDeepStrictEqual } from "node:util";
import { EXPORTED_LABEL, FEDERATED_LABEL, type LabelSelector, type LinkSpec } from "../../contract/index.ts";

/** What a Link without a `selector` mirrors: Services labelled `mirror.linkerd.io/exported: "true"`. */
const DEFAULT_SELECTOR: LabelSelector = { matchLabels: { [EXPORTED_LABEL]: "true" } };
/** Likewise for `remoteDiscoverySelector`. */
const DEFAULT_REMOTE_DISCOVERY_SELECTOR: LabelSelector = {
  matchLabels: { [EXPORTED_LABEL]: "remote-discovery" },
};
/** Likewise for `federatedServiceSelector`. */
export const DEFAULT_FEDERATED_SELECTOR: LabelSelector = { matchLabels: { [FEDERATED_LABEL]: "member" } };

/**
 * Matches no object: a label cannot be there and absent. A Link with an empty selector asks for this instead of for
 * nothing, so that its connection and credentials are still tried.
 */
const NOTHING = `${EXPORTED_LABEL},!${EXPORTED_LABEL}`;

/** How an exported service is mirrored. */
export const MODE = {
  /** Calls go through the target's gateway. */
  gateway: "gateway",
  /** Callers' proxies ask the target for its pods, and call them. */
  remoteDiscovery: "remote-discovery",
} as const;
export type Mode = (typeof MODE)[keyof typeof MODE];

/** What a Link asks of its target. */
export interface Selectors {
  gateway: LabelSelector;
  remoteDiscovery: LabelSelector;
  federated: LabelSelector;
}

/** A Link's selectors, with the defaults of those that it leaves out. */
export function selectorsOf(spec: LinkSpec): Selectors {
  return {
    gateway: spec.selector ?? DEFAULT_SELECTOR,
    remoteDiscovery: spec.remoteDiscoverySelector ?? DEFAULT_REMOTE_DISCOVERY_SELECTOR,
    federated: spec.federatedServiceSelector ?? DEFAULT_FEDERATED_SELECTOR,
  };
}

/** How a service with these labels is mirrored; `undefined`: it is not. One that is chosen twice is called directly. */
export function modeOf(selectors: Selectors, labels?: Readonly<Record<string, string>>): Mode | undefined {
  if (matchesSelector(selectors.remoteDiscovery, labels)) return MODE.remoteDiscovery;
  return matchesSelector(selectors.gateway, labels) ? MODE.gateway : undefined;
}

/**
 * Queries that together find what any of these selectors finds. Simple ones for the same label become one query, as
 * Linkerd's two values of the export label do: each query is a watch of its own.
 */
export function queriesOf(selectors: readonly LabelSelector[]): string[] {
  const values = new Map<string, Set<string>>();
  const queries = new Set<string>();
  for (const selector of selectors) {
    const labels = Object.entries(selector.matchLabels ?? {});
    const [only] = labels;
    if (only === undefined || labels.length > 1 || (selector.matchExpressions ?? []).length > 0) {
      if (!isEmptySelector(selector)) queries.add(selectorQuery(selector));
      continue;
    }
    const [key, value] = only;
    values.set(key, (values.get(key) ?? new Set()).add(value));
  }
  for (const [key, wanted] of values) {
    const [only = ""] = wanted;
    queries.add(
      wanted.size === 1
        ? selectorQuery({ matchLabels: { [key]: only } })
        : selectorQuery({ matchExpressions: [{ key, operator: "In", values: [...wanted] }] }),
    );
  }
  return queries.size === 0 ? [NOTHING] : [...queries].sort();
}

/** The fields of a Link whose selectors became this query. */
export function fieldsOf(query: string, { gateway, remoteDiscovery, federated }: Selectors): string[] {
  const fields = Object.entries({
    "spec.selector": gateway,
    "spec.remoteDiscoverySelector": remoteDiscovery,
    "spec.federatedServiceSelector": federated,
  }).filter(([, selector]) => !isEmptySelector(selector));
  const became = (selector: LabelSelector) =>
    fields.some(([, other]) => isDeepStrictEqual(queriesOf([selector, other]), [query]));
  return fields.filter(([, selector]) => became(selector)).map(([field]) => field);
}

/** An empty selector matches nothing: Linkerd's rule, and the opposite of what Kubernetes makes of one. */
export function isEmptySelector(selector: LabelSelector): boolean {
  return (
    Object.keys(selector.matchLabels ?? {}).length === 0 && (selector.matchExpressions ?? []).length === 0
  );
}

/**
 * A selector as the `labelSelector` parameter of a list or watch. One selector always gives the same text, whatever the
 * order of its labels, so that texts can be compared to see whether a watch must start anew.
 */
export function selectorQuery(selector: LabelSelector): string {
  if (isEmptySelector(selector)) return NOTHING;
  const equalities = Object.entries(selector.matchLabels ?? {}).map(([key, value]) => `${key}=${value}`);
  const expressions = (selector.matchExpressions ?? []).map(requirementQuery);
  return [...equalities.sort(), ...expressions.sort()].join(",");
}

/**
 * Whether an object with these labels is chosen. The target's API server applies the selector already; what it sends is
 * checked again, since it is not trusted.
 */
export function matchesSelector(
  selector: LabelSelector,
  labels: Readonly<Record<string, string>> = {},
): boolean {
  if (isEmptySelector(selector)) return false;
  const equal = Object.entries(selector.matchLabels ?? {}).every(([key, value]) => labels[key] === value);
  return equal && (selector.matchExpressions ?? []).every((requirement) => meets(requirement, labels));
}

type Requirement = NonNullable<LabelSelector["matchExpressions"]>[number];

function requirementQuery({ key, operator, values = [] }: Requirement): string {
  switch (operator) {
    case "In":
      return `${key} in (${[...values].sort().join(",")})`;
    case "NotIn":
      return `${key} notin (${[...values].sort().join(",")})`;
    case "Exists":
      return key;
    case "DoesNotExist":
      return `!${key}`;
  }
}

function meets(
  { key, operator, values = [] }: Requirement,
  labels: Readonly<Record<string, string>>,
): boolean {
  const value = labels[key];
  switch (operator) {
    case "In":
      return value !== undefined && values.includes(value);
    case "NotIn":
      return value === undefined || !values.includes(value);
    case "Exists":
      return value !== undefined;
    case "DoesNotExist":
      return value === undefined;
  }
}
