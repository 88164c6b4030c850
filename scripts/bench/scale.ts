import { setTimeout as delay } from "node:timers/promises";
import { DEFAULT_NAMESPACE, EXPORTED_LABEL, type Link } from "../../contract/index.ts";
import { isAlreadyExists } from "../../controller/kube/errors.ts";
import type { EndpointSlice } from "../../controller/kube/objects.ts";
import {
  ENDPOINT_SLICES,
  LINKS,
  NAMESPACES,
  type Resource,
  SERVICES,
} from "../../controller/kube/resource.ts";
import type { Progress } from "../clusters/progress.ts";
import { forAll } from "./bare-client.ts";
import { type ControllerProcess, emptyProcessMemory } from "./controller-process.ts";
import type { Figure, Result } from "./figures.ts";
import { Line } from "./line.ts";
import { writesBetween, writesSoFar } from "./server-writes.ts";
import { CALLS_AT_A_TIME, exportedService, type Site, WORK } from "./site.ts";
import { waitFor } from "./waiting.ts";

export const SCENARIOS = ["services", "links", "namespaces", "storm", "flap"] as const;
export type Scenario = (typeof SCENARIOS)[number];

export interface ScaleBenchmark {
  scenarios: readonly Scenario[];
  /** Of the scenario `services`, on one link. */
  services: number;
  /** Of the scenarios with many links. */
  links: number;
  /** Of each link in them. */
  servicesPerLink: number;
  /** Of the scenario `namespaces`, with a service in each. */
  namespaces: number;
  /** How long a target comes and goes. */
  flapSeconds: number;
}

/** Two ports of the egress for each service: more than the default range has. */
const WIDE_PORTS = ["--egress-ports", "10000-32767"];
/** Statuses are written, and memory is given back. */
const SETTLE_MS = 10_000;
const MIRRORS = new Set(["services", "endpointslices"]);
/** With which a bare client is timed. */
const SAMPLE = 300;

interface Run {
  site: Site;
  options: ScaleBenchmark;
  progress: Progress;
  /** Memory of a process that does nothing, in MiB. */
  floor: number;
  /** Milliseconds in which a bare client makes a pair of Service and slice. */
  pairMs: number;
}

/** One controller with much of everything. Each scenario begins with none of what the others made. */
export async function benchmarkScale(
  site: Site,
  options: ScaleBenchmark,
  progress: Progress,
): Promise<Result> {
  const floor = (await emptyProcessMemory()).resident;
  const run: Run = { site, options, progress, floor, pairMs: await timeBareClient(site) };
  const figures: Figure[] = [];
  for (const scenario of options.scenarios) {
    progress(`scenario ${scenario}`);
    figures.push(...(await scenarios[scenario](run)));
  }
  return {
    benchmark: "scale",
    what: "One controller with much of everything. Beside its memory that of a Node process that does nothing; beside the time of first mirroring that of a bare client making as many pairs of Service and slice, 16 at a time.",
    figures,
  };
}

