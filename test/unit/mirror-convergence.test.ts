import { setTimeout as sleep } from "node:timers/promises";
import { expect, jest, test } from "@jest/globals";
import fc from "fast-check";
import type { Fault } from "../support/fake-api.ts";
import {
  CLUSTERS,
  MirrorSimulation,
  NAMESPACE_NAMES,
  type Place,
  SERVICE_NAMES,
} from "../support/mirror-simulation.ts";
import { eventually } from "../support/wait.ts";

jest.setTimeout(120_000);

type Step = [name: string, run: (simulation: MirrorSimulation) => void | Promise<void>];

const cluster = fc.constantFrom(...CLUSTERS);
const api = fc.constantFrom("source" as const, ...CLUSTERS);
const namespace = fc.constantFrom(...NAMESPACE_NAMES);
const place: fc.Arbitrary<Place> = fc.record({
  cluster,
  namespace,
  service: fc.constantFrom(...SERVICE_NAMES),
});
const fault: fc.Arbitrary<Fault> = fc.constantFrom(
  { kind: "status", status: 500 },
  { kind: "status", status: 429, reason: "TooManyRequests", retryAfterSeconds: 1 },
  { kind: "drop" },
  { kind: "drop-after" },
  { kind: "delay", ms: 5 },
  { kind: "body", body: "<html>", status: 502 },
  { kind: "body", body: '{"kind":"ServiceList","items":[', type: "application/json" },
);

/** A step of its own kind, told by its arguments where a run fails. */
function step<T>(
  name: string,
  args: fc.Arbitrary<T>,
  run: (simulation: MirrorSimulation, args: T) => void | Promise<void>,
): fc.Arbitrary<Step> {
  return args.map((each) => [`${name} ${JSON.stringify(each)}`, (simulation) => run(simulation, each)]);
}

const state = fc.oneof(
  { weight: 4, arbitrary: fc.uniqueArray(fc.constantFrom(80, 443, 9090), { minLength: 1 }) },
  { weight: 2, arbitrary: fc.constantFrom("headless" as const, "private" as const, "absent" as const) },
);

const anyStep: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: step("service", fc.tuple(place, state), (s, [at, to]) => s.setService(at, to)) },
  { weight: 3, arbitrary: step("link", fc.tuple(cluster, fc.boolean()), (s, [of, to]) => s.setLink(of, to)) },
  {
    weight: 3,
    arbitrary: step("namespace", fc.tuple(namespace, fc.boolean()), (s, [n, to]) => s.setNamespace(n, to)),
  },
  {
    weight: 2,
    arbitrary: step(
      "secret",
      fc.tuple(cluster, fc.constantFrom("good" as const, "bad" as const, "absent" as const)),
      (s, [of, to]) => s.setSecret(of, to),
    ),
  },
  {
    weight: 2,
    arbitrary: step("pod", fc.tuple(fc.constantFrom("a", "bb"), fc.boolean()), (s, [p, to]) =>
      s.setPod(p, to),
    ),
  },
  {
    weight: 2,
    arbitrary: step("foreign", fc.tuple(place, fc.boolean()), (s, [at, to]) => s.setForeign(at, to)),
  },
  {
    weight: 3,
    arbitrary: step(
      "meddle",
      fc.tuple(
        place,
        fc.constantFrom("delete" as const, "delete-slice" as const, "ports" as const, "endpoints" as const),
      ),
      (s, [at, how]) => s.meddle(at, how),
    ),
  },
  {
    weight: 3,
    arbitrary: step("disturb", fc.tuple(api, fault, fc.integer({ min: 1, max: 5 })), (s, [at, f, n]) =>
      s.disturb(at, f, n),
    ),
  },
  { weight: 2, arbitrary: step("drop", api, (s, at) => s.dropConnections(at)) },
  { weight: 2, arbitrary: step("forget", api, (s, at) => s.forget(at)) },
  {
    weight: 2,
    arbitrary: step("reachable", fc.tuple(cluster, fc.boolean()), (s, [of, to]) => s.setReachable(of, to)),
  },
  {
    weight: 2,
    arbitrary: step("controller", fc.boolean(), (s, to) => (to ? s.startController() : s.stopController())),
  },
  {
    weight: 6,
    arbitrary: step("wait", fc.integer({ min: 0, max: 30 }), async (_, ms) => void (await sleep(ms))),
  },
);

/** Most runs begin with something to lose. */
const beginnings: Step[] = [
  ...CLUSTERS.flatMap((each): Step[] => [
    [`link ${each}`, (s) => s.setLink(each, true)],
    [`secret ${each}`, (s) => s.setSecret(each, "good")],
  ]),
  ["namespace ns1", (s) => s.setNamespace("ns1", true)],
  ["service", (s) => s.setService({ cluster: "east", namespace: "ns1", service: "web" }, [80])],
];

test("whatever happens in whatever order, the mirrors come to what is exported, and none is deleted while wanted", async () => {
  const runs = fc.record({
    beginning: fc.shuffledSubarray(beginnings, { minLength: 3 }),
    steps: fc.array(anyStep, { minLength: 5, maxLength: 40 }),
  });
  await fc.assert(
    fc.asyncProperty(runs, async ({ beginning, steps }) => {
      const simulation = await MirrorSimulation.start();
      try {
        for (const [, run] of [...beginning, ...steps]) await run(simulation);
        await simulation.heal();
        await eventually(() => simulation.differences().length === 0, { withinMs: 10_000 }).catch(
          () => undefined,
        );
        expect(simulation.differences()).toEqual([]);
        expect(simulation.violations).toEqual([]);
      } finally {
        await simulation.close();
      }
    }),
    {
      numRuns: Number(process.env.ISTHMUS_TEST_RUNS ?? 3),
      // The same runs for everybody, unless more are asked for.
      ...(process.env.ISTHMUS_TEST_RUNS === undefined && { seed: 1 }),
      endOnFailure: true,
      interruptAfterTimeLimit: 100_000,
    },
  );
});
