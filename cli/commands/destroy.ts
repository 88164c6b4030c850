import type { Command } from "commander";
import { destroy, previewDestroy } from "../../stacks/automation.ts";
import { ExitCode, UsageError } from "../exit.ts";
import { type CommonOptions, withCommonOptions } from "../options.ts";
import { toJson } from "../render/json.ts";
import { showSummary, withProgress } from "../running.ts";
import { confirmed, type Terminal } from "../terminal.ts";

interface DestroyOptions extends CommonOptions {
  yes?: boolean;
  json?: boolean;
}

const EXAMPLES = `
Links go first, then clusters, then the trust anchors. Services that were exported stay: only our labels go.

Examples:
  $ isthmus destroy
  $ isthmus destroy --yes`;

export function destroyCommand(program: Command, terminal: Terminal, exit: (code: ExitCode) => void): void {
  withCommonOptions(program.command("destroy"))
    .description("delete everything that the stacks of the mesh hold, in all its clusters")
    .option("-y, --yes", "do not ask")
    .option("--json", "print the result as JSON; progress goes to standard error")
    .addHelpText("after", EXAMPLES)
    .action(async (options: DestroyOptions) => exit(await runDestroy(options, terminal)));
}

async function runDestroy(options: DestroyOptions, terminal: Terminal): Promise<ExitCode> {
  const { yes = false, json = false } = options;
  if (!yes) {
    if (terminal.ask === undefined) {
      throw new UsageError("There is no terminal to ask on: say --yes to destroy the mesh without asking");
    }
    const planned = await withProgress(terminal, options, true, json, previewDestroy);
    const empty = planned.result.stacks.length === 0;
    if (!empty) showSummary(terminal, planned, true);
    if (!planned.result.ok) return ExitCode.failure;
    if (empty) {
      terminal.out("There is nothing to destroy.");
      return ExitCode.ok;
    }
    if (!(await confirmed(terminal, `\nDestroy the mesh ${planned.result.mesh}?`))) {
      terminal.out("Nothing was changed.");
      return ExitCode.failure;
    }
  }
  const done = await withProgress(terminal, options, false, json, destroy);
  if (json) terminal.out(toJson(done.result, []));
  else if (done.result.stacks.length === 0) terminal.out("There is nothing to destroy.");
  else showSummary(terminal, done, false);
  return done.result.ok ? ExitCode.ok : ExitCode.failure;
}
