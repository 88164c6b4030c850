import type { Link } from "../../contract/index.ts";

/** Which of two Links came first; the name decides between two of one second, so that every process decides alike. */
export function compareAge(a: Link, b: Link): number {
  const [left, right] = [a.metadata.creationTimestamp ?? "", b.metadata.creationTimestamp ?? ""];
  if (left !== right) return left < right ? -1 : 1;
  return a.metadata.name === b.metadata.name ? 0 : a.metadata.name < b.metadata.name ? -1 : 1;
}

/**
 * The Link that mirrors a target: of several with the same `targetClusterName`, whose mirrors would all have the same
 * names, the oldest. One that is being deleted has lost its place.
 */
export function activeLink(target: string, links: Iterable<Link>): Link | undefined {
  return [...links]
    .filter((link) => link.spec.targetClusterName === target && link.metadata.deletionTimestamp === undefined)
    .sort(compareAge)[0];
}
