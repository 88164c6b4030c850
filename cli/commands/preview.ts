import type { Command } from "commander";
import { changeCount, type Danger, DangerKind, dangersOf, preview } from "../../stacks/automation.ts";
import { ExitCode, UsageError } from "../exit.ts";
import { type CommonOptions, withCommonOptions } from "../options.ts";
import { toJson } from "../render/json.ts";
import { toMarkdown } from "../render/markdown.ts";
import { dangersInWords } from "../render/summary.ts";
import { showSummary, withProgress } from "../running.ts";
import type { Terminal } from "../terminal.ts";

interface PreviewOptions extends CommonOptions {
  json?: boolean;
  markdown?: boolean;
  expectNoChanges?: boolean;
  allowTrustChange?: boolean;
  allowLinkRemoval?: boolean;
}

const EXAMPLES = `
Exit code: 0 when the preview could be made, whether there are changes or not. 1 when it could not, with
--expect-no-changes when there are any, and when a trust anchor or a link would go without being allowed to.

Examples:
  $ isthmus preview
  $ isthmus preview --markdown > comment.md     for a comment on a pull request
  $ isthmus preview --json | jq .changes
  $ isthmus preview --expect-no-changes         fails when reality has drifted from mesh.yaml`;

export function previewCommand(program: Command, terminal: Terminal, exit: (code: ExitCode) => void): void {
  withCommonOptions(program.command("preview"))
    .description("say what `up` would do; nothing is changed")
    .option("--json", "print the result as JSON; progress goes to standard error")
    .option("--markdown", "print the result as Markdown; progress goes to standard error")
    .option("--expect-no-changes", "fail when anything would change")
    .option("--allow-trust-change", "do not fail when a trust anchor would be replaced or removed")
    .option("--allow-link-removal", "do not fail when a link would be replaced or removed")
    .addHelpText("after", EXAMPLES)
    .action(async (options: PreviewOptions) => exit(await runPreview(options, terminal)));
}

async function runPreview(options: PreviewOptions, terminal: Terminal): Promise<ExitCode> {
  const { json = false, markdown = false } = options;
  if (json && markdown) throw new UsageError("--json and --markdown exclude each other");
  const timed = await withProgress(terminal, options, true, json || markdown, preview);
  const { result } = timed;
  const dangers = dangersOf(result);
  if (json) terminal.out(toJson(result, dangers));
  else if (markdown) terminal.out(toMarkdown(result, dangers));
  else showSummary(terminal, timed, true);
  if (dangers.length > 0) terminal.err(dangersInWords(dangers, terminal.style));
  if (!result.ok) return ExitCode.failure;
  const refused = dangers.filter((danger) => !isAllowed(danger, options));
  if (refused.length > 0) {
    const flags = new Set(refused.map(({ kind }) => FLAGS[kind]));
    terminal.err(`Not allowed without ${[...flags].join(" and ")}`);
    return ExitCode.failure;
  }
  if (options.expectNoChanges === true && changeCount(result.changes) > 0) {
    terminal.err("There are changes, and none were expected");
    return ExitCode.failure;
  }
  return ExitCode.ok;
}

const FLAGS: Record<DangerKind, string> = {
  [DangerKind.TrustAnchor]: "--allow-trust-change",
  [DangerKind.Link]: "--allow-link-removal",
};

function isAllowed({ kind }: Danger, options: PreviewOptions): boolean {
  return kind === DangerKind.TrustAnchor
    ? options.allowTrustChange === true
    : options.allowLinkRemoval === true;
}
