import { Counter, Gauge, Histogram, Registry } from "prom-client";
import { type Condition, LINK_REASON, type LinkServiceStatus } from "../../contract/index.ts";
import { keyOf } from "../kube/objects.ts";
import type { WorkQueue, WorkQueueMetrics } from "../kube/queue.ts";
import { GatewayMetrics } from "./gateways/metrics.ts";
import type { EgressPorts } from "./ports.ts";
import { isFailure } from "./status.ts";
import type { Target } from "./target/target.ts";
import type { Verb } from "./writer.ts";

/** What the gauges are read from when somebody asks. */
export interface MetricsSource {
  targets: ReadonlyMap<string, Target>;
  ports: EgressPorts;
  /** By name. */
  queues: Readonly<Record<string, Pick<WorkQueue, "depth">>>;
  /** When the credentials of the Link of this key end, in seconds since the epoch; `undefined` where that is not known. */
  credentialsExpiry: (link: string) => number | undefined;
  /** What the status of the Link of this key says. */
  conditions: (link: string) => readonly Condition[];
  /** This cluster's own services that are to be members of federated services and cannot be. */
  refusedMembers: () => { service: string; reason: string }[];
}

/** What this role counts and measures; names in docs/controller.md. Durations are seconds. */
export class MirrorMetrics {
  readonly registry = new Registry();
  readonly gateways = new GatewayMetrics(this.registry);
  readonly #reconciles: Histogram<"queue" | "outcome">;
  readonly #queueWait: Histogram<"queue">;
  readonly #writes: Counter<"verb" | "resource">;
  readonly #propagation: Histogram<"target_cluster_name">;
  readonly #renewals: Counter<"target_cluster_name" | "outcome">;
  #source: MetricsSource | undefined;

  constructor() {
    const registers = [this.registry];
    const source = () => this.#source;
    new Gauge({
      name: "isthmus_queue_depth",
      help: "Keys that wait to be reconciled.",
      labelNames: ["queue"],
      registers,
      collect() {
        this.reset();
        for (const [queue, { depth }] of Object.entries(source()?.queues ?? {})) this.set({ queue }, depth);
      },
    });
    this.#reconciles = new Histogram({
      name: "isthmus_reconcile_duration_seconds",
      help: "How long reconciles took, by how they ended.",
      labelNames: ["queue", "outcome"],
      buckets: [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30],
      registers,
    });
    this.#queueWait = new Histogram({
      name: "isthmus_queue_wait_seconds",
      help: "How long keys waited for a worker.",
      labelNames: ["queue"],
      buckets: [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30],
      registers,
    });
    this.#writes = new Counter({
      name: "isthmus_source_writes_total",
      help: "Calls to the source's API server that write.",
      labelNames: ["verb", "resource"],
      registers,
    });
    this.#propagation = new Histogram({
      name: "isthmus_propagation_seconds",
      help: "From a change of an exported service being seen to its mirror being as it should.",
      labelNames: ["target_cluster_name"],
      buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60],
      registers,
    });
    this.#renewals = new Counter({
      name: "isthmus_credentials_renewals_total",
      help: "Tokens for targets that were renewed, or could not be.",
      labelNames: ["target_cluster_name", "outcome"],
      registers,
    });
    this.#gauge(
      "isthmus_link_credentials_expiry_timestamp_seconds",
      "When the token for the target ends, as it says itself; none where it does not say.",
      (target) => {
        const expiry = this.#source?.credentialsExpiry(keyOf({ metadata: target.link }));
        return expiry === undefined ? [] : [[{}, expiry]];
      },
    );
    this.#gauge("isthmus_link_connected", "1 while the target's API server answers.", (target) => [
      [{}, target.state.reason === LINK_REASON.connected ? 1 : 0],
    ]);
    this.#gauge(
      "isthmus_link_condition",
      "1 for each condition of the Link, by what it says and why.",
      (target) =>
        (this.#source?.conditions(keyOf({ metadata: target.link })) ?? []).map(({ type, status, reason }) => [
          { type, status, reason },
          1,
        ]),
      ["type", "status", "reason"],
    );
    this.#gauge("isthmus_mirrored_services", "Exported services that have a mirror.", (target) => [
      [{}, [...target.outcomes.values()].filter(({ mirrored }) => mirrored).length],
    ]);
    this.#gauge(
      "isthmus_failed_services",
      "Exported services without a mirror, by the reason.",
      (target) => [...countReasons(target.outcomes.values())].map(([reason, count]) => [{ reason }, count]),
      ["reason"],
    );
    new Gauge({
      name: "isthmus_refused_local_members",
      help: "Services of this cluster that are to be members of federated services and cannot be.",
      labelNames: ["service", "reason"],
      registers,
      collect() {
        this.reset();
        for (const refused of source()?.refusedMembers() ?? []) this.set(refused, 1);
      },
    });
    new Gauge({
      name: "isthmus_egress_ports",
      help: "Ports of the egress, by whether a mirror has them.",
      labelNames: ["state"],
      registers,
      collect() {
        const { used, size } = source()?.ports.usage ?? { used: 0, size: 0 };
        this.set({ state: "used" }, used);
        this.set({ state: "free" }, size - used);
      },
    });
  }

  /** Read the gauges from here from now on; from nowhere while this process does not lead. */
  observe(source: MetricsSource | undefined): void {
    this.#source = source;
  }

  wrote(verb: Verb, resource: string): void {
    this.#writes.inc({ verb, resource });
  }

  propagated(cluster: string, seconds: number): void {
    this.#propagation.observe({ target_cluster_name: cluster }, seconds);
  }

  renewed(cluster: string, outcome: "success" | "failure"): void {
    this.#renewals.inc({ target_cluster_name: cluster, outcome });
  }

  queue(queue: string): WorkQueueMetrics {
    return {
      done: (outcome, seconds, waitedSeconds) => {
        this.#reconciles.observe({ queue, outcome }, seconds);
        this.#queueWait.observe({ queue }, waitedSeconds);
      },
    };
  }

  #gauge(
    name: string,
    help: string,
    read: (target: Target) => [Record<string, string>, number][],
    labels: string[] = [],
  ): void {
    const source = () => this.#source;
    new Gauge({
      name,
      help,
      labelNames: ["target_cluster_name", ...labels],
      registers: [this.registry],
      collect() {
        this.reset();
        for (const target of source()?.targets.values() ?? []) {
          for (const [more, value] of read(target))
            this.set({ target_cluster_name: target.cluster, ...more }, value);
        }
      },
    });
  }
}

function countReasons(outcomes: Iterable<LinkServiceStatus>): Map<string, number> {
  const counts = new Map<string, number>();
  for (const outcome of outcomes) {
    if (isFailure(outcome)) counts.set(outcome.reason, (counts.get(outcome.reason) ?? 0) + 1);
  }
  return counts;
}
