/** The Pulumi CLI: where it is, and the few calls of it that the Automation API cannot make without side effects. */
import { execFile } from "node:child_process";
import { constants } from "node:fs";
import { access } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

/** Path of the `pulumi` command; undefined when there is none on the PATH. */
export async function findPulumi(path: string = process.env.PATH ?? ""): Promise<string | undefined> {
  const name = process.platform === "win32" ? "pulumi.exe" : "pulumi";
  for (const directory of path.split(delimiter)) {
    const candidate = join(directory, name);
    try {
      await access(candidate, constants.X_OK);
      return candidate;
    } catch {
      // Not there: the next one.
    }
  }
  return undefined;
}

export interface StackSummary {
  name: string;
}

/** Talks to the CLI in one project directory. It never selects a stack: that is the user's. */
export class PulumiCommand {
  readonly #command: string;
  readonly #directory: string;

  constructor(command: string, directory: string) {
    this.#command = command;
    this.#directory = directory;
  }

  /** Names of the project's stacks, without organization and project. @throws Error */
  async stacks(): Promise<string[]> {
    const output = await this.#run(["stack", "ls", "--json"]);
    return (JSON.parse(output) as StackSummary[]).map(({ name }) => name.slice(name.lastIndexOf("/") + 1));
  }

  async createStack(stack: string): Promise<void> {
    await this.#run(["stack", "init", stack, "--no-select"]);
  }

  async removeStack(stack: string): Promise<void> {
    await this.#run(["stack", "rm", stack, "--yes"]);
  }

  async #run(args: string[]): Promise<string> {
    const environment = { ...process.env, PULUMI_SKIP_UPDATE_CHECK: "true" };
    try {
      const options = { cwd: this.#directory, env: environment, maxBuffer: 64 * 1024 * 1024 };
      const { stdout } = await run(this.#command, [...args, "--non-interactive"], options);
      return stdout;
    } catch (error) {
      throw new Error(explain(args, (error as { stderr?: string }).stderr ?? (error as Error).message));
    }
  }
}

function explain(args: string[], output: string): string {
  const text = output.trim();
  if (/PULUMI_ACCESS_TOKEN must be set/.test(text)) {
    return "Pulumi knows no backend to keep its state in. Run `pulumi login` (or `pulumi login --local`), or set PULUMI_BACKEND_URL";
  }
  if (/passphrase must be set/.test(text)) {
    return "Pulumi needs the passphrase of the stacks' secrets: set PULUMI_CONFIG_PASSPHRASE or PULUMI_CONFIG_PASSPHRASE_FILE";
  }
  return `pulumi ${args.slice(0, 2).join(" ")}: ${text}`;
}
