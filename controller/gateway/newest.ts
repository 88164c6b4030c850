import { type KubeObject, keyOf } from "../kube/objects.ts";
import { compareVersions } from "../kube/version.ts";

/**
 * The objects of several lists, each once: where lists of one resource know the same object in different states, because
 * one watch is ahead of the other, the newest.
 */
export function newestOf<T extends KubeObject>(...lists: readonly (readonly T[])[]): T[] {
  const newest = new Map<string, T>();
  for (const object of lists.flat()) {
    const other = newest.get(keyOf(object));
    if (other === undefined || isNewer(object, other)) newest.set(keyOf(object), object);
  }
  return [...newest.values()];
}

function isNewer(a: KubeObject, b: KubeObject): boolean {
  return (compareVersions(a.metadata.resourceVersion, b.metadata.resourceVersion) ?? 0) > 0;
}
