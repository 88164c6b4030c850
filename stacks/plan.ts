import { type LinkEnds, linksOf } from "../components/topology.ts";
import type { Mesh } from "./mesh.ts";

/** What a stack of a mesh holds. */
export const StackKind = {
  /** The trust anchors and every cluster's issuer. */
  Trust: "trust",
  /** Everything that stands in one cluster, but its links. */
  Cluster: "cluster",
  /** The links of one source. */
  Links: "links",
} as const;

export type StackKind = (typeof StackKind)[keyof typeof StackKind];

/** A stack of a mesh, and which others must be up before it. */
export interface PlannedStack {
  /** Name of the stack: `<mesh>-trust`, `<mesh>-cluster-<name>`, `<mesh>-links-<name>`. */
  name: string;
  kind: StackKind;
  /** The cluster that its objects are in; absent for the trust stack, which has none. */
  cluster?: string;
  /** Names of the stacks whose outputs it reads, or whose controllers its objects need. */
  dependsOn: string[];
}

/** As much of a mesh as its stacks follow from. */
export type Plannable = Pick<Mesh, "name" | "topology"> & { clusters: readonly { name: string }[] };

export function trustStack(mesh: Pick<Mesh, "name">): string {
  return `${mesh.name}-trust`;
}

export function clusterStack(mesh: Pick<Mesh, "name">, cluster: string): string {
  return `${mesh.name}-cluster-${cluster}`;
}

export function linksStack(mesh: Pick<Mesh, "name">, source: string): string {
  return `${mesh.name}-links-${source}`;
}

/** The links of a mesh, each once. */
export function meshLinks(mesh: Plannable): LinkEnds[] {
  const clusters = mesh.clusters.map(({ name }) => name);
  // A topology that names other clusters is an error of its own; it must not keep the rest from being checked.
  return linksOf(clusters, mesh.topology).filter(
    ({ source, target }) => clusters.includes(source) && clusters.includes(target),
  );
}

/** Clusters that `target` lets in. */
export function sourcesOf(mesh: Plannable, target: string): string[] {
  return meshLinks(mesh)
    .filter((link) => link.target === target)
    .map(({ source }) => source);
}

/** Clusters that `source` calls. */
export function targetsOf(mesh: Plannable, source: string): string[] {
  return meshLinks(mesh)
    .filter((link) => link.source === source)
    .map(({ target }) => target);
}

/**
 * The stacks of a mesh, each after all that it depends on. Stacks that do not depend on each other may be brought up side
 * by side; destroying goes the other way round. Pure.
 */
export function planStacks(mesh: Plannable): PlannedStack[] {
  const trust: PlannedStack = { name: trustStack(mesh), kind: StackKind.Trust, dependsOn: [] };
  const clusters = mesh.clusters.map(({ name }) => ({
    name: clusterStack(mesh, name),
    kind: StackKind.Cluster,
    cluster: name,
    dependsOn: [trust.name],
  }));
  const links = mesh.clusters.flatMap(({ name }) => {
    const targets = targetsOf(mesh, name);
    if (targets.length === 0) return [];
    // The source's own: its controller cleans up behind a link that goes, so it must go later.
    const dependsOn = [name, ...targets].map((cluster) => clusterStack(mesh, cluster));
    return [{ name: linksStack(mesh, name), kind: StackKind.Links, cluster: name, dependsOn }];
  });
  return [trust, ...clusters, ...links];
}
