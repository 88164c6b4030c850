/**
 * Outputs that stacks would have, handed from the preview of one stack to the preview of the next. Pulumi itself knows
 * only what stacks had after their last `up`; the runner puts what this preview has found out into a file and names
 * it to the programs by an environment variable.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { PlannedOutputs } from "./engine.ts";

export const PLANNED_VARIABLE = "ISTHMUS_PLANNED_OUTPUTS";

/** Calls `work` with the variables that make the planned outputs visible to a program. */
export async function withPlanned<T>(
  planned: PlannedOutputs | undefined,
  work: (variables: Record<string, string>) => Promise<T>,
): Promise<T> {
  if (planned === undefined || planned.size === 0) return work({});
  const directory = await mkdtemp(join(tmpdir(), "isthmus-planned-"));
  try {
    const path = join(directory, "outputs.json");
    await writeFile(path, JSON.stringify(Object.fromEntries(planned)), { mode: 0o600 });
    return await work({ [PLANNED_VARIABLE]: path });
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
