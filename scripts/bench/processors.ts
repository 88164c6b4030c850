import { availableParallelism } from "node:os";
import { checkoutId, checkoutRoot, clusterId } from "../clusters/checkout.ts";
import { UsageError } from "../clusters/errors.ts";
import { findSandbox, runningDaemons } from "../clusters/sandbox.ts";
import { shell } from "../clusters/shell.ts";

/**
 * Give the clusters one half of the machine's processors, and this process with all that it starts the other: what a
 * client works then is not missing to the API server that it is measured against. As in life, where they share none.
 *
 * @returns what gives all of them all processors again
 */
export async function setApart(clusters: readonly string[]): Promise<() => Promise<void>> {
  const processors = availableParallelism();
  if (processors < 2) throw new UsageError("--apart needs a machine with two processors at least");
  const servers = clusters.flatMap((name) => {
    const sandbox = findSandbox(clusterId(checkoutId(checkoutRoot), name));
    if (sandbox === undefined)
      throw new UsageError(`--apart needs cluster ${name} to run as processes of this machine`);
    return runningDaemons(sandbox).map(({ pid }) => pid);
  });
  const half = Math.floor(processors / 2);
  const all = range(0, processors);
  // One that has ended needs no processors.
  const restore = async () => {
    await Promise.allSettled([...servers, process.pid].map((pid) => confine([pid], all)));
  };
  try {
    await confine(servers, range(0, half));
    await confine([process.pid], range(half, processors));
  } catch (error) {
    await restore();
    throw error;
  }
  return restore;
}

/** Processors `from` to before `to`, as taskset names them. */
function range(from: number, to: number): string {
  return `${from}-${to - 1}`;
}

async function confine(processes: readonly number[], processors: string): Promise<void> {
  for (const pid of processes) await shell`taskset --all-tasks --cpu-list --pid ${processors} ${pid}`;
}
