import { accessSync, constants, existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { $ } from "zx";
import { ClusterError } from "./errors.ts";
import type { Progress } from "./progress.ts";
import { ADMIN_DIRECTORIES } from "./shell.ts";

/** Something that must be on the machine, and the Debian package that has it. */
export interface Requirement {
  /** A command, or paths of which one must exist. */
  command?: string;
  anyFile?: string[];
  package: string;
}

/** Path of a command, or undefined. */
export function findCommand(name: string): string | undefined {
  const directories = [...(process.env.PATH ?? "").split(delimiter), ...ADMIN_DIRECTORIES];
  return directories.map((directory) => join(directory, name)).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    // Absent, or not ours to run: both are "no".
    return false;
  }
}

/** Those of `requirements` that the machine lacks. */
export function missingOf(requirements: readonly Requirement[]): Requirement[] {
  return requirements.filter(({ command, anyFile }) =>
    command !== undefined ? findCommand(command) === undefined : !anyFile?.some((file) => existsSync(file)),
  );
}

/** Have `requirements` on the machine: installs Debian's packages where this is Debian and root, else names them. */
export async function ensurePackages(
  requirements: readonly Requirement[],
  progress: Progress,
): Promise<void> {
  const missing = missingOf(requirements);
  if (missing.length === 0) return;
  const packages = [...new Set(missing.map((requirement) => requirement.package))];
  const command = `apt-get install --yes --no-install-recommends ${packages.join(" ")}`;
  const what = missing.map(({ command, anyFile }) => command ?? anyFile?.[0]).join(", ");
  if (findCommand("apt-get") === undefined) {
    throw new ClusterError(
      `missing on this machine: ${what}. On Debian the packages are: ${packages.join(" ")}`,
    );
  }
  if (process.getuid?.() !== 0) {
    throw new ClusterError(`missing on this machine: ${what}. Install them: sudo ${command}`);
  }
  progress(`missing on this machine: ${what}; running ${command}`);
  const apt = $({ quiet: true, nothrow: true, stdio: ["ignore", "pipe", "pipe"] });
  const environment = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  await apt({ env: environment })`apt-get update`;
  const installed = await apt({
    env: environment,
  })`apt-get install --yes --no-install-recommends ${packages}`;
  if (installed.exitCode !== 0) {
    throw new ClusterError(
      `"${command}" failed:\n${installed.stderr.trim().split("\n").slice(-10).join("\n")}`,
    );
  }
  const still = missingOf(requirements);
  if (still.length > 0) {
    throw new ClusterError(
      `${still.map(({ command, anyFile }) => command ?? anyFile?.[0]).join(", ")} still missing after "${command}"`,
    );
  }
}
