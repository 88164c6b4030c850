import type { KubeObject } from "../../controller/kube/objects.ts";

/** Whether an object is selected, as an API server understands `labelSelector` and `fieldSelector`. */
export function selects(
  object: KubeObject,
  selectors: { labels?: string | null; fields?: string | null },
): boolean {
  return (
    requirements(selectors.labels).every((each) => matchesLabel(object.metadata.labels ?? {}, each)) &&
    requirements(selectors.fields).every((each) => matchesField(object, each))
  );
}

/** Requirements are joined by commas, and so are the values in their parentheses. */
function requirements(text: string | null | undefined): string[] {
  return (text ?? "").match(/[^,(]+(\([^)]*\))?/g) ?? [];
}

function matchesLabel(labels: Record<string, string>, requirement: string): boolean {
  const set = /^(\S+) (in|notin) \(([^)]*)\)$/.exec(requirement.trim());
  if (set) {
    const [, key = "", operator, values = ""] = set;
    const contained = labels[key] !== undefined && values.split(",").includes(labels[key]);
    return operator === "in" ? contained : !contained;
  }
  const equality = /^([^=!]+?)(!=|==?)(.*)$/.exec(requirement.trim());
  if (equality) {
    const [, key = "", operator, value] = equality;
    return operator === "!=" ? labels[key] !== value : labels[key] === value;
  }
  const absent = requirement.trim().startsWith("!");
  return absent !== Object.hasOwn(labels, requirement.trim().replace("!", ""));
}

function matchesField(object: KubeObject, requirement: string): boolean {
  const [, path = "", operator, value] = /^([^=!]+?)(!=|==?)(.*)$/.exec(requirement.trim()) ?? [];
  let found: unknown = object;
  for (const key of path.split(".")) found = (found as Record<string, unknown> | undefined)?.[key];
  return operator === "!=" ? found !== value : found === value;
}
