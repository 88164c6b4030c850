/** What a run over the stacks of a mesh reports, while it goes and in the end. */
import type { ChangeCounts, EngineEvent, StackResult } from "../engines/engine.ts";
import { CHANGES, emptyCounts, type Operation } from "../engines/engine.ts";
import type { StackKind } from "../plan.ts";
import type { Step } from "./steps.ts";

export interface StackOutcome {
  stack: string;
  kind: StackKind;
  cluster?: string;
  operation: Step["operation"];
  status: "done" | "failed" | "skipped";
  /** What was done (preview: would be), also by a stack that failed half-way. */
  result?: StackResult;
  /** Why it failed, or what it waited for in vain. */
  message?: string;
  /** The resource at fault, if it is one resource's. */
  urn?: string;
  seconds: number;
}

export interface MeshResult {
  mesh: string;
  /** `pulumi` or `embedded`. */
  engine: string;
  /** In the order of the plan. */
  stacks: StackOutcome[];
  /** Sum over all stacks. */
  changes: ChangeCounts;
  /** Whether every stack ended well. */
  ok: boolean;
}

export type MeshEvent =
  /** Once, before anything is done. `engine` is a line for the user. */
  | { event: "plan"; engine: string; steps: Step[] }
  | { event: "stack-started"; stack: string }
  | { event: "stack-ended"; stack: string; outcome: StackOutcome }
  | EngineEvent;

export function meshResult(mesh: string, engine: string, stacks: StackOutcome[]): MeshResult {
  const changes = emptyCounts();
  for (const { result } of stacks) {
    if (result === undefined) continue;
    for (const op of Object.keys(changes) as Operation[]) changes[op] += result.changes[op];
  }
  return { mesh, engine, stacks, changes, ok: stacks.every(({ status }) => status === "done") };
}

/** How many resources changed (preview: would change). */
export function changeCount(counts: ChangeCounts): number {
  return CHANGES.reduce((sum, op) => sum + counts[op], 0);
}
