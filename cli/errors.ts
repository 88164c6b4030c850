/** What an error looks like to a user: one block, what happened and what to do. Pure. */
import { MeshError, NoSuchLinkError, PreflightError } from "../stacks/automation.ts";
import { ExitCode, UsageError } from "./exit.ts";
import type { Style } from "./render/style.ts";

export function exitCodeOf(error: unknown): ExitCode {
  const usage = [UsageError, MeshError, NoSuchLinkError].some((kind) => error instanceof kind);
  return usage ? ExitCode.usage : ExitCode.failure;
}

/** @param trace Whether to add where in the code it happened. */
export function describeError(error: unknown, style: Style, trace: boolean): string {
  if (!(error instanceof Error)) return `${style.bad("Error:")} ${String(error)}`;
  const lines = [`${style.bad("Error:")} ${introOf(error)}${error.message}`];
  if (trace && error.stack !== undefined) lines.push(style.dim(error.stack));
  return lines.join("\n");
}

function introOf(error: Error): string {
  if (error instanceof MeshError) return "the declaration is not valid\n";
  if (error instanceof PreflightError) return "nothing was changed, as not every cluster is ready\n";
  return "";
}
