/** Property paths as Pulumi writes them: `spec.ports[0].nodePort`, `metadata.annotations["example.com/x"]`, `spec.*`. */
import { isObject, isSecret, type Properties, plain, secret, type Value } from "../wire.ts";

export type Path = (string | number)[];

const WILDCARD = "*";

/** @throws Error naming the path, when it is not one. */
export function parsePath(text: string): Path {
  const path: Path = [];
  const token = /\.?([^.[\]"]+)|\[(\d+|\*)\]|\["((?:[^"\\]|\\.)*)"\]/y;
  while (token.lastIndex < text.length) {
    const at = token.lastIndex;
    const match = token.exec(text);
    if (match === null) throw new Error(`"${text}" is not a property path (at character ${at + 1})`);
    const [, name, index, quoted] = match;
    if (name !== undefined) path.push(name);
    else if (quoted !== undefined) path.push(quoted.replace(/\\(.)/g, "$1"));
    else path.push(index === WILDCARD ? WILDCARD : Number(index));
  }
  if (path.length === 0) throw new Error("a property path is empty");
  return path;
}

export function formatPath(path: Path): string {
  let text = "";
  for (const step of path) {
    if (typeof step === "number") text += `[${step}]`;
    else if (/^[A-Za-z_$][\w$-]*$/.test(step)) text += text === "" ? step : `.${step}`;
    else text += `[${JSON.stringify(step)}]`;
  }
  return text;
}

/** Whether `path` is `pattern` or lies under it. */
export function isWithin(path: Path, pattern: Path): boolean {
  return (
    path.length >= pattern.length && pattern.every((step, index) => step === WILDCARD || step === path[index])
  );
}

/** `next` in which every value at one of the paths is what it was in `previous` (absent there: absent). */
export function keepAt(next: Properties, previous: Properties, paths: readonly Path[]): Properties {
  let result: Value = next;
  for (const path of paths) result = keep(result, previous, path) ?? {};
  return result as Properties;
}

function keep(next: Value | undefined, previous: Value | undefined, path: Path): Value | undefined {
  const [step, ...rest] = path;
  if (step === undefined) return previous;
  if (isSecret(next) || isSecret(previous)) {
    const kept = keep(opened(next), opened(previous), path);
    return kept === undefined ? undefined : secret(kept);
  }
  if (Array.isArray(next)) {
    const old = Array.isArray(previous) ? previous : [];
    return next.map((element, index) =>
      step === WILDCARD || step === index ? (keep(element, old[index], rest) ?? null) : element,
    );
  }
  if (!isObject(next) && !isObject(previous)) return next;
  const made: { [key: string]: Value } = isObject(next) ? { ...(next as { [key: string]: Value }) } : {};
  const old: { [key: string]: Value } = isObject(previous) ? previous : {};
  const names = step === WILDCARD ? new Set([...Object.keys(made), ...Object.keys(old)]) : [String(step)];
  for (const name of names) {
    const kept = keep(made[name], old[name], rest);
    if (kept === undefined) delete made[name];
    else made[name] = kept;
  }
  return Object.keys(made).length === 0 && !isObject(next) ? next : made;
}

function opened(value: Value | undefined): Value | undefined {
  return value === undefined ? undefined : plain(value);
}
