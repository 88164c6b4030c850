import { setTimeout as delay } from "node:timers/promises";
import { ClusterError } from "./errors.ts";

/** How long anything may take before it is an error; many times what it takes on a small machine. */
const PATIENCE_MS = 180_000;

/**
 * Wait until `condition` gives something other than `undefined` or `false`.
 *
 * @param what names the condition in the error: "gave up waiting for …".
 * @param explain adds to the error what was seen last.
 * @throws what `condition` throws, at once; ClusterError after three minutes.
 */
export async function waitFor<T>(
  what: string,
  condition: () => Promise<T | undefined | false> | T | undefined | false,
  explain: () => string = () => "",
): Promise<T> {
  const deadline = performance.now() + PATIENCE_MS;
  for (;;) {
    const value = await condition();
    if (value !== undefined && value !== false) return value;
    if (performance.now() > deadline) {
      const seen = explain();
      throw new ClusterError(`gave up waiting for ${what}${seen && `: ${seen}`}`);
    }
    await delay(50);
  }
}
