import { EXPORTED_LABEL, type LabelSelector, type LinkSpec } from "../../contract/index.ts";

/** What a Link without a `selector` mirrors: Services labelled `mirror.linkerd.io/exported: "true"`. */
export const DEFAULT_SELECTOR: LabelSelector = { matchLabels: { [EXPORTED_LABEL]: "true" } };

/**
 * Matches no object: a label cannot be there and absent. A Link with an empty selector asks for this instead of for
 * nothing, so that its connection and credentials are still tried.
 */
const NOTHING = `${EXPORTED_LABEL},!${EXPORTED_LABEL}`;

/** The selector of the Services that a link mirrors through the target's gateway. */
export function gatewaySelector(spec: LinkSpec): LabelSelector {
  return spec.selector ?? DEFAULT_SELECTOR;
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
