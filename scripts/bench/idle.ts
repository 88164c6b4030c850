import { setTimeout as delay } from "node:timers/promises";
import type { Progress } from "../clusters/progress.ts";
import type { Result } from "./figures.ts";
import { writesBetween, writesSoFar } from "./server-writes.ts";
import type { Site } from "./site.ts";

export interface IdleBenchmark {
  services: number;
  minutes: number;
}

/** All that a controller may write in its own cluster, and in a target, but for the Lease. */
const CONTROLLERS_OWN = new Set(["services", "endpointslices", "links", "secrets", "pods", "events"]);
const TARGETS_OWN = new Set([...CONTROLLERS_OWN, "serviceaccounts"]);
const LEASES = new Set(["leases"]);
const LINK = "remote";
/** The last status is written a second after the last mirror; then there is nothing left to do. */
const SETTLE_MS = 10_000;

/**
 * Count at the API servers what is written while there is nothing to do. That the counters count shows in the writes that
 * they had while the mirrors were made.
 */
export async function benchmarkIdle(
  site: Site,
  { services, minutes }: IdleBenchmark,
  progress: Progress,
): Promise<Result> {
  await site.exportServices(services);
  const look = async () => ({
    source: await writesSoFar(site.bareSource),
    target: await writesSoFar(site.bareTarget),
  });
  const empty = await look();
  const controller = await site.controller();
  await site.link(LINK);
  await site.untilMirrors(services);
  await delay(SETTLE_MS);
  progress(`${services} mirrors are there; counting for ${minutes} min`);
  const before = await look();
  const cpuBefore = await controller.cpuSeconds();
  await delay(minutes * 60_000);
  const after = await look();
  const cpu = (await controller.cpuSeconds()) - cpuBefore;
  const making = writesBetween(empty.source, before.source, CONTROLLERS_OWN);
  return {
    benchmark: "idle",
    what: `Calls that write, counted by the API servers themselves, in ${minutes} min with ${services} mirrors and nothing to do. Neither tells clients apart: 0 is 0 by anybody.`,
    figures: [
      {
        name: "writes to the source",
        value: writesBetween(before.source, after.source, CONTROLLERS_OWN),
        unit: "",
        reference: { what: "while the mirrors were made", value: making },
        goal: "0",
      },
      {
        name: "writes to the target",
        value: writesBetween(before.target, after.target, TARGETS_OWN),
        unit: "",
        goal: "0",
      },
      {
        name: "writes of Leases in the source, by all its controllers",
        value: writesBetween(before.source, after.source, LEASES) / minutes,
        unit: "/min",
        reference: {
          what: "in the target, which has none of ours",
          value: writesBetween(before.target, after.target, LEASES) / minutes,
        },
      },
      { name: "processor time", value: (1000 * cpu) / minutes, unit: "ms/min" },
      { name: "memory", value: (await controller.memory()).resident, unit: "MiB" },
    ],
  };
}
