/** What `isthmus` runs. */
import { ExitCode } from "./exit.ts";
import { runCommandLine } from "./program.ts";
import { realTerminal } from "./terminal.ts";

const interrupt = new AbortController();
process.on("SIGINT", () => {
  // Once: finish what is being written. Twice: the user means it.
  if (interrupt.signal.aborted) process.exit(ExitCode.interrupted);
  process.stderr.write("\nInterrupted: finishing what is being written; once more ends at once\n");
  interrupt.abort(new Error("interrupted"));
});
process.on("SIGTERM", () => interrupt.abort(new Error("interrupted")));

process.exitCode = await runCommandLine(process.argv.slice(2), realTerminal(interrupt.signal));
