/** The child process in which a stack's program runs, by the same script that Pulumi's own language host starts. */
import { type ChildProcess, spawn } from "node:child_process";
import { createRequire } from "node:module";
import { extname } from "node:path";
import { createInterface } from "node:readline";
import { stripVTControlCharacters } from "node:util";
import { PASSPHRASE_VARIABLES } from "./state/file.ts";

export interface ProgramOptions {
  /** Absolute path of the program's entry. */
  program: string;
  directory: string;
  project: string;
  stack: string;
  config: Record<string, string>;
  preview: boolean;
  /** Addresses of the gRPC services. */
  monitor: string;
  engine: string;
  variables: Record<string, string>;
  /** What the program writes to its standard output and error, line by line. */
  onLine: (line: string, isError: boolean) => void;
}

export interface ProgramEnd {
  code: number | null;
  signal: NodeJS.Signals | null;
}

/** How long a child that was told to end may take, in milliseconds, before it is ended by force. */
const PATIENCE = 2000;

export class Program {
  readonly ended: Promise<ProgramEnd>;
  readonly #child: ChildProcess;

  constructor(options: ProgramOptions) {
    // Resolved from the program, so that it and the script share one copy of the SDK.
    const run = createRequire(options.program).resolve("@pulumi/pulumi/cmd/run");
    this.#child = spawn(
      process.execPath,
      [
        "--disable-warning=ExperimentalWarning",
        ...["--import", new URL(`./preload${extname(import.meta.url)}`, import.meta.url).href],
        run,
        ...["--project", options.project],
        ...["--stack", options.stack],
        ...["--organization", "organization"],
        ...["--root-directory", options.directory],
        ...["--pwd", options.directory],
        ...["--monitor", options.monitor],
        ...["--engine", options.engine],
        ...["--parallel", "1000"],
        ...(options.preview ? ["--dry-run"] : []),
        options.program,
      ],
      {
        cwd: options.directory,
        env: environment(options),
        stdio: ["ignore", "pipe", "pipe"],
        // Ctrl-C is for the engine, which ends the program when its work is done.
        detached: true,
      },
    );
    const { stdout, stderr } = this.#child;
    if (stdout !== null) createInterface(stdout).on("line", (line) => options.onLine(line, false));
    if (stderr !== null) createInterface(stderr).on("line", (line) => options.onLine(line, true));
    this.ended = new Promise((resolve, reject) => {
      this.#child.once("error", reject);
      this.#child.once("close", (code, signal) => resolve({ code, signal }));
    });
  }

  async end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.kill("SIGTERM");
    const force = setTimeout(() => this.#child.kill("SIGKILL"), PATIENCE);
    try {
      await this.ended;
    } finally {
      clearTimeout(force);
    }
  }
}

function environment(options: ProgramOptions): NodeJS.ProcessEnv {
  const variables: NodeJS.ProcessEnv = {
    ...process.env,
    ...options.variables,
    PULUMI_CONFIG: JSON.stringify(options.config),
    PULUMI_CONFIG_SECRET_KEYS: "[]",
    PULUMI_NODEJS_TYPESCRIPT: "false",
    NO_COLOR: "1",
  };
  delete variables.FORCE_COLOR;
  delete variables.NODE_OPTIONS;
  // The state is the engine's business: no program needs its passphrase.
  for (const name of PASSPHRASE_VARIABLES) delete variables[name];
  return variables;
}

/** The SDK logs a failure with its stack, and sometimes with the whole error object: this is what it says. */
export function programMessage(text: string): string {
  return stripVTControlCharacters(text)
    .replace(/^Running program '.*' failed with an unhandled exception:\n/, "")
    .replace(/^<ref \*\d+> /, "")
    .replace(/\n\s+at [\s\S]*$/, "")
    .replace(/^(Uncaught )?Error: /, "")
    .trim();
}
