import {
  EGRESS_PORTS_ANNOTATION,
  LINK_LABEL,
  type Link,
  linkLabelValue,
  parseEgressPorts,
} from "../../contract/index.ts";
import type { Fence, KubeClient } from "../kube/client.ts";
import type { Clock } from "../kube/clock.ts";
import type { Log } from "../kube/log.ts";
import { keyOf } from "../kube/objects.ts";
import { type Reconcile, WorkQueue } from "../kube/queue.ts";
import { Backends } from "./backends.ts";
import { Claims } from "./claims.ts";
import type { MirrorPolicy } from "./desired.ts";
import { LinkEvents } from "./events.ts";
import { ReadinessGates } from "./gates.ts";
import type { MirrorMetrics } from "./metrics.ts";
import { MirrorObjects } from "./mirror-objects.ts";
import { EgressPorts, type PortRange } from "./ports.ts";
import { LinkReconciler } from "./reconcile-link.ts";
import { MirrorReconciler } from "./reconcile-mirror.ts";
import { LinkReporter } from "./reporter.ts";
import { BY_TARGET, type SourceCluster } from "./source.ts";
import { type Connect, Target } from "./target.ts";
import { Triggers } from "./triggers.ts";
import { SourceWriter } from "./writer.ts";

export interface MirrorControllerOptions {
  client: KubeClient;
  /** Of this term: nothing is written once it is over. */
  fence: Fence;
  connect: Connect;
  /** Completely listed. */
  source: SourceCluster;
  policy: MirrorPolicy;
  egressPorts: PortRange;
  /** Mirrors reconciled at a time. */
  workers: number;
  /** Everything is looked at again this often: what no watch told, that finds. */
  resyncMs: number;
  clock: Clock;
  random: () => number;
  metrics: MirrorMetrics;
  log: Log;
}

/** Readiness gates are looked at no more often. */
const GATES_EVERY_MS = 50;
/** The only key of the queue of the gates. */
const ALL_GATES = "all";

/**
 * One term of leadership: makes and connects the parts. What they remember is lost with the term, and found again in the
 * objects. Watches put keys into queues (`triggers.ts`); behind each queue stands a reconcile that looks, decides and writes.
 */
export class MirrorController {
  readonly #options: MirrorControllerOptions;
  readonly #targets = new Map<string, Target>();
  readonly #ports: EgressPorts;
  readonly #backends: Backends;
  readonly #gates: ReadinessGates;
  readonly #events: LinkEvents;
  readonly #reporter: LinkReporter;
  readonly #triggers: Triggers;
  readonly #mirrors: WorkQueue;
  readonly #links: WorkQueue;
  readonly #statuses: WorkQueue;
  readonly #gatesQueue: WorkQueue;
  /** When a change was seen that a mirror does not show yet. */
  readonly #changes = new Map<string, { cluster: string; at: number }>();
  /** Targets whose first complete list was dealt with. */
  readonly #listed = new WeakSet<Target>();

