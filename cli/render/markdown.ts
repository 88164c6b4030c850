/** A preview as Markdown, for a comment on a pull request. Pure. */
import { changeCount, type Danger, type MeshResult, type StackOutcome } from "../../stacks/automation.ts";
import { countsInWords, pathsInWords, resourceName } from "./words.ts";

/** A comment has room for 65,536 characters: this many lines of changes fit. */
const MOST_LINES = 300;

export function toMarkdown(result: MeshResult, dangers: readonly Danger[]): string {
  const lines = [`### Isthmus preview: ${result.mesh}`, ""];
  for (const { message } of dangers) lines.push("> [!CAUTION]", `> ${escaped(message)}`, "");
  lines.push("| stack | create | update | replace | delete | unchanged |", "|---|---:|---:|---:|---:|---:|");
  for (const outcome of result.stacks) lines.push(row(outcome));
  lines.push("", result.ok ? `**${countsInWords(result.changes, true)}**` : "**The preview failed.**", "");
  for (const { stack, status, message } of result.stacks) {
    if (status === "failed") lines.push(`\`${stack}\`:`, "```", message ?? "", "```", "");
  }
  if (changeCount(result.changes) > 0) {
    const changes = result.stacks.flatMap(changesOf);
    lines.push("<details><summary>Changes</summary>", "", ...changes.slice(0, MOST_LINES));
    if (changes.length > MOST_LINES) lines.push(`- … and ${changes.length - MOST_LINES} more`);
    lines.push("", "</details>", "");
  }
  return lines.join("\n");
}

function row({ stack, operation, status, result, message }: StackOutcome): string {
  const name = `\`${stack}\`${operation === "destroy" ? " (to be removed)" : ""}`;
  if (result === undefined || status !== "done")
    return `| ${name} | ${status}: ${escaped(message ?? "")} | | | | |`;
  const { create, update, replace, delete: deleted, same } = result.changes;
  return `| ${name} | ${[create, update, replace, deleted, same].map((count) => count || "").join(" | ")} |`;
}

function changesOf({ stack, result }: StackOutcome): string[] {
  return (result?.resources ?? []).map((step) => {
    const paths = step.diff.length > 0 ? `: ${escaped(pathsInWords(step.diff))}` : "";
    return `- \`${stack}\` **${step.op}** ${escaped(resourceName(step))}${paths}`;
  });
}

/** One line, in which nothing is taken for Markdown of ours. */
function escaped(text: string): string {
  return text.replace(/\s+/g, " ").replace(/([|<>*_`[\]\\])/g, "\\$1");
}
