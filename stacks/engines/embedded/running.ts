/** From starting a stack's program to its good end, or to the reason why there is none. */
import { setTimeout as delay } from "node:timers/promises";
import type { Deployment } from "./deployment.ts";
import { Monitor } from "./monitor.ts";
import { Program, type ProgramOptions } from "./program.ts";

export type RunOptions = Omit<ProgramOptions, "monitor" | "engine" | "onLine"> & {
  signal: AbortSignal | undefined;
};

/** A failed program lives on for half a minute; whatever else it has to say about the failure it says within this time. */
const LAST_WORDS = 500;

/** Returns when the program has ended well and nothing is under way. @throws Error saying why not */
export async function runProgram(deployment: Deployment, options: RunOptions): Promise<void> {
  const monitor = await Monitor.start(deployment);
  try {
    const { address } = monitor;
    const onLine = (line: string, isError: boolean) =>
      deployment.ledger.log(isError ? "warning" : "info", line);
    const program = new Program({ ...options, monitor: address, engine: address, onLine });
    try {
      const failed = deployment.programFailed.then(() => Promise.race([program.ended, delay(LAST_WORDS)]));
      await Promise.race([program.ended, failed, deployment.work.failed, aborted(options.signal)]);
      await deployment.work.idle();
      if (deployment.work.failure !== undefined) throw deployment.work.failure;
      if (options.signal?.aborted === true)
        throw new Error("it was interrupted; what was done until then is kept");
      if (deployment.programErrors.length > 0) throw new Error(deployment.programErrors.join("\n"));
      const { code, signal } = await program.ended;
      if (code === 0) return;
      throw new Error(
        `the program ended ${signal === null ? `with code ${code}` : `by ${signal}`} and did not say why`,
      );
    } finally {
      await program.end();
    }
  } finally {
    await monitor.stop();
  }
}

function aborted(signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted === true) resolve();
    signal?.addEventListener("abort", () => resolve(), { once: true });
  });
}
