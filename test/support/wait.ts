import { setTimeout as sleep } from "node:timers/promises";

/** Wait until `condition` gives something; a throw counts as not yet. */
export async function eventually<T>(
  condition: () => T | Promise<T>,
  { withinMs = 60_000 }: { withinMs?: number } = {},
): Promise<NonNullable<Exclude<T, false>>> {
  const deadline = Date.now() + withinMs;
  for (;;) {
    let last: unknown;
    try {
      const value = await condition();
      if (value !== undefined && value !== null && value !== false) {
        return value as NonNullable<Exclude<T, false>>;
      }
      last = value;
    } catch (error) {
      last = error;
    }
    if (Date.now() >= deadline) {
      throw new Error(
        `waited ${withinMs} ms in vain; last: ${last instanceof Error ? last.stack : String(last)}`,
      );
    }
    await sleep(10);
  }
}
