/** Which properties differ between two sets of inputs. Pure; secrecy alone is no difference. */
import { isObject, type Properties, plain, UNKNOWN, type Value } from "../wire.ts";
import { formatPath, type Path } from "./paths.ts";

/** Paths of all leaves that were added, removed or changed, in the order of `next`. A value not yet known differs from any. */
export function diffProperties(previous: Properties, next: Properties): Path[] {
  const paths: Path[] = [];
  compare(plain(previous), plain(next), [], paths);
  return paths;
}

export function formatPaths(paths: readonly Path[]): string[] {
  return paths.map(formatPath);
}

function compare(previous: Value | undefined, next: Value | undefined, path: Path, into: Path[]): void {
  if (previous === next && next !== UNKNOWN) return;
  if (isObject(previous) && isObject(next)) {
    for (const key of new Set([...Object.keys(next), ...Object.keys(previous)])) {
      compare(previous[key], next[key], [...path, key], into);
    }
    return;
  }
  if (Array.isArray(previous) && Array.isArray(next)) {
    for (let index = 0; index < Math.max(previous.length, next.length); index++) {
      compare(previous[index], next[index], [...path, index], into);
    }
    return;
  }
  // `null` is how the protocol writes a property that is not there.
  if ((previous ?? null) === (next ?? null) && next !== UNKNOWN) return;
  into.push(path);
}
