import type { Command } from "commander";
import { changeCount, dangersOf, preview, up } from "../../stacks/automation.ts";
import { ExitCode, UsageError } from "../exit.ts";
import { type CommonOptions, withCommonOptions } from "../options.ts";
import { toJson } from "../render/json.ts";
import { dangersInWords } from "../render/summary.ts";
import { showSummary, withProgress } from "../running.ts";
import { confirmed, type Terminal } from "../terminal.ts";

interface UpOptions extends CommonOptions {
  yes?: boolean;
  skipPreview?: boolean;
  json?: boolean;
}

const EXAMPLES = `
Examples:
  $ isthmus up                      preview, ask, then bring the mesh to where mesh.yaml says
  $ isthmus up --yes                the same without asking: for pipelines
  $ isthmus up --yes --skip-preview straight away
  $ isthmus up -f prod/mesh.yaml --yes --json > result.json`;

export function upCommand(program: Command, terminal: Terminal, exit: (code: ExitCode) => void): void {
  withCommonOptions(program.command("up"))
    .description("bring all stacks of the mesh up, in their order, and remove what is not declared any more")
    .option("-y, --yes", "do not ask")
    .option("--skip-preview", "do not look first what would happen")
    .option("--json", "print the result as JSON; progress goes to standard error")
    .addHelpText("after", EXAMPLES)
    .action(async (options: UpOptions) => exit(await runUp(options, terminal)));
}

async function runUp(options: UpOptions, terminal: Terminal): Promise<ExitCode> {
  const { yes = false, skipPreview = false, json = false } = options;
  if (!yes && terminal.ask === undefined) {
    throw new UsageError("There is no terminal to ask on: say --yes to bring the mesh up without asking");
  }
  if (!yes && skipPreview)
    throw new UsageError("Without a preview there is nothing to agree to: say --yes as well");
  if (!skipPreview) {
    const planned = await withProgress(terminal, options, true, json, preview);
    const { result } = planned;
    const nothing = result.ok && changeCount(result.changes) === 0 && result.stacks.every(isUp);
    if (!json || !result.ok) showSummary(json ? { ...terminal, out: terminal.err } : terminal, planned, true);
    if (nothing && json) terminal.out(toJson(result, []));
    if (!result.ok) return ExitCode.failure;
    if (nothing) return ExitCode.ok;
    const dangers = dangersOf(result);
    if (dangers.length > 0) terminal.err(dangersInWords(dangers, terminal.style));
    if (!yes && !(await confirmed(terminal, "\nDo this?"))) {
      terminal.out("Nothing was changed.");
      return ExitCode.failure;
    }
    if (!json) terminal.out("");
  }
  const done = await withProgress(terminal, options, false, json, up);
  if (json) terminal.out(toJson(done.result, dangersOf(done.result)));
  else showSummary(terminal, done, false);
  return done.result.ok ? ExitCode.ok : ExitCode.failure;
}

/** A stack that is to be removed is a change, even when nothing is left in it. */
function isUp({ operation }: { operation: string }): boolean {
  return operation === "up";
}
