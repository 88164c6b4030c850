/** Brings all stacks of a mesh up, previews them, or destroys them. */
import { resolve } from "node:path";
import { chooseEngine } from "../engines/choose.ts";
import { type Engine, StackError, type StackResult } from "../engines/engine.ts";
import type { Properties } from "../engines/wire.ts";
import { loadMesh, type Mesh } from "../mesh.ts";
import { PARALLEL } from "../parallel.ts";
import { preflight } from "../preflight.ts";
import { type MeshEvent, type MeshResult, meshResult, type StackOutcome } from "./result.ts";
import { inOrder } from "./schedule.ts";
import { destroySteps, only, type Step, upSteps } from "./steps.ts";

export interface RunOptions {
  /** Path of the declaration. @default "mesh.yaml" */
  file?: string;
  /** `pulumi` or `embedded`. @default the variable ISTHMUS_ENGINE, else `pulumi` where its CLI is on the PATH, else `embedded` */
  engine?: string;
  /** How many stacks are worked on at once. @default 4 */
  parallel?: number;
  /** Only these stacks, by name; what they depend on must be up already. @default all */
  stacks?: string[];
  /** Ends the run early: what is being written is finished, and no stack is begun any more. */
  signal?: AbortSignal;
  onEvent?: (event: MeshEvent) => void;
}

/**
 * Brings a mesh to where its declaration says: creates, updates, and removes what is not declared any more. A stack that
 * fails keeps what was done; those that depend on it are skipped, the others go on; the next run continues from there.
 * @throws MeshError for a declaration that is not valid, PreflightError when a cluster is not as declared
 */
export async function up(options: RunOptions = {}): Promise<MeshResult> {
  const { mesh, engine, why } = await open(options);
  await preflight(mesh, options.stacks && clustersOf(mesh, options.stacks));
  return engine.exclusively(async () => {
    const steps = selected(upSteps(mesh, await engine.stacks()), options);
    return run(mesh, engine, why, steps, options, ({ stack, operation }, { signal, onEvent }) => {
      const settings = { ...(signal && { signal }), ...(onEvent && { onEvent }) };
      return operation === "up" ? engine.up(stack, settings) : engine.destroy(stack, settings);
    });
  });
}

/** What `up` would do. Nothing is changed. @throws as `up` */
export async function preview(options: RunOptions = {}): Promise<MeshResult> {
  const { mesh, engine, why } = await open(options);
  await preflight(mesh, options.stacks && clustersOf(mesh, options.stacks));
  const steps = selected(upSteps(mesh, await engine.stacks()), options);
  // What one stack would give to the next, which Pulumi itself only knows after an `up`.
  const planned = new Map<string, Properties | null>();
  return run(mesh, engine, why, steps, options, async ({ stack, operation }, { signal, onEvent }) => {
    const settings = { ...(signal && { signal }), ...(onEvent && { onEvent }) };
    if (operation === "destroy") {
      const result = await engine.previewDestroy(stack, settings);
      planned.set(stack, null);
      return result;
    }
    const result = await engine.preview(stack, { ...settings, planned: new Map(planned) });
    planned.set(stack, result.outputs);
    return result;
  });
}

/** Deletes everything that the stacks of a mesh hold, those that depend on others first. @throws MeshError */
export async function destroy(options: RunOptions = {}): Promise<MeshResult> {
  const { mesh, engine, why } = await open(options);
  return engine.exclusively(async () => {
    const steps = selected(destroySteps(mesh, await engine.stacks()), options);
    return run(mesh, engine, why, steps, options, ({ stack }, settings) => engine.destroy(stack, settings));
  });
}

/** What `destroy` would delete. @throws MeshError */
export async function previewDestroy(options: RunOptions = {}): Promise<MeshResult> {
  const { mesh, engine, why } = await open(options);
  const steps = selected(destroySteps(mesh, await engine.stacks()), options);
  return run(mesh, engine, why, steps, options, ({ stack }, settings) =>
    engine.previewDestroy(stack, settings),
  );
}

/** Outputs of one stack after its last `up`, secrets wrapped; undefined where there is no such stack. */
export async function stackOutputs(stack: string, options: RunOptions = {}): Promise<Properties | undefined> {
  const { engine } = await open(options);
  return engine.outputs(stack);
}

async function open(options: RunOptions): Promise<{ mesh: Mesh; engine: Engine; why: string }> {
  const mesh = loadMesh(resolve(options.file ?? "mesh.yaml"));
  const { engine, why } = await chooseEngine({ mesh: mesh.name, meshFile: mesh.file }, options.engine);
  return { mesh, engine, why };
}

function selected(steps: Step[], { stacks }: RunOptions): Step[] {
  return stacks === undefined ? steps : only(steps, stacks);
}

function clustersOf(mesh: Mesh, stacks: readonly string[]): string[] {
  return upSteps(mesh, []).flatMap(({ stack, cluster }) =>
    cluster !== undefined && stacks.includes(stack) ? [cluster] : [],
  );
}

type Work = (step: Step, settings: Pick<RunOptions, "signal" | "onEvent">) => Promise<StackResult>;

async function run(
  mesh: Mesh,
  engine: Engine,
  why: string,
  steps: Step[],
  options: RunOptions,
  work: Work,
): Promise<MeshResult> {
  const tell = (event: MeshEvent) => options.onEvent?.(event);
  tell({ event: "plan", engine: why === "" ? engine.describe() : `${engine.describe()}; ${why}`, steps });
  const outcomes = new Map<string, StackOutcome>();
  const end = (step: Step, outcome: Pick<StackOutcome, "status" | "seconds"> & Partial<StackOutcome>) => {
    const { stack, kind, cluster, operation } = step;
    const whole = { stack, kind, ...(cluster !== undefined && { cluster }), operation, ...outcome };
    outcomes.set(stack, whole);
    tell({ event: "stack-ended", stack, outcome: whole });
    return outcome.status === "done";
  };
  await inOrder(
    steps,
    options.parallel ?? PARALLEL,
    async (step) => {
      if (options.signal?.aborted === true) {
        return end(step, { status: "skipped", message: "the run was interrupted", seconds: 0 });
      }
      tell({ event: "stack-started", stack: step.stack });
      const began = performance.now();
      const seconds = () => (performance.now() - began) / 1000;
      try {
        const settings = { onEvent: tell, ...(options.signal && { signal: options.signal }) };
        return end(step, { status: "done", result: await work(step, settings), seconds: seconds() });
      } catch (error) {
        const known = error instanceof StackError ? error : undefined;
        return end(step, {
          status: "failed",
          message: (error as Error).message,
          seconds: seconds(),
          ...(known && { result: known.result, ...(known.urn !== undefined && { urn: known.urn }) }),
        });
      }
    },
    (step, because) =>
      end(step, { status: "skipped", message: `${because} comes first, and did not end well`, seconds: 0 }),
  );
  return meshResult(
    mesh.name,
    engine.name,
    steps.flatMap(({ stack }) => outcomes.get(stack) ?? []),
  );
}
