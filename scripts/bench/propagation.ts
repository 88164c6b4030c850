import { sliceName } from "../../contract/index.ts";
import type { EndpointSlice, Service } from "../../controller/kube/objects.ts";
import { ENDPOINT_SLICES, SERVICES } from "../../controller/kube/resource.ts";
import type { Progress } from "../clusters/progress.ts";
import { quantile, type Result } from "./figures.ts";
import { exportedService, type Site, WORK } from "./site.ts";
import { SourceWatch } from "./source-watch.ts";

export interface PropagationBenchmark {
  /** Mirrors that are there already. */
  services: number;
  samples: number;
}

const LINK = "remote";

/**
 * Export one service more, again and again, and see by a watch when its mirror is there with its slice; in turns with a
 * bare client that makes such a pair in the source at once.
 */
export async function benchmarkPropagation(
  site: Site,
  { services, samples }: PropagationBenchmark,
  progress: Progress,
): Promise<Result> {
  await site.exportServices(services);
  await site.controller();
  await site.link(LINK);
  await site.untilMirrors(services);
  progress(`${services} mirrors are there`);
  const watch = await SourceWatch.open(site.source);
  const ours: number[] = [];
  const raw: number[] = [];
  try {
    for (let sample = 0; sample < samples; sample++) {
      const inTurn = [
        async () => void ours.push(await byController(site, watch, `sample-${sample}`)),
        async () => void raw.push(await byBareClient(site, watch, `raw-${sample}`)),
      ];
      for (const part of sample % 2 === 0 ? inTurn : inTurn.reverse()) await part();
      if ((sample + 1) % 50 === 0) progress(`${sample + 1} of ${samples} samples`);
    }
  } finally {
    await watch.close();
  }
  const figure = (name: string, share: number, goal?: string) => ({
    name,
    value: quantile(ours, share),
    unit: "ms",
    reference: { what: "bare client in the source", value: quantile(raw, share) },
    ...(goal === undefined ? {} : { goal }),
  });
  return {
    benchmark: "propagation",
    what: `From the call that exports a service to its mirror and slice being seen by a watch, with ${services} mirrors there already; ${samples} samples, in turns with a bare client that makes the mirror's pair of objects itself.`,
    figures: [figure("p50", 0.5), figure("p90", 0.9), figure("p99", 0.99, "< 100 ms"), figure("longest", 1)],
  };
}

async function byController(site: Site, watch: SourceWatch, name: string): Promise<number> {
  const start = performance.now();
  const seen = watch.pair(`${name}-${LINK}`);
  await site.bareTarget.create(SERVICES, exportedService(name));
  const took = (await seen) - start;
  await site.bareTarget.delete(SERVICES, { namespace: WORK, name });
  await watch.gone(`${name}-${LINK}`);
  return took;
}

async function byBareClient(site: Site, watch: SourceWatch, name: string): Promise<number> {
  const start = performance.now();
  const seen = watch.pair(name);
  const service: Service = exportedService(name);
  // It is not to be exported itself: the controller of a source takes no notice of it.
  service.metadata.labels = { app: name };
  const { metadata } = await site.bareSource.create(SERVICES, service);
  const slice: EndpointSlice = {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: {
      namespace: WORK,
      name: sliceName(name),
      labels: { "kubernetes.io/service-name": name },
      ownerReferences: [{ apiVersion: "v1", kind: "Service", name, uid: metadata.uid ?? "" }],
    },
    addressType: "IPv4",
    endpoints: [{ addresses: ["10.244.0.9"], conditions: { ready: true } }],
    ports: [
      { name: "http", port: 20_000, protocol: "TCP" },
      { name: "grpc", port: 20_001, protocol: "TCP" },
    ],
  };
  await site.bareSource.create(ENDPOINT_SLICES, slice);
  const took = (await seen) - start;
  await site.bareSource.delete(SERVICES, { namespace: WORK, name });
  await site.bareSource.delete(ENDPOINT_SLICES, { namespace: WORK, name: sliceName(name) });
  await watch.gone(name);
  return took;
}
