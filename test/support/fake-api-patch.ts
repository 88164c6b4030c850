import { isDeepStrictEqual } from "node:util";

/** JSON objects, as patches see them. */
export type Json = Record<string, unknown>;

/** RFC 7386. */
export function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch;
  const result: Json = isObject(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else result[key] = mergePatch(result[key], value);
  }
  return result;
}

/** A merge patch, but conditions are merged by their type, as Kubernetes does for its own kinds. */
export function strategicPatch(target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch;
  const result: Json = isObject(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else if (key === "conditions" && Array.isArray(value)) {
      const merged = new Map(((result[key] as Json[] | undefined) ?? []).map((each) => [each.type, each]));
      for (const each of value as Json[]) merged.set(each.type, { ...merged.get(each.type), ...each });
      result[key] = [...merged.values()];
    } else result[key] = strategicPatch(result[key], value);
  }
  return result;
}

/** RFC 6902, without `move` and `copy`. Throws where a server would refuse the patch. */
export function jsonPatch(
  target: unknown,
  operations: { op: string; path: string; value?: unknown }[],
): unknown {
  const result = structuredClone(target);
  for (const { op, path, value } of operations) {
    const keys = path
      .split("/")
      .slice(1)
      .map((key) => key.replaceAll("~1", "/").replaceAll("~0", "~"));
    const last = keys.pop() ?? "";
    let at = result as Json;
    for (const key of keys) {
      if (!isObject(at[key]) && !Array.isArray(at[key])) throw new Error(`no ${path}`);
      at = at[key] as Json;
    }
    if (op === "test" && !isDeepStrictEqual(at[last], value)) throw new Error(`test of ${path} failed`);
    if (op === "remove" && !(last in at)) throw new Error(`no ${path}`);
    if (op === "add" || op === "replace") {
      if (Array.isArray(at) && op === "add") at.splice(last === "-" ? at.length : Number(last), 0, value);
      else at[last] = value;
    } else if (op === "remove") {
      if (Array.isArray(at)) at.splice(Number(last), 1);
      else delete at[last];
    } else if (op !== "test") throw new Error(`operation ${op} is not supported`);
  }
  return result;
}

/**
 * Server-side apply for one manager, with every list taken as one value: fields applied before and not now go, the fields
 * given are set, all others stay. Returns the fields in conflict, those that `others` own with another value.
 */
export function applyPatch(
  current: Json,
  before: Json | undefined,
  applied: Json,
  others: readonly Json[],
): { result: Json; conflicts: string[] } {
  const result = structuredClone(current);
  const wanted = leaves(applied);
  for (const path of before ? leaves(before).keys() : []) {
    if (!wanted.has(path) && !others.some((other) => leaves(other).has(path))) setAt(result, path, undefined);
  }
  const conflicts: string[] = [];
  const held = leaves(current);
  for (const [path, value] of wanted) {
    const owned = others.some((other) => leaves(other).has(path));
    if (owned && !isDeepStrictEqual(held.get(path), value)) conflicts.push(readable(path));
    setAt(result, path, structuredClone(value));
  }
  return { result, conflicts };
}

/** Values by path (keys in JSON); what names an object rather than describes it is left out. */
function leaves(object: Json, prefix: string[] = []): Map<string, unknown> {
  const found = new Map<string, unknown>();
  for (const [key, value] of Object.entries(object)) {
    const path = [...prefix, key];
    if (prefix.length === 0 && (key === "apiVersion" || key === "kind")) continue;
    if (prefix.length === 1 && prefix[0] === "metadata" && !DESCRIBING.has(key)) continue;
    if (isObject(value)) for (const [inner, leaf] of leaves(value, path)) found.set(inner, leaf);
    else found.set(JSON.stringify(path), value);
  }
  return found;
}

const DESCRIBING = new Set(["labels", "annotations", "finalizers", "ownerReferences"]);

function setAt(object: Json, path: string, value: unknown): void {
  const keys = JSON.parse(path) as string[];
  const last = keys.pop() as string;
  let at = object;
  for (const key of keys) {
    if (!isObject(at[key])) {
      if (value === undefined) return;
      at[key] = {};
    }
    at = at[key] as Json;
  }
  if (value === undefined) delete at[last];
  else at[last] = value;
}

function readable(path: string): string {
  return (JSON.parse(path) as string[]).join(".");
}

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
