import { expect, jest, test } from "@jest/globals";
import { describeOutcome, shrink } from "../support/simulation/report.ts";
import { simulate } from "../support/simulation/simulation.ts";

jest.setTimeout(3_600_000);

const COUNT = Number(process.env.ISTHMUS_TEST_EVENTS ?? 600);
/** One that goes on for five times as long: what is remembered wrongly may show only then. */
const LONG: Run = { seed: 14, count: 3_000 };

interface Run {
  seed: number;
  count: number;
}

/**
 * The same every time, so that a change is not blamed for what was there before it; with `ISTHMUS_TEST_RUNS` so many that
 * nobody has seen yet, with `ISTHMUS_TEST_SEED` that one.
 */
function runs(): Run[] {
  const { ISTHMUS_TEST_SEED: seed, ISTHMUS_TEST_RUNS: fresh } = process.env;
  const from = (first: number, length: number) =>
    Array.from({ length }, (_, index) => ({ seed: first + index, count: COUNT }));
  if (seed !== undefined) return from(Number(seed), 1);
  if (fresh !== undefined) return from((Date.now() % 1_000_000_000) + 100, Number(fresh));
  return [...from(1, 12), LONG];
}

test("whatever happens, for thousands of events, the laws hold at every step and the source comes to what it must be", async () => {
  for (const run of runs()) {
    const outcome = await simulate(run);
    if (outcome.violation !== undefined) throw new Error(describeOutcome(await shrink(outcome)));
  }
});

test("a seed is the same run every time, to the last byte that is sent", async () => {
  const [first, second] = [
    await simulate({ seed: 13, count: 600 }),
    await simulate({ seed: 13, count: 600 }),
  ];
  expect(second).toEqual(first);
  expect(first.calls).toBeGreaterThan(500);
});

const LAWS = [
  "a Link stays under 256 KiB (7)",
  "a deleted Link leaves nothing (11)",
  "a gateway does not move before it is known (2)",
  "a hand edit is undone within a second (6)",
  "a namespace that holds anything stays (1)",
  "a mirror keeps its egress port (6)",
  "a status is written once a second at most (7)",
  "a write changes something (4)",
  "another takes over within 20 seconds (8)",
  "at rest all is as it must be (3, 5)",
  "at rest nothing is written (4)",
  "never two lead (8)",
  "no member is lost before its cluster is known (2)",
  "no storm of calls (5)",
  "nothing is deleted before the target is known (2)",
  "nothing wanted is deleted (2)",
  "only a namespace of ours is deleted (1)",
  "only the holder of the lease writes (8)",
  "only what is ours is written (1)",
  "protected namespaces are never written (10)",
  "what changes shows within two seconds (7)",
  "what probes find shows within 15 seconds (7)",
  "what is written is what is wanted (3)",
];

test("every law is looked at, where it could be broken", async () => {
  const checked = new Set<string>();
  // Some are looked at in few runs only, as what happens to a mirror that is deleted by hand.
  for (let seed = 21; seed < 41 && checked.size < LAWS.length; seed++) {
    for (const law of (await simulate({ seed, count: COUNT })).checked.keys()) checked.add(law);
  }
  expect([...checked].sort()).toEqual([...LAWS].sort());
});
