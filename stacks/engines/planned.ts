/** The programs' side of `handing.ts`: what a preview plans for another stack. */
import { readFileSync } from "node:fs";
import * as pulumi from "@pulumi/pulumi";
import { PLANNED_VARIABLE } from "./handing.ts";
import { isObject, isSecret, type Properties, UNKNOWN, type Value } from "./wire.ts";

let read: { path: string; stacks: Record<string, Properties | null> } | undefined;

/**
 * For programs: an output of another stack as this preview plans it, unknown where it is not known yet.
 * @returns undefined when nothing was planned for that stack: read it with a `StackReference` then
 */
export function plannedOutput(stack: string, output: string): pulumi.Output<unknown> | undefined {
  const path = process.env[PLANNED_VARIABLE];
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
