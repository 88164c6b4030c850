/** Whose a field is: what drifted of ours, and what others have taken over. Pure. */
import type { Path } from "../paths.ts";
import type { KubeObject } from "./client.ts";

type Fields = Record<string, unknown>;

/**
 * Paths at which the live object is not what is applied. Values that a server writes in another form than it was given
 * (`1000m`, a defaulted list element) show up here too: whether applying would change anything, only the server can say.
 */
export function differences(applied: unknown, live: unknown, path: Path = []): Path[] {
  if (Array.isArray(applied)) {
    if (!Array.isArray(live) || live.length !== applied.length) return [path];
    return applied.flatMap((element, index) => differences(element, live[index], [...path, index]));
  }
  if (typeof applied === "object" && applied !== null) {
    if (typeof live !== "object" || live === null)
      return isEmpty(applied) && live === undefined ? [] : [path];
    return Object.entries(applied).flatMap(([key, value]) =>
      differences(value, (live as Record<string, unknown>)[key], [...path, key]),
    );
  }
  return applied === live || (applied === null && live === undefined) ? [] : [path];
}

function isEmpty(value: object): boolean {
  return Object.values(value).every((each) => each === null || (typeof each === "object" && isEmpty(each)));
}

/** The same object as far as anyone cares: without what changes by being looked at. */
export function withoutBookkeeping(object: KubeObject): KubeObject {
  const { managedFields, resourceVersion, generation, ...metadata } = object.metadata ?? {};
  return { ...object, metadata };
}

/**
 * What to apply where the program leaves properties to others (`ignoreChanges`): the live value, so that nobody's
 * work is undone, and nothing at all where another manager holds the field, so that it stays that manager's.
 */
export function leaveToOthers(
  applied: KubeObject,
  live: KubeObject,
  manager: string,
  ignored: readonly Path[],
): KubeObject {
  const others = (live.metadata?.managedFields ?? [])
    .filter((entry) => entry.manager !== manager && (entry.subresource ?? "") === "")
    .map((entry) => entry.fieldsV1 ?? {});
  let result: unknown = applied;
  for (const path of ignored) result = leave(result, live, others, path);
  return result as KubeObject;
}

function leave(applied: unknown, live: unknown, others: readonly Fields[], path: Path): unknown {
  const [step, ...rest] = path;
  if (step === undefined) return settle(live, others);
  if (Array.isArray(applied)) {
    const elements = Array.isArray(live) ? live : [];
    return applied.map((element, index) =>
      step === "*" || step === index ? leave(element, elements[index], [], rest) : element,
    );
  }
  if (typeof applied !== "object" || applied === null) {
    return applied;
  }
  const from = (typeof live === "object" && live !== null ? live : {}) as Record<string, unknown>;
  const made: Record<string, unknown> = { ...applied };
  const keys = step === "*" ? new Set([...Object.keys(made), ...Object.keys(from)]) : [String(step)];
  for (const key of keys) {
    const inner = leave(made[key], from[key], descend(others, key), rest);
    if (inner === undefined) delete made[key];
    else made[key] = inner;
  }
  return made;
}

/** The live value without what others hold of it; undefined when nothing is left. */
function settle(live: unknown, others: readonly Fields[]): unknown {
  if (live === undefined || others.some(isHeldWhole)) return undefined;
  if (others.length === 0) return live;
  // An element of a list is known to its managers by its key, not its index: the list is left to them as a whole.
  if (typeof live !== "object" || live === null || Array.isArray(live)) return undefined;
  const kept = Object.entries(live).flatMap(([key, value]) => {
    const inner = settle(value, descend(others, key));
    return inner === undefined ? [] : [[key, inner] as const];
  });
  return kept.length === 0 ? undefined : Object.fromEntries(kept);
}

function descend(others: readonly Fields[], key: string): Fields[] {
  return others.flatMap((fields) => {
    const inner = fields[`f:${key}`];
    return typeof inner === "object" && inner !== null ? [inner as Fields] : [];
  });
}

/** A leaf in the record of ownership is an empty object. */
function isHeldWhole(fields: Fields): boolean {
  return Object.keys(fields).filter((key) => key !== ".").length === 0 && !("." in fields);
}
