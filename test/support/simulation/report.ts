import type { Step } from "./events.ts";
import { type Outcome, simulate } from "./simulation.ts";

/** Runs that finding fewer events may take. */
const MAX_RUNS = 60;

export interface Shrunk extends Outcome {
  /** The events that happened before there were fewer. */
  before: number;
}

/**
 * Fewer events that still break the same law: first those after the violation go, then ever smaller parts of the rest. What
 * the network does differs when an event is left out, so that this is a search, and may end early.
 */
export async function shrink(outcome: Outcome): Promise<Shrunk> {
  const { seed } = outcome;
  const law = outcome.violation?.law;
  let best = outcome;
  let steps: readonly Step[] = outcome.steps.slice(0, outcome.done);
  let runs = 0;
  for (let size = Math.ceil(steps.length / 2); size >= 1 && runs < MAX_RUNS; size = Math.floor(size / 2)) {
    for (let from = 0; from < steps.length && runs < MAX_RUNS; ) {
      const fewer = [...steps.slice(0, from), ...steps.slice(from + size)];
      runs++;
      const again = await simulate({ seed, steps: fewer });
      if (again.violation?.law === law) {
        best = again;
        steps = fewer.slice(0, again.done);
      } else from += size;
    }
  }
  return { ...best, before: outcome.done };
}

/** What a test prints of a run that broke a law. */
export function describeOutcome(outcome: Shrunk): string {
  const { seed, violation, before, done, steps } = outcome;
  const shown = steps.slice(0, done).slice(-30);
  return [
    `law broken: ${violation?.law}`,
    `  ${violation?.message}`,
    `after event ${before} of seed ${seed}; ${done} events are enough for it, ${violation?.at} ms into the simulation.`,
    `the last ${shown.length} of these:`,
    ...shown.map(({ event, wait }) => `  ${JSON.stringify(event)} then ${wait} ms`),
    "again:",
    `  ISTHMUS_TEST_SEED=${seed} npm run jest -- --selectProjects unit -- test/unit/mirror-simulation.test.ts`,
  ].join("\n");
}
