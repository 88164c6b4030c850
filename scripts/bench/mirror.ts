import { setTimeout as delay } from "node:timers/promises";
import type { EndpointSlice, KubeObject, Service } from "../../controller/kube/objects.ts";
import { ENDPOINT_SLICES, NAMESPACES, path, SERVICES } from "../../controller/kube/resource.ts";
import type { Progress } from "../clusters/progress.ts";
import { forAll } from "./bare-client.ts";
import { emptyProcessMemory } from "./controller-process.ts";
import { median, type Result } from "./figures.ts";
import type { Memory } from "./process-figures.ts";
import { setApart } from "./processors.ts";
import { CALLS_AT_A_TIME, type Site, SOURCE, TARGET, WORK } from "./site.ts";
import { SourceWatch } from "./source-watch.ts";

export interface MirrorBenchmark {
  services: number;
  rounds: number;
  /** The API servers and those who ask them get processors of their own. */
  apart: boolean;
}

/** One mirroring of everything, by the controller or by the bare client. */
interface Round {
  seconds: number;
  cpuSeconds: number;
}

interface ControllerRound extends Round {
  removalSeconds: number;
  memory: Memory;
}

/** Mirrors as they are made: nothing in them that an API server decides. */
type Pair = { service: Service; slice: EndpointSlice };

const LINK = "remote";
/** What a process needs after work to find out what of its memory it no longer needs. */
const SETTLE_MS = 5_000;
/** What API servers go on doing about objects that were removed; whoever comes next would pay for it. */
const QUIET_MS = 8_000;

/**
 * The pace of Linkerd's service mirror, which makes one mirror after another and never sets the limits of client-go: 5 calls
 * a second once the first 10 are spent. Three calls a mirror: the namespace is read, two objects are written
 * (multicluster/service-mirror/cluster_watcher.go and pkg/k8s/api.go of linkerd2).
 */
const LINKERDS_PACE = { callsASecond: 5, pairs: 15 };

/**
 * Mirror many services from nothing, in turns by a fresh controller and by a bare client that already knows what to write,
 * and writes to the same API server the very objects that the controller wrote. The bare client does so twice: blindly, and
 * with a watch on what it writes, without which no controller could keep it as it should be.
 */
export async function benchmarkMirror(
  site: Site,
  options: MirrorBenchmark,
  progress: Progress,
): Promise<Result> {
  const together = options.apart ? await setApart([SOURCE, TARGET]) : undefined;
  try {
    return await measure(site, options, progress);
  } finally {
    await together?.();
  }
}

async function measure(
  site: Site,
  { services, rounds, apart }: MirrorBenchmark,
  progress: Progress,
): Promise<Result> {
  await site.exportServices(services);
  progress(`${services} services exported`);
  const ours: ControllerRound[] = [];
  const raw: Round[] = [];
  const watched: Round[] = [];
  let pairs: Pair[] = [];
  // A round that does not count, in which the API server fills its caches, says what objects the bare client is to write.
  await byController(site, services, async () => {
    pairs = await recorded(site);
  });
  await byBareClient(site, pairs);
  const linkerds = await atLinkerdsPace(site, pairs.slice(0, LINKERDS_PACE.pairs));
  for (let round = 0; round < rounds; round++) {
    const inTurn = [
      async () => void ours.push(await byController(site, services)),
      async () => void raw.push(await byBareClient(site, pairs)),
      async () => void watched.push(await byBareClient(site, pairs, await SourceWatch.open(site.source))),
    ];
    // Whoever is second finds the API server as the first has left it: each is first in turn.
    const first = round % inTurn.length;
    for (const part of [...inTurn.slice(first), ...inTurn.slice(0, first)]) await part();
    const rate = (of: Round[]) => `${Math.round(services / (of.at(-1)?.seconds ?? 0))}/s`;
    progress(
      `round ${round + 1} of ${rounds}: controller ${rate(ours)}, bare client ${rate(raw)}, with a watch ${rate(watched)}`,
    );
  }
  return {
    benchmark: "mirror",
    what: `${services} exported services mirrored from nothing; medians of ${rounds} rounds, in turns with a bare client writing the same objects, ${CALLS_AT_A_TIME} calls at a time.${apart ? " The API servers have half of the processors to themselves." : ""}`,
    figures: await figures({ services, ours, raw, watched, linkerds, apart }),
  };
}

interface Measured {
  services: number;
  ours: ControllerRound[];
  raw: Round[];
  watched: Round[];
  /** Mirrors a second at the pace of Linkerd's. */
  linkerds: number;
  apart: boolean;
}