  constructor(options: MirrorControllerOptions) {
    const { client, fence, source, policy, clock, random, metrics, log } = options;
    this.#options = options;
    this.#ports = new EgressPorts(options.egressPorts);
    const targets = this.#targets;
    const ports = this.#ports;
    const claims = new Claims(source, targets);
    const writer = new SourceWriter(client, (verb, plural) => metrics.wrote(verb, plural), fence);
    const backends = new Backends({
      source,
      dataPlane: policy.dataPlane,
      clock,
      log,
      onChange: (link) => this.#triggers.addMirrorsOf(link, targets.get(keyOf(link))),
    });
    this.#backends = backends;
    this.#gates = new ReadinessGates(source, backends, writer);
    const onNews = (link: string) => this.#statuses.add(link);
    this.#events = new LinkEvents(client, clock, log, fence);
    this.#reporter = new LinkReporter({ source, targets, writer, events: this.#events, clock, log, onNews });

    const objects = new MirrorObjects(source, claims, writer);
    const mirrors = new MirrorReconciler({
      source,
      claims,
      backends,
      ports,
      policy,
      objects,
      report: ({ link, target }, outcome) => this.#reporter.service(link, target, outcome),
    });
    const links = new LinkReconciler({
      source,
      claims,
      targets,
      writer,
      newTarget: (link) => this.#newTarget(link),
      onDeleting: (link, target) => this.#triggers.addMirrorsOf(link, target),
      isBusy: (link) => mirrors.isBusy(link),
    });

    const common = { clock, random, log };
    const queue = (name: string, workers: number, reconcile: Reconcile) =>
      new WorkQueue({ ...common, name, workers, reconcile, metrics: metrics.queue(name) });
    this.#mirrors = new WorkQueue({
      ...common,
      name: "mirrors",
      workers: options.workers,
      group: (key) => {
        const link = claims.of(key)[0]?.link.metadata;
        return source.services.get(key)?.metadata.labels?.[LINK_LABEL] ?? (link ? linkLabelValue(link) : "");
      },
      reconcile: async (key, signal) => {
        const result = await mirrors.reconcile(key, signal);
        this.#settled(key);
        return result;
      },
      metrics: metrics.queue("mirrors"),
    });
    this.#links = queue("links", 4, (key, signal) => links.reconcile(key, signal));
    this.#statuses = queue("statuses", 2, (key, signal) => this.#reporter.reconcile(key, signal));
    this.#gatesQueue = queue("gates", 1, (_, signal) => this.#openGates(signal));
    this.#triggers = new Triggers({
      source,
      targets,
      mirrors: this.#mirrors,
      links: this.#links,
      statuses: this.#statuses,
      onSlices: () => this.#wakeGates(),
      onRemoteChange: (mirror, target) => this.#changed(mirror, target),
    });
  }

  /** Work until `signal` is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    const { metrics } = this.#options;
    this.#claimPorts();
    const stopListening = this.#triggers.listen();
    metrics.observe({ targets: this.#targets, ports: this.#ports });
    this.#triggers.addAll();
    this.#wakeGates();
    const queues = [this.#mirrors, this.#links, this.#statuses, this.#gatesQueue];
    try {
      await Promise.all([
        ...queues.map((queue) => queue.run(signal)),
        this.#backends.run(signal),
        this.#resync(signal),
      ]);
    } finally {
      stopListening();
      metrics.observe(undefined);
      await Promise.all([...this.#targets.values()].map((target) => target.stop()));
      await this.#events.stop();
    }
  }

  /** For `/state`. */
  state(): unknown {
    return {
      queues: { mirrors: this.#mirrors.depth, links: this.#links.depth, statuses: this.#statuses.depth },
      egressPorts: this.#ports.usage,
      links: [...this.#targets.values()].map((target) => ({
        link: target.link,
        cluster: target.cluster,
        connection: target.state,
        listed: target.listed,
        services: target.services.size,
        pending: target.pending,
        watch: target.watchState(),
      })),
    };
  }

  /** Mirrors made before keep their egress ports; of two that claim the same, the older does. */
  #claimPorts(): void {
    const age = (time = "", key = "") => `${time} ${key}`;
    const mirrors = this.#options.source.services
      .list()
      .map((mirror) => ({ mirror, age: age(mirror.metadata.creationTimestamp, keyOf(mirror)) }))
      .sort((a, b) => (a.age < b.age ? -1 : 1));
    for (const { mirror } of mirrors) {
      const ports = parseEgressPorts(mirror.metadata.annotations?.[EGRESS_PORTS_ANNOTATION]);
      this.#ports.claim(keyOf(mirror), ports);
    }
  }

  #newTarget(link: Link): Target {
    const { connect, clock, random, log } = this.#options;
    const target = new Target(link, {
      connect,
      clock,
      random,
      log,
      onState: () => this.#targetChanged(target),
    });
    this.#triggers.listenTo(target);
    return target;
  }

  #targetChanged(target: Target): void {
    const { source } = this.#options;
    const link = source.links.get(keyOf({ metadata: target.link }));
    if (link === undefined) return;
    this.#reporter.connection(link, target);
    if (!target.listed || this.#listed.has(target)) return;
    this.#listed.add(target);
    // Now it is known which mirrors nobody wants, whoever of several Links to this target made them.
    for (const each of source.links.by(BY_TARGET, target.cluster)) {
      this.#triggers.addMirrorsOf(each, this.#targets.get(keyOf(each)));
    }
  }

  #changed(mirror: string, target: Target): void {
    if (this.#changes.has(mirror)) return;
    this.#changes.set(mirror, { cluster: target.cluster, at: this.#options.clock.monotonic() });
  }

  #settled(key: string): void {
    const change = this.#changes.get(key);
    if (change !== undefined) {
      this.#changes.delete(key);
      const elapsed = this.#options.clock.monotonic() - change.at;
      this.#options.metrics.propagated(change.cluster, elapsed / 1000);
    }
    for (const link of this.#options.source.links.list()) {
      if (link.metadata.deletionTimestamp !== undefined) this.#links.add(keyOf(link));
    }
  }

  #wakeGates(): void {
    if (this.#gates.waiting) this.#gatesQueue.addAfter(ALL_GATES, GATES_EVERY_MS);
  }

  async #openGates(signal: AbortSignal): Promise<undefined> {
    await this.#gates.open(new Date(this.#options.clock.now()), signal);
    return undefined;
  }

  async #resync(signal: AbortSignal): Promise<void> {
    for (;;) {
      await this.#options.clock.sleep(this.#options.resyncMs, signal);
      if (signal.aborted) return;
      this.#triggers.addAll();
    }
  }
}
