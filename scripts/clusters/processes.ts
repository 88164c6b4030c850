import { readdirSync, readFileSync } from "node:fs";

/** A process of this machine, as /proc shows it now. */
export interface Process {
  pid: number;
  parent: number;
  argv: string[];
}

/** Every process that this machine shows; kernel threads and those that are ending have no argv and are left out. */
export function listProcesses(): Process[] {
  const processes: Process[] = [];
  for (const entry of readdirSync("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      const argv = readFileSync(`/proc/${entry}/cmdline`, "utf8").split("\0").slice(0, -1);
      if (argv.length === 0) continue;
      // The name in parentheses may hold anything, so the fields count from the last parenthesis: state, parent.
      const stat = readFileSync(`/proc/${entry}/stat`, "utf8");
      const parent = Number(
        stat
          .slice(stat.lastIndexOf(")") + 1)
          .trim()
          .split(" ")[1],
      );
      processes.push({ pid: Number(entry), parent, argv });
    } catch (error) {
      // It ended between being listed and being read.
      if (!isGone(error)) throw error;
    }
  }
  return processes;
}

/** Whether the process is its own namespace's first. */
export function isFirstOfNamespace(pid: number): boolean {
  try {
    const line = /^NSpid:\s+(.*)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? "";
    const ids = line.split(/\s+/);
    return ids.length > 1 && ids.at(-1) === "1";
  } catch (error) {
    if (isGone(error)) return false;
    throw error;
  }
}

/** Whether a process of that id exists, and is more than a remainder that waits for its parent. */
export function isAlive(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return !/^\s*[ZX]/.test(stat.slice(stat.lastIndexOf(")") + 1));
  } catch (error) {
    if (isGone(error)) return false;
    throw error;
  }
}

function isGone(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException).code;
  return code === "ENOENT" || code === "ESRCH";
}
