/**
 * Outputs that stacks would have, handed from the preview of one stack to the preview of the next. Pulumi itself knows
 * only what stacks had after their last `up`; the runner puts what this preview has found out into a file and names
 * it to the programs by an environment variable.
 */
import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as pulumi from "@pulumi/pulumi";
import type { PlannedOutputs } from "./engine.ts";
import { isObject, isSecret, type Properties, UNKNOWN, type Value } from "./wire.ts";

const VARIABLE = "ISTHMUS_PLANNED_OUTPUTS";

let read: { path: string; stacks: Record<string, Properties | null> } | undefined;

/**
 * For programs: an output of another stack as this preview plans it, unknown where it is not known yet.
 * @returns undefined when nothing was planned for that stack: read it with a `StackReference` then
 */
export function plannedOutput(stack: string, output: string): pulumi.Output<unknown> | undefined {
  const path = process.env[VARIABLE];
  if (path === undefined || !pulumi.runtime.isDryRun()) return undefined;
  if (read?.path !== path) read = { path, stacks: JSON.parse(readFileSync(path, "utf8")) };
  const outputs = read.stacks[stack];
  if (outputs === undefined) return undefined;
  const value = outputs?.[output];
  return value === undefined ? pulumi.output(pulumi.unknown) : toOutput(value);
}

function toOutput(value: Value): pulumi.Output<unknown> {
  if (value === UNKNOWN) return pulumi.output(pulumi.unknown);
  if (isSecret(value)) return pulumi.secret(toOutput(value.value ?? null));
  if (Array.isArray(value)) return pulumi.output(value.map(toOutput));
  if (isObject(value)) {
    return pulumi.output(
      Object.fromEntries(Object.entries(value).map(([key, element]) => [key, toOutput(element)])),
    );
  }
  return pulumi.output(value);
}

/** For runners: calls `work` with the variables that make the planned outputs visible to a program. */
export async function withPlanned<T>(
  planned: PlannedOutputs | undefined,
  work: (variables: Record<string, string>) => Promise<T>,
): Promise<T> {
  if (planned === undefined || planned.size === 0) return work({});
  const directory = await mkdtemp(join(tmpdir(), "isthmus-planned-"));
  try {
    const path = join(directory, "outputs.json");
    await writeFile(path, JSON.stringify(Object.fromEntries(planned)), { mode: 0o600 });
    return await work({ [VARIABLE]: path });
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
