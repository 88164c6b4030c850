import { setTimeout as sleep } from "node:timers/promises";

/**
 * For what Kubernetes' own controllers do: they count objects of a new type only half a minute after it came, and delete a
 * namespace in seconds.
 */
export const SLOW_MS = 90_000;

/** Look again and again until `look` no longer throws; what it threw last is what a test that waited in vain shows. */
export async function until<T>(look: () => Promise<T>, withinMs = 60_000): Promise<T> {
  const deadline = Date.now() + withinMs;
  for (;;) {
    try {
      return await look();
    } catch (error) {
      if (Date.now() >= deadline) throw error;
    }
    await sleep(20);
  }
}
