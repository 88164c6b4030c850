import type { Command } from "commander";
import { type Rotation, rotateCredentials } from "../../stacks/automation.ts";
import { PARALLEL } from "../../stacks/parallel.ts";
import { ExitCode } from "../exit.ts";
import { wholeNumber } from "../options.ts";
import type { Terminal } from "../terminal.ts";

interface RotateOptions {
  file: string;
  source?: string;
  target?: string;
  parallel: number;
  json?: boolean;
}

const EXAMPLES = `
The controllers renew their tokens by themselves. This is for one that ended while its controller was off, or that may be in
wrong hands. Mirrors stay as they are. The tokens before go on to their end, a week at the most; docs/cli.md says how to end
them at once.

Examples:
  $ isthmus rotate credentials                       of every link
  $ isthmus rotate credentials --source local --target remote
  $ isthmus rotate credentials --target remote --json`;

export function rotateCommand(program: Command, terminal: Terminal, exit: (code: ExitCode) => void): void {
  const rotate = program
    .command("rotate")
    .description("replace what links are let in by")
    .addHelpText("after", "\nExample:\n  $ isthmus rotate credentials");
  rotate
    .command("credentials")
    .description("ask the targets of links for new tokens, and have the links use them at once")
    .option("-f, --file <path>", "the declaration of the mesh", "mesh.yaml")
    .option("--source <name>", "only links of this cluster (default: of all)")
    .option("--target <name>", "only links to this cluster (default: to all)")
    .option("--parallel <n>", "how many links are worked on at once", wholeNumber, PARALLEL)
    .option("--json", "print the result as JSON")
    .option("--verbose", "say where in the code an error happened")
    .addHelpText("after", EXAMPLES)
    .action(async ({ json = false, ...options }: RotateOptions) => {
      const { signal } = terminal;
      const onLink = (rotation: Rotation) => terminal.out(inWords(rotation, terminal));
      const links = await rotateCredentials({ ...options, signal, ...(json ? {} : { onLink }) });
      const ok = links.every(({ problem }) => problem === undefined);
      if (json) terminal.out(JSON.stringify({ ok, links }, undefined, 2));
      exit(ok ? ExitCode.ok : ExitCode.failure);
    });
}

function inWords({ source, target, problem }: Rotation, { style }: Terminal): string {
  const link = `link of ${source} to ${target}`;
  return problem === undefined
    ? `${style.good("ok")}  ${link} has new credentials`
    : `${style.bad("failed")}  ${link}: ${problem}`;
}
