/** The last lines of a run, for people. Pure. */
import { changeCount, type Danger, type MeshResult } from "../../stacks/automation.ts";
import type { Style } from "./style.ts";
import { countsInWords, duration } from "./words.ts";

/** @param planned Whether it was a preview. @param seconds how long all of it took */
export function summary(result: MeshResult, planned: boolean, seconds: number, style: Style): string {
  const lines: string[] = [];
  for (const { stack, status, message, urn } of result.stacks) {
    if (status !== "failed") continue;
    lines.push("", `${style.bad("Error:")} ${stack}: ${message}`);
    if (urn !== undefined) lines.push(style.dim(`  ${urn}`));
  }
  const skipped = result.stacks.filter(({ status }) => status === "skipped");
  if (!result.ok) {
    lines.push("");
    if (skipped.length > 0) lines.push(`Skipped: ${skipped.map(({ stack }) => stack).join(", ")}`);
    if (!planned)
      lines.push(
        "What was done is kept. Mend what failed and run the same command again: it goes on from there.",
      );
  }
  const word = result.ok ? style.good(planned ? "Preview:" : "Done:") : style.bad("Not done:");
  const counts = countsInWords(result.changes, planned);
  const quiet = result.ok && changeCount(result.changes) === 0;
  lines.push(
    "",
    `${word} ${quiet ? `nothing to change${unchanged(result)}` : counts} ${style.dim(`(${duration(seconds)})`)}`,
  );
  return lines.join("\n");
}

export function dangersInWords(dangers: readonly Danger[], style: Style): string {
  return dangers.map(({ message }) => `${style.bad("Danger:")} ${message}`).join("\n");
}

function unchanged({ changes }: MeshResult): string {
  return changes.same === 0 ? "" : `, ${changes.same} unchanged`;
}
