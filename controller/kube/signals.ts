import type { Log } from "./log.ts";

/**
 * A signal that is aborted when the process is told to stop (SIGTERM, SIGINT). A second such signal ends the process at
 * once: someone at a terminal should not have to wait for a drain that hangs.
 */
export function shutdownSignal(log: Log, process: NodeJS.Process = globalThis.process): AbortSignal {
  const controller = new AbortController();
  for (const [name, code] of [
    ["SIGTERM", 143],
    ["SIGINT", 130],
  ] as const) {
    process.on(name, () => {
      if (controller.signal.aborted) process.exit(code);
      log.info("stopping", { signal: name });
      controller.abort(new Error(`stopped by ${name}`));
    });
  }
  return controller.signal;
}