const scenarios: Record<Scenario, (run: Run) => Promise<Figure[]>> = {
  async services({ site, options, ...run }) {
    const { services } = options;
    await site.exportServices(services);
    const controller = await site.controller(WIDE_PORTS);
    const since = performance.now();
    await site.link("remote");
    await site.untilMirrors(services);
    const ms = performance.now() - since;
    await delay(SETTLE_MS);
    const name = `${services} services on one link`;
    const figures = [
      mirroringTime(name, ms, services, run.pairMs),
      ...(await memory(name, controller, run.floor)),
    ];
    await clear(site, controller);
    return figures;
  },

  async links({ site, options, ...run }) {
    const { links, servicesPerLink } = options;
    await site.exportServices(servicesPerLink);
    const controller = await site.controller(WIDE_PORTS);
    const since = performance.now();
    for (let n = 0; n < links; n++) await site.link(`remote-${n}`);
    await site.untilMirrors(links * servicesPerLink);
    const ms = performance.now() - since;
    await delay(SETTLE_MS);
    const name = `${links} links of ${servicesPerLink}`;
    const figures = [
      mirroringTime(name, ms, links * servicesPerLink, run.pairMs),
      ...(await memory(name, controller, run.floor)),
    ];
    await clear(site, controller);
    return figures;
  },

  async namespaces({ site, options, ...run }) {
    const names = Array.from({ length: options.namespaces }, (_, n) => `${WORK}-${n}`);
    await forAll(names, CALLS_AT_A_TIME, async (name) => {
      const namespace = { apiVersion: "v1", kind: "Namespace", metadata: { name } };
      for (const client of [site.source, site.target]) {
        await client.create(NAMESPACES, namespace).catch((error) => {
          if (!isAlreadyExists(error)) throw error;
        });
      }
    });
    await forAll(names, CALLS_AT_A_TIME, (namespace) => {
      const service = exportedService("service");
      return site.bareTarget.create(SERVICES, { ...service, metadata: { ...service.metadata, namespace } });
    });
    const controller = await site.controller(WIDE_PORTS);
    const since = performance.now();
    await site.link("remote");
    await waitFor(`${names.length} mirrors by the Link's status`, async () => {
      const link = await site.source.get<Link>(LINKS, { namespace: DEFAULT_NAMESPACE, name: "remote" });
      return link.status?.mirroredServices === names.length;
    });
    const ms = performance.now() - since;
    await delay(SETTLE_MS);
    const name = `${names.length} namespaces`;
    const figures = [
      mirroringTime(name, ms, names.length, run.pairMs),
      ...(await memory(name, controller, run.floor)),
    ];
    await forAll(names, CALLS_AT_A_TIME, (namespace) =>
      site.bareTarget.delete(SERVICES as Resource, { namespace, name: "service" }),
    );
    await clear(site, controller);
    return figures;
  },

  async storm({ site, options, progress, floor }) {
    const { links, servicesPerLink } = options;
    await site.exportServices(servicesPerLink);
    const controller = await site.controller(WIDE_PORTS);
    const line = await Line.open(site.target.server);
    try {
      for (let n = 0; n < links; n++) await site.link(`remote-${n}`, line.url);
      await site.untilMirrors(links * servicesPerLink);
      await delay(SETTLE_MS);
      const before = await controller.memory();
      const connections = line.connections;
      const writes = await writesSoFar(site.bareSource);
      const cpu = await controller.cpuSeconds();
      const opened = await controller.watches();
      line.cut();
      line.restore();
      const since = performance.now();
      await waitFor("all links to be watched again", async () => {
        // One that has not noticed yet has an open watch too, but an old one.
        const now = await controller.watches();
        return [...opened].every(([watch, count]) => (now.get(watch) ?? 0) > count);
      });
      const ms = performance.now() - since;
      progress(`all watched again after ${Math.round(ms)} ms`);
      const stormCpu = (await controller.cpuSeconds()) - cpu;
      await delay(SETTLE_MS);
      const name = `storm of ${links} links`;
      const after = await writesSoFar(site.bareSource);
      const figures: Figure[] = [
        { name: `${name}: until all are watched again`, value: ms / 1000, unit: "s" },
        {
          name: `${name}: connections made`,
          value: line.connections - connections,
          unit: "",
          reference: { what: "one a link", value: links },
        },
        {
          name: `${name}: writes to mirrors`,
          value: writesBetween(writes, after, MIRRORS),
          unit: "",
          goal: "0",
        },
        { name: `${name}: processor time`, value: stormCpu, unit: "s" },
        {
          name: `${name}: memory`,
          value: (await controller.memory()).resident,
          unit: "MiB",
          reference: { what: "before it", value: before.resident },
        },
        ...(await memory(name, controller, floor)).slice(1),
      ];
      await clear(site, controller);
      return figures;
    } finally {
      await line.close();
    }
  },

  async flap({ site, options, floor }) {
    const { servicesPerLink, flapSeconds } = options;
    await site.exportServices(servicesPerLink);
    const controller = await site.controller(WIDE_PORTS);
    const line = await Line.open(site.target.server);
    try {
      await site.link("remote", line.url);
      await site.untilMirrors(servicesPerLink);
      await delay(SETTLE_MS);
      const look = async () => ({
        writes: await writesSoFar(site.bareSource),
        cpu: await controller.cpuSeconds(),
      });
      const quiet = await look();
      await delay(SETTLE_MS);
      const before = await look();
      const connections = line.connections;
      const { size: watches } = await controller.watches();
      for (let second = 0; second < flapSeconds; second++) {
        if (second % 2 === 0) line.cut();
        else line.restore();
        await delay(1_000);
      }
      const after = await look();
      line.restore();
      await waitFor("the target to be watched again", async () => {
        return (await controller.watches()).size === watches;
      });
      const name = `target that flaps for ${flapSeconds} s`;
      const figures: Figure[] = [
        {
          name: `${name}: writes to mirrors`,
          value: writesBetween(before.writes, after.writes, MIRRORS),
          unit: "",
          goal: "0",
        },
        {
          name: `${name}: writes of the Link's status and Events`,
          value: writesBetween(before.writes, after.writes, new Set(["links", "events"])),
          unit: "",
          reference: { what: "seconds", value: flapSeconds },
        },
        {
          name: `${name}: connections tried`,
          value: line.connections - connections,
          unit: "",
          reference: { what: "seconds", value: flapSeconds },
        },
        {
          name: `${name}: processor time`,
          value: ((after.cpu - before.cpu) * 60_000) / flapSeconds,
          unit: "ms/min",
          reference: {
            what: "before it, idle",
            value: ((before.cpu - quiet.cpu) * 60_000) / (SETTLE_MS / 1000),
          },
        },
        ...(await memory(name, controller, floor)),
      ];
      await clear(site, controller);
      return figures;
    } finally {
      await line.close();
    }
  },
};

