/** Which clusters of a mesh are linked. */
export const TopologyShape = {
  /** Every cluster with every other, both ways. */
  FullMesh: "full-mesh",
  /** One cluster with every other, both ways. */
  Hub: "hub",
  /** Every cluster with its parent, both ways. */
  Tree: "tree",
  /** The links listed, one way each. */
  Links: "links",
} as const;

/** Which clusters of a mesh are linked. */
export type TopologyShape = (typeof TopologyShape)[keyof typeof TopologyShape];

/** The two ends of a link: mirrors appear in the source, the services run in the target. */
export interface LinkEnds {
  source: string;
  target: string;
}

/** Which clusters of a mesh are linked. Plain values: they decide which resources there are. */
export interface Topology {
  shape: TopologyShape;
  /** With shape `hub`: the cluster in the middle. */
  hub?: string;
  /** With shape `tree`: the children of each cluster that has any. */
  children?: { [parent: string]: string[] };
  /** With shape `links`: the links. */
  links?: LinkEnds[];
}

/** The links of a topology, each once, ordered by the order of the clusters. */
export function linksOf(clusters: readonly string[], topology: Topology): LinkEnds[] {
  const place = new Map(clusters.map((name, index) => [name, index]));
  const order = ({ source, target }: LinkEnds) => place.get(source)! * clusters.length + place.get(target)!;
  const links = new Map(endsOf(clusters, topology).map((ends) => [`${ends.source} ${ends.target}`, ends]));
  return [...links.values()].sort((a, b) => order(a) - order(b));
}

function endsOf(clusters: readonly string[], topology: Topology): LinkEnds[] {
  switch (topology.shape) {
    case TopologyShape.FullMesh:
      return clusters.flatMap((source) =>
        clusters.filter((target) => target !== source).map((target) => ({ source, target })),
      );
    case TopologyShape.Hub:
      return clusters.filter((name) => name !== topology.hub).flatMap((spoke) => both(topology.hub!, spoke));
    case TopologyShape.Tree:
      return Object.entries(topology.children ?? {}).flatMap(([parent, children]) =>
        children.flatMap((child) => both(parent, child)),
      );
    case TopologyShape.Links:
      return topology.links ?? [];
  }
}

function both(a: string, b: string): LinkEnds[] {
  return [
    { source: a, target: b },
    { source: b, target: a },
  ];
}

/** One thing wrong with a topology: at which of its keys, and what. */
export interface TopologyProblem {
  path: (string | number)[];
  message: string;
}

/** What is wrong with a topology for these clusters. */
export function topologyProblems(clusters: readonly string[], topology: Topology): TopologyProblem[] {
  const known = clusters.join(", ");
  const problems: TopologyProblem[] = [];
  const mustBeCluster = (name: string | undefined, ...path: (string | number)[]) => {
    if (name !== undefined && clusters.includes(name)) return;
    const given =
      name === undefined ? "is missing" : `is ${JSON.stringify(name)}, which is no cluster of this mesh`;
    problems.push({ path, message: `${given}; the clusters are ${known}` });
  };
  if (topology.shape === TopologyShape.Hub) mustBeCluster(topology.hub, "hub");
  if (topology.shape === TopologyShape.Links) {
    const seen = new Set<string>();
    for (const [index, { source, target }] of (topology.links ?? []).entries()) {
      mustBeCluster(source, "links", index, "source");
      mustBeCluster(target, "links", index, "target");
      const ends = `${source} -> ${target}`;
      if (source === target) {
        problems.push({
          path: ["links", index],
          message: `links ${source} to itself; a link needs two clusters`,
        });
      } else if (seen.has(ends)) {
        problems.push({ path: ["links", index], message: `is the second link ${ends}; one is enough` });
      }
      seen.add(ends);
    }
  }
  if (topology.shape === TopologyShape.Tree) {
    const parents = new Map<string, string>();
    for (const [parent, children] of Object.entries(topology.children ?? {})) {
      mustBeCluster(parent, "children", parent);
      for (const [index, child] of children.entries()) {
        const path = ["children", parent, index];
        mustBeCluster(child, ...path);
        const other = parents.get(child);
        if (other !== undefined) {
          problems.push({
            path,
            message: `gives ${child} a second parent, it has ${other}; a tree allows one`,
          });
        } else if (isAncestor(parents, child, parent)) {
          problems.push({ path, message: `makes ${child} an ancestor of itself; a tree has no circles` });
        } else {
          parents.set(child, parent);
        }
      }
    }
  }
  return problems;
}

/** Whether `name` is `of` or stands above it. */
function isAncestor(parents: ReadonlyMap<string, string>, name: string, of: string): boolean {
  for (let at: string | undefined = of; at !== undefined; at = parents.get(at)) {
    if (at === name) return true;
  }
  return false;
}
