/** Runs over the stacks of a mesh with progress on the terminal, and the result as it was asked for. */
import type { MeshResult, RunOptions } from "../stacks/automation.ts";
import type { CommonOptions } from "./options.ts";
import { Progress } from "./render/progress.ts";
import { summary } from "./render/summary.ts";
import type { Terminal } from "./terminal.ts";

/** How often to look for what takes long, in milliseconds. */
const TICK = 1000;

export interface Timed {
  result: MeshResult;
  seconds: number;
}

/** @param planned Whether `work` is a preview. @param machine Whether standard output is for the result alone. */
export async function withProgress(
  terminal: Terminal,
  options: CommonOptions,
  planned: boolean,
  machine: boolean,
  work: (options: RunOptions) => Promise<MeshResult>,
): Promise<Timed> {
  const progress = new Progress({
    style: terminal.style,
    write: machine ? terminal.err : terminal.out,
    planned,
    verbose: options.verbose === true,
  });
  const began = performance.now();
  const ticking = setInterval(progress.tick, TICK);
  try {
    const result = await work(runOptions(options, terminal, progress));
    return { result, seconds: (performance.now() - began) / 1000 };
  } finally {
    clearInterval(ticking);
  }
}

export function showSummary(terminal: Terminal, { result, seconds }: Timed, planned: boolean): void {
  terminal.out(summary(result, planned, seconds, terminal.style));
}

function runOptions(options: CommonOptions, { signal }: Terminal, progress: Progress): RunOptions {
  return {
    file: options.file,
    parallel: options.parallel,
    signal,
    onEvent: progress.handle,
    ...(options.engine !== undefined && { engine: options.engine }),
  };
}
