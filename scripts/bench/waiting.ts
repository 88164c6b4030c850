import { setTimeout as delay } from "node:timers/promises";

/** Longer than anything here takes on a small and busy machine. */
const PATIENCE_MS = 600_000;
/** Often enough to time what takes seconds, seldom enough not to be part of it. */
const EVERY_MS = 20;

/** Wait until `condition` holds. Throws what it throws, and after ten minutes, naming `what`. */
export async function waitFor(what: string, condition: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`gave up waiting for ${what}`);
    await delay(EVERY_MS);
  }
}