function mirroringTime(name: string, ms: number, count: number, pairMs: number): Figure {
  const reference = { what: "a bare client", value: (pairMs * count) / 1000 };
  return { name: `${name}: first mirroring`, value: ms / 1000, unit: "s", reference };
}

async function memory(name: string, controller: ControllerProcess, floor: number): Promise<Figure[]> {
  const { resident, peak } = await controller.memory();
  const reference = { what: "an empty Node process", value: floor };
  return [
    { name: `${name}: memory`, value: resident, unit: "MiB", reference },
    { name: `${name}: memory at the most`, value: peak, unit: "MiB", reference },
  ];
}

/** End a scenario: its Links and their mirrors, by the controller, then what the target exports. */
async function clear(site: Site, controller: ControllerProcess): Promise<void> {
  const links = (await site.source.list(LINKS, { namespace: DEFAULT_NAMESPACE })).items;
  await site.unlink(links.map(({ metadata }) => metadata.name));
  await controller.stop();
  await site.clearTarget();
}

/** The time of one pair of Service and slice, of many made by a bare client: the floor of first mirroring. */
async function timeBareClient(site: Site): Promise<number> {
  const names = Array.from({ length: SAMPLE }, (_, n) => `sample-${n}`);
  const since = performance.now();
  await forAll(names, CALLS_AT_A_TIME, async (name) => {
    const { metadata, ...service } = exportedService(name);
    const { [EXPORTED_LABEL]: _, ...labels } = metadata.labels ?? {};
    await site.bareSource.create(SERVICES, { ...service, metadata: { ...metadata, labels } });
    await site.bareSource.create(ENDPOINT_SLICES, sampleSlice(name));
  });
  const ms = performance.now() - since;
  await site.clearSource();
  return ms / SAMPLE;
}

function sampleSlice(name: string): EndpointSlice {
  return {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: { namespace: WORK, name, labels: { "kubernetes.io/service-name": name } },
    addressType: "IPv4",
    endpoints: [{ addresses: ["10.244.0.9"], conditions: { ready: true } }],
    ports: [
      { name: "http", port: 20_000, protocol: "TCP" },
      { name: "grpc", port: 20_001, protocol: "TCP" },
    ],
  };
}
