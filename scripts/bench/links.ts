import { setTimeout as delay } from "node:timers/promises";
import type { Progress } from "../clusters/progress.ts";
import { emptyProcessMemory } from "./controller-process.ts";
import type { Figure, Result } from "./figures.ts";
import type { Memory } from "./process-figures.ts";
import type { Site } from "./site.ts";

export interface LinksBenchmark {
  /** Exported services of the target, each mirrored once a Link. */
  services: number;
  /** Numbers of Links, one after the other. */
  links: readonly number[];
}

interface Measured {
  links: number;
  memory: Memory;
  /** Seconds of processor time from the start of the process until all mirrors were there. */
  startCpu: number;
  /** Milliseconds of processor time in a minute with nothing to do. */
  idleCpu: number;
}

/** How long a controller with nothing to do is looked at. */
const IDLE_MS = 15_000;

/**
 * What one controller takes by the number of its Links. All of them lead to the same target under different names: for the
 * controller each is a cluster of its own, with a connection, a list and a watch of its own.
 */
export async function benchmarkLinks(
  site: Site,
  { services, links }: LinksBenchmark,
  progress: Progress,
): Promise<Result> {
  await site.exportServices(services);
  const measured: Measured[] = [];
  for (const count of links) {
    measured.push(await measure(site, count, services));
    progress(`${count} links: ${Math.round(measured.at(-1)?.memory.resident ?? 0)} MiB`);
  }
  return {
    benchmark: "links",
    what: `One controller with so many Links of ${services} mirrored services each; the reference is a controller a Link, each as large as the first line says.`,
    figures: [...figures(measured), await floor()],
  };
}

async function measure(site: Site, count: number, services: number): Promise<Measured> {
  const controller = await site.controller();
  const names = Array.from({ length: count }, (_, index) => `remote-${index}`);
  for (const name of names) await site.link(name);
  await site.untilMirrors(count * services);
  const startCpu = await controller.cpuSeconds();
  // The last statuses are still to be written, and memory that is free to be given back.
  await delay(IDLE_MS);
  const before = await controller.cpuSeconds();
  await delay(IDLE_MS);
  const idleCpu = ((await controller.cpuSeconds()) - before) * 1000 * (60_000 / IDLE_MS);
  const memory = await controller.memory();
  await site.unlink(names);
  await controller.stop();
  return { links: count, memory, startCpu, idleCpu };
}

function figures(measured: readonly Measured[]): Figure[] {
  const [one] = measured;
  return measured.flatMap(({ links, memory, startCpu, idleCpu }) => {
    const apart = (value: number | undefined) =>
      one === undefined || one.links === links
        ? {}
        : { reference: { what: `${links} controllers`, value: ((value ?? 0) / one.links) * links } };
    const label = links === 1 ? "1 link" : `${links} links`;
    return [
      {
        name: `${label}: memory`,
        value: memory.resident,
        unit: "MiB",
        ...apart(one?.memory.resident),
        ...(links === 100 ? { goal: "< 250 MiB" } : {}),
      },
      { name: `${label}: memory at the most`, value: memory.peak, unit: "MiB", ...apart(one?.memory.peak) },
      {
        name: `${label}: processor time until mirrored`,
        value: startCpu,
        unit: "s",
        ...apart(one?.startCpu),
      },
      { name: `${label}: processor time idle`, value: idleCpu, unit: "ms/min", ...apart(one?.idleCpu) },
    ];
  });
}

async function floor(): Promise<Figure> {
  return { name: "an empty Node process: memory", value: (await emptyProcessMemory()).resident, unit: "MiB" };
}
