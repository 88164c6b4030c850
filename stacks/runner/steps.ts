/** What has to be done with which stacks of a mesh, and in which order. Pure. */
import { type Plannable, type PlannedStack, planStacks, StackKind } from "../plan.ts";

/** One stack, and what happens to it. */
export interface Step {
  stack: string;
  kind: StackKind;
  /** The cluster that its objects are in; absent for the trust stack. */
  cluster?: string;
  operation: "up" | "destroy";
  /** Names of the stacks whose steps have to end well before. */
  after: string[];
}

/**
 * Everything that brings a mesh to where it is declared: its stacks are brought up, and those of clusters that it does not
 * have any more are destroyed.
 * @param existing names of the stacks that there are
 */
export function upSteps(mesh: Plannable, existing: readonly string[]): Step[] {
  const planned = planStacks(mesh);
  const ups = planned.map(
    ({ dependsOn, name, ...rest }): Step => ({
      ...rest,
      stack: name,
      operation: "up",
      after: dependsOn,
    }),
  );
  const names = planned.map(({ name }) => name);
  const links = planned.filter(({ kind }) => kind === StackKind.Links).map(({ name }) => name);
  const strays = straysOf(mesh, names, existing);
  const strayLinks = strays.filter(({ kind }) => kind === StackKind.Links).map(({ name }) => name);
  const removals = strays.map((stray): Step => {
    // A cluster goes when nobody links to it any more, and after its own links, behind which its controller cleans up.
    const after = stray.kind === StackKind.Cluster ? [...links, ...strayLinks] : [];
    return { stack: stray.name, kind: stray.kind, cluster: stray.cluster, operation: "destroy", after };
  });
  return [...ups, ...removals];
}

/** All existing stacks of a mesh: the links first, since their clusters clean up behind them; then the clusters; then trust. */
export function destroySteps(mesh: Plannable, existing: readonly string[]): Step[] {
  const planned = planStacks(mesh);
  const names = planned.map(({ name }) => name);
  const strays = straysOf(mesh, names, existing);
  const all: Omit<PlannedStack, "dependsOn">[] = [...planned, ...strays].filter(({ name }) =>
    existing.includes(name),
  );
  const of = (kind: StackKind) => all.filter((stack) => stack.kind === kind);
  const before = {
    [StackKind.Links]: [],
    [StackKind.Cluster]: of(StackKind.Links),
    [StackKind.Trust]: of(StackKind.Cluster),
  };
  return [StackKind.Links, StackKind.Cluster, StackKind.Trust].flatMap(of).map(({ name, kind, cluster }) => ({
    stack: name,
    kind,
    ...(cluster === undefined ? {} : { cluster }),
    operation: "destroy",
    after: before[kind].map((other) => other.name),
  }));
}

interface Stray {
  name: string;
  kind: StackKind;
  cluster: string;
}

/** Stacks of clusters that the mesh does not have (any more). A stack that may be another mesh's is not taken for one. */
function straysOf(mesh: Plannable, planned: readonly string[], existing: readonly string[]): Stray[] {
  const others = existing
    .filter((name) => name.endsWith("-trust"))
    .map((name) => name.slice(0, -"-trust".length))
    .filter((name) => name.length > mesh.name.length);
  return existing.flatMap((name) => {
    if (planned.includes(name) || others.some((other) => name.startsWith(`${other}-`))) return [];
    for (const kind of [StackKind.Cluster, StackKind.Links]) {
      const prefix = `${mesh.name}-${kind}-`;
      if (name.startsWith(prefix)) return [{ name, kind, cluster: name.slice(prefix.length) }];
    }
    return [];
  });
}

/**
 * Only the named stacks, without what they depend on.
 * @throws Error naming the stacks that there are
 */
export function only(steps: readonly Step[], names: readonly string[]): Step[] {
  const known = steps.map(({ stack }) => stack);
  const unknown = names.filter((name) => !known.includes(name));
  if (unknown.length > 0) {
    throw new Error(`There is no stack ${unknown.join(", ")}; the stacks are ${known.join(", ")}`);
  }
  return steps
    .filter(({ stack }) => names.includes(stack))
    .map((step) => ({ ...step, after: step.after.filter((name) => names.includes(name)) }));
}
