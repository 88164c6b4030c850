/** The command line: one command a file, put together here. */
import { readFileSync } from "node:fs";
import { Command, CommanderError } from "commander";
import { checkCommand } from "./commands/check.ts";
import { destroyCommand } from "./commands/destroy.ts";
import { exportCommand, unexportCommand } from "./commands/export.ts";
import { previewCommand } from "./commands/preview.ts";
import { rotateCommand } from "./commands/rotate.ts";
import { upCommand } from "./commands/up.ts";
import { describeError, exitCodeOf } from "./errors.ts";
import { ExitCode } from "./exit.ts";
import type { Terminal } from "./terminal.ts";

const COMMANDS = [
  ...[upCommand, previewCommand, destroyCommand],
  ...[exportCommand, unexportCommand, rotateCommand, checkCommand],
];

const ABOUT = `
Everything follows from one file, mesh.yaml. Start with \`isthmus check\`, then \`isthmus preview\`, then \`isthmus up\`.
The state is Pulumi's where its CLI is installed; else it is kept beside mesh.yaml (see docs/engines.md).`;

/** Runs a command line. Never throws, never ends the process. @param args without the node binary and the script */
export async function runCommandLine(args: readonly string[], terminal: Terminal): Promise<ExitCode> {
  let code: ExitCode = ExitCode.ok;
  const program = new Command("isthmus")
    .description(
      "Kubernetes clusters joined from code: one declaration of clusters, trust, links and exports",
    )
    .version(version(), "--version", "print the version")
    .addHelpText("after", ABOUT)
    .configureOutput({
      writeOut: (text) => terminal.out(text.trimEnd()),
      writeErr: (text) => terminal.err(text.trimEnd()),
    })
    .showHelpAfterError("(isthmus --help says what there is)")
    .exitOverride();
  for (const add of COMMANDS) {
    add(program, terminal, (ended) => {
      code = ended;
    });
  }
  const inherit = (parent: Command) => {
    for (const command of parent.commands) inherit(command.copyInheritedSettings(parent));
  };
  inherit(program);
  try {
    await program.parseAsync(args, { from: "user" });
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? ExitCode.ok : ExitCode.usage;
    if (terminal.signal.aborted) return ExitCode.interrupted;
    terminal.err(describeError(error, terminal.style, args.includes("--verbose")));
    return exitCodeOf(error);
  }
  return terminal.signal.aborted ? ExitCode.interrupted : code;
}

/** Of the package that this file is in: one folder up in a checkout, two where it is compiled. */
function version(): string {
  for (const path of ["../package.json", "../../package.json"]) {
    try {
      const found = JSON.parse(readFileSync(new URL(path, import.meta.url), "utf8"));
      if (found.name === "isthmus") return found.version;
    } catch {
      // Not there: one folder further up.
    }
  }
  return "unknown";
}