async function figures(measured: Measured): Promise<Result["figures"]> {
  const { services, ours, raw, watched, linkerds, apart } = measured;
  // What else the machine does changes from minute to minute: neighbours have most of it in common.
  const percentOf = (of: Round[]) =>
    100 * median(ours.map(({ seconds }, round) => (of[round]?.seconds ?? Number.NaN) / seconds));
  const rate = (of: Round[]) => services / median(of.map(({ seconds }) => seconds));
  const cpu = (of: Round[]) => median(of.map(({ cpuSeconds }) => cpuSeconds));
  const empty = await emptyProcessMemory();
  const emptyReference = { what: "an empty Node process", value: empty.resident };
  return [
    {
      name: "mirrors made",
      value: rate(ours),
      unit: "/s",
      reference: { what: "bare client", value: rate(raw) },
    },
    {
      name: "mirrors made, beside Linkerd's pace",
      value: rate(ours),
      unit: "/s",
      reference: { what: "bare client, 3 calls a mirror at 5 a second", value: linkerds },
      goal: "≥ 25 times",
    },
    {
      name: "of the bare client's rate, round by round",
      value: percentOf(raw),
      unit: "%",
      // Where they share processors it is the API server's own rate no longer, but what a client leaves of it.
      goal: apart ? "≥ 85 %" : "≥ 85 % with --apart",
    },
    {
      name: "of its rate with a watch on what it writes",
      value: percentOf(watched),
      unit: "%",
    },
    {
      name: "mirrors removed with their Link",
      value: services / median(ours.map(({ removalSeconds }) => removalSeconds)),
      unit: "/s",
    },
    {
      name: "processor time",
      value: (1000 * cpu(ours)) / services,
      unit: "ms a mirror",
      reference: { what: "bare client", value: (1000 * cpu(raw)) / services },
    },
    {
      name: "memory with all mirrors made",
      value: median(ours.map(({ memory }) => memory.resident)),
      unit: "MiB",
      reference: emptyReference,
      goal: "< 110 MiB at 1,000",
    },
    {
      name: "memory at the most",
      value: median(ours.map(({ memory }) => memory.peak)),
      unit: "MiB",
      reference: emptyReference,
    },
  ];
}

async function byController(
  site: Site,
  services: number,
  whileThere: () => Promise<void> = async () => undefined,
): Promise<ControllerRound> {
  const controller = await site.controller();
  await delay(QUIET_MS);
  const cpuBefore = await controller.cpuSeconds();
  const start = performance.now();
  await site.link(LINK);
  await site.untilMirrors(services);
  const seconds = secondsSince(start);
  const cpuSeconds = (await controller.cpuSeconds()) - cpuBefore;
  await delay(SETTLE_MS);
  const memory = await controller.memory();
  await whileThere();
  const removal = performance.now();
  await site.unlink([LINK]);
  const removalSeconds = secondsSince(removal);
  await controller.stop();
  return { seconds, cpuSeconds, removalSeconds, memory };
}

/** @param watch that is open while it writes, and closed then */
async function byBareClient(site: Site, pairs: Pair[], watch?: SourceWatch): Promise<Round> {
  await delay(QUIET_MS);
  const cpuBefore = process.cpuUsage();
  const start = performance.now();
  await forAll(pairs, CALLS_AT_A_TIME, async ({ service, slice }) => {
    const { metadata } = await site.bareSource.create(SERVICES, service);
    const ownerReferences = [
      { apiVersion: "v1", kind: "Service", name: metadata.name, uid: metadata.uid ?? "", controller: true },
    ];
    await site.bareSource.create(ENDPOINT_SLICES, {
      ...slice,
      metadata: { ...slice.metadata, ownerReferences },
    });
  });
  const seconds = secondsSince(start);
  const { user, system } = process.cpuUsage(cpuBefore);
  await watch?.close();
  await site.clearSource();
  return { seconds, cpuSeconds: (user + system) / 1e6 };
}

/** Mirrors a second. */
async function atLinkerdsPace(site: Site, pairs: Pair[]): Promise<number> {
  const start = performance.now();
  let calls = 0;
  const turn = async () => {
    const due = start + (1000 * calls++) / LINKERDS_PACE.callsASecond;
    await delay(Math.max(0, due - performance.now()));
  };
  for (const { service, slice } of pairs) {
    await turn();
    await site.bareSource.text(path(NAMESPACES, { name: WORK }));
    await turn();
    await site.bareSource.create(SERVICES, service);
    await turn();
    await site.bareSource.create(ENDPOINT_SLICES, slice);
  }
  await turn();
  const seconds = secondsSince(start);
  await site.clearSource();
  return pairs.length / seconds;
}

async function recorded(site: Site): Promise<Pair[]> {
  const { services, slices } = await site.mirrors();
  const byOwner = new Map(slices.map((slice) => [slice.metadata.ownerReferences?.[0]?.name, slice]));
  return services.map((service) => {
    const slice = byOwner.get(service.metadata.name);
    if (slice === undefined) throw new Error(`mirror ${service.metadata.name} has no slice`);
    const { type = "ClusterIP", ports = [] } = service.spec ?? {};
    const { status: _, ...rest } = service;
    return {
      service: { ...rest, metadata: ownMetadata(service), spec: { type, ports } },
      slice: { ...slice, metadata: ownMetadata(slice) },
    };
  });
}

function ownMetadata({ metadata }: KubeObject): KubeObject["metadata"] {
  const { name, labels = {}, annotations = {} } = metadata;
  return { namespace: WORK, name, labels, annotations };
}

function secondsSince(start: number): number {
  return (performance.now() - start) / 1000;
}
