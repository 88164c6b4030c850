import { Counter, Gauge, Histogram, type Registry } from "prom-client";
import { gatewayKey } from "./choice.ts";
import type { ProbeResult } from "./probes.ts";
import type { GatewayState } from "./report.ts";

/** What the gauges are read from when somebody asks. */
export interface GatewaysOfTarget {
  cluster: string;
  /** The Link's own first. */
  gateways: readonly GatewayState[];
}

/**
 * Linkerd's metrics of gateways, by its names and labels, and one of ours that tells the addresses apart. Every failed probe
 * is counted, where Linkerd counts those alone that find a gateway dead.
 */
export class GatewayMetrics {
  readonly #latency: Gauge<"target_cluster_name">;
  readonly #latencies: Histogram<"target_cluster_name">;
  readonly #probes: Counter<"target_cluster_name" | "probe_successful">;
  #source: () => readonly GatewaysOfTarget[] = () => [];

  constructor(registry: Registry) {
    const registers = [registry];
    const source = () => this.#source();
    new Gauge({
      name: "gateway_enabled",
      help: "1 if the link has a gateway, 0 if it has none.",
      labelNames: ["target_cluster_name"],
      registers,
      collect() {
        this.reset();
        for (const { cluster, gateways } of source())
          this.set({ target_cluster_name: cluster }, gateways[0]?.addresses.length ? 1 : 0);
      },
    });
    new Gauge({
      name: "gateway_alive",
      help: "1 if the link's gateway is alive, 0 if it is not. One that is not probed is taken to be alive.",
      labelNames: ["target_cluster_name"],
      registers,
      collect() {
        this.reset();
        for (const { cluster, gateways } of source())
          this.set({ target_cluster_name: cluster }, gateways[0]?.alive ? 1 : 0);
      },
    });
    new Gauge({
      name: "isthmus_gateway_address_alive",
      help: "1 if an address of a gateway is alive, 0 if it is not. The gateway is own, or what services chose.",
      labelNames: ["target_cluster_name", "gateway", "address"],
      registers,
      collect() {
        this.reset();
        for (const { cluster, gateways } of source()) {
          for (const { ref, addresses } of gateways) {
            const gateway = ref ? gatewayKey(ref) : "own";
            for (const { address, alive } of addresses)
              this.set({ target_cluster_name: cluster, gateway, address }, alive ? 1 : 0);
          }
        }
      },
    });
    this.#latency = new Gauge({
      name: "gateway_latency",
      help: "Milliseconds that the last successful probe of a gateway took.",
      labelNames: ["target_cluster_name"],
      registers,
    });
    this.#latencies = new Histogram({
      name: "gateway_probe_latency_ms",
      help: "Milliseconds that successful probes of a gateway took.",
      labelNames: ["target_cluster_name"],
      buckets: [1, 10, 100, 1_000, 10_000].flatMap((unit) => [1, 2, 3, 4, 5].map((times) => times * unit)),
      registers,
    });
    this.#probes = new Counter({
      name: "gateway_probes",
      help: "Probes of gateways, by whether they were answered with 200.",
      labelNames: ["target_cluster_name", "probe_successful"],
      registers,
    });
  }

  /** Read the gauges from here from now on. */
  observe(source: () => readonly GatewaysOfTarget[]): void {
    this.#source = source;
  }

  probed(cluster: string, { latencyMs, cause }: ProbeResult): void {
    const labels = { target_cluster_name: cluster };
    this.#probes.inc({ ...labels, probe_successful: String(cause === undefined) });
    if (cause !== undefined) return;
    this.#latency.set(labels, latencyMs);
    this.#latencies.observe(labels, latencyMs);
  }

  /** The target is probed no longer. */
  forget(cluster: string): void {
    const labels = { target_cluster_name: cluster };
    this.#latency.remove(labels);
    this.#latencies.remove(labels);
    for (const probe_successful of ["true", "false"]) this.#probes.remove({ ...labels, probe_successful });
  }
}
