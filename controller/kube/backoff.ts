export interface BackoffOptions {
  /** The first pause. */
  baseMs: number;
  /** The longest. */
  capMs: number;
  random: () => number;
}

/**
 * How long to wait after the `failures`-th failure in a row (1, 2, …): doubling, bounded, and drawn from the upper half, so
 * that many who failed together do not come back together.
 */
export function backoffMs(failures: number, { baseMs, capMs, random }: BackoffOptions): number {
  const full = Math.min(capMs, baseMs * 2 ** Math.min(failures - 1, 40));
  return full * (0.5 + random() / 2);
}
