import {
  EGRESS_PORTS_ANNOTATION,
  LINK_LABEL,
  type Link,
  type LinkServiceStatus,
  linkLabelValue,
  MEMBER_PORTS_PREFIX,
  parseEgressPorts,
} from "../../contract/index.ts";
import type { Fence, KubeClient } from "../kube/client.ts";
import type { Clock } from "../kube/clock.ts";
import type { Log } from "../kube/log.ts";
import { keyOf, refOf } from "../kube/objects.ts";
import { type Reconcile, WorkQueue } from "../kube/queue.ts";
import { Claims, type Member } from "./claims.ts";
import { LinkerdCopies } from "./credentials/linkerd-copy.ts";
import { CredentialsRenewer } from "./credentials/renewer.ts";
import { isRefusal, type MirrorPolicy } from "./desired.ts";
import { LinkEvents } from "./events.ts";
import { memberLabels } from "./federated.ts";
import { ReadinessGates } from "./gates.ts";
import { Backends } from "./gateways/backends.ts";
import { Gateways } from "./gateways/gateways.ts";
import type { Probe } from "./gateways/probe.ts";
import type { Lookup } from "./gateways/resolver.ts";
import { Ways } from "./gateways/ways.ts";
import type { MirrorMetrics } from "./metrics.ts";
import { MirrorObjects } from "./mirror-objects.ts";
import { MirrorNamespaces } from "./namespaces/namespaces.ts";
import { EgressPorts, type PortRange } from "./ports.ts";
import { examineLocal, FederatedReconciler, memberPortsOwner, mirrorOfPorts } from "./reconcile-federated.ts";
import { LinkReconciler } from "./reconcile-link.ts";
import { MirrorReconciler } from "./reconcile-mirror.ts";
import { LinkReporter } from "./reporter.ts";
import { BY_TARGET, type SourceCluster } from "./source.ts";
import { type Connect, Target } from "./target/target.ts";
import { Triggers } from "./triggers.ts";
import { SourceWriter } from "./writer.ts";

export interface MirrorControllerOptions {
  client: KubeClient;
  /** Of this term: nothing is written once it is over. */
  fence: Fence;
  connect: Connect;
  /** @default by HTTP */
  probe?: Probe | undefined;
  /** @default DNS, then the system */
  lookup?: Lookup | undefined;
  /** Completely listed. */
  source: SourceCluster;
  policy: MirrorPolicy;
  /** Of Linkerd's control plane; of use to that data plane only. */
  linkerdNamespace: string;
  egressPorts: PortRange;
  /** Mirrors reconciled at a time. */
  workers: number;
  /** Make namespaces that services want, and remove them again. Absent: none are made. */
  createNamespaces?: {
    /** The namespace of this Isthmus. */
    isthmus: string;
    /** Never made, never removed. */
    never: ReadonlySet<string>;
    /** One that is not empty is looked at again no sooner. @default every so manieth resync */
    lookAgainMs: number | undefined;
  };
  /** Everything is looked at again this often: what no watch told, that finds. */
  resyncMs: number;
  clock: Clock;
  random: () => number;
  metrics: MirrorMetrics;
  log: Log;
}

/** Readiness gates are looked at no more often. */
const GATES_EVERY_MS = 50;
/** A namespace of ours that is not empty is looked at with every so manieth resync: that needs two writes. */
const LOOK_AGAIN_EVERY = 6;
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
  readonly #claims: Claims;
  readonly #gateways: Gateways;
  readonly #gates: ReadinessGates;
  readonly #events: LinkEvents;
  readonly #reporter: LinkReporter;
  readonly #triggers: Triggers;
  readonly #mirrors: WorkQueue;
  readonly #links: WorkQueue;
  readonly #statuses: WorkQueue;
  readonly #renewer: CredentialsRenewer;
  readonly #renewals: WorkQueue;
  readonly #gatesQueue: WorkQueue;
  readonly #namespaces: MirrorNamespaces | undefined;
  readonly #namespacesQueue: WorkQueue;
  /** When a change was seen that a mirror does not show yet. */
  readonly #changes = new Map<string, { cluster: string; at: number }>();

  constructor(options: MirrorControllerOptions) {
    const { client, fence, source, policy, clock, random, metrics, log } = options;
    this.#options = options;
    // Not at once: who gives ports back may be about to hand them to somebody.
    const onFree = (owner: string) => this.#mirrors.addAfter(mirrorOfPorts(owner), 0);
    this.#ports = new EgressPorts(options.egressPorts, onFree);
    const targets = this.#targets;
    const ports = this.#ports;
    const claims = new Claims(source, targets, policy);
    this.#claims = claims;
    const writer = new SourceWriter(client, (verb, plural) => metrics.wrote(verb, plural), fence);
    const onNews = (link: string, afterMs?: number) =>
      afterMs === undefined ? this.#statuses.add(link) : this.#statuses.addAfter(link, afterMs);
    this.#events = new LinkEvents(client, clock, log, fence);
    const common = { clock, random, log };
    const events = this.#events;
    const gateways = new Gateways({
      ...common,
      source,
      dataPlane: policy.dataPlane,
      probe: options.probe,
      lookup: options.lookup,
      target: (link) => {
        const target = targets.get(keyOf(link));
        return target && { services: target.gateways, listed: target.listed };
      },
      events,
      metrics: metrics.gateways,
      onChange: (link, urgent) => this.#triggers.addMirrorsOf(link, targets.get(keyOf(link)), urgent),
      onNews: (link) => onNews(keyOf(link)),
    });
    this.#gateways = gateways;
    const backends = new Backends(source, gateways, policy.dataPlane);
    this.#gates = new ReadinessGates(source, backends, writer);
    const copies =
      policy.dataPlane === "linkerd"
        ? new LinkerdCopies({ namespace: options.linkerdNamespace, writer, events, log, onNews })
        : undefined;
    const renewer = new CredentialsRenewer({
      ...common,
      links: source.links,
      secrets: source.credentials,
      claims,
      writer,
      connect: options.connect,
      events,
      onRenewal: (cluster, outcome) => metrics.renewed(cluster, outcome),
      onNews,
    });
    this.#renewer = renewer;
    const others = (link: Link) =>
      [gateways.conditionOf(link), renewer.condition(link), copies?.condition(link)].filter(
        (condition) => condition !== undefined,
      );
    this.#reporter = new LinkReporter({
      ...{ source, targets, gateways, writer, events, clock, log, others, onNews },
    });

    this.#namespaces =
      options.createNamespaces &&
      new MirrorNamespaces({
        ...options.createNamespaces,
        client,
        source,
        targets,
        claims,
        writer,
        wake: (name) => this.#namespacesQueue.add(name),
        onReady: (name) => this.#triggers.addMirrorsIn(name),
        record: (link, event) => this.#events.record(link, event),
        lookAgainMs: options.createNamespaces.lookAgainMs ?? LOOK_AGAIN_EVERY * options.resyncMs,
        clock,
        log,
      });
    const objects = new MirrorObjects(source, claims, writer);
    const report = ({ link, target }: Member, outcome: LinkServiceStatus) =>
      this.#reporter.service(link, target, outcome);
    const namespaces = this.#namespaces;
    const parts = {
      ...{ source, claims, backends, ports, policy, objects, report },
      ...(namespaces && { namespaces }),
    };
    const federated = new FederatedReconciler({ ...parts, log });
    const mirrors = new MirrorReconciler({
      ...parts,
      ways: new Ways(gateways, backends),
      federated,
      onPod: (mirror) => this.#triggers.podChanged(mirror),
    });
    const links = new LinkReconciler({
      source,
      claims,
      targets,
      writer,
      copies,
      newTarget: (link) => this.#newTarget(link),
      onTarget: (target) => this.#addMirrorsOfLinksTo(target),
      onDeleting: (link, target) => this.#triggers.addMirrorsOf(link, target),
      isBusy: (link) => mirrors.isBusy(link),
    });

    const queue = (name: string, workers: number, reconcile: Reconcile) =>
      new WorkQueue({ ...common, name, workers, reconcile, metrics: metrics.queue(name) });
    this.#mirrors = new WorkQueue({
      ...common,
      name: "mirrors",
      workers: options.workers,
      group: (key) => {
        const known = source.services.get(key)?.metadata.labels?.[LINK_LABEL];
        if (known !== undefined) return known;
        const [claim] = claims.of(key);
        return claim === undefined || claim.kind === "federated" ? "" : linkLabelValue(claim.link.metadata);
      },
      reconcile: async (key, signal) => {
        const result = await mirrors.reconcile(key, signal);
        this.#settled(key);
        return result;
      },
      metrics: metrics.queue("mirrors"),
    });
    // Each waits for its target, and none for another's.
    this.#renewals = queue("credentials", 8, (key, signal) => renewer.reconcile(key, signal));
    this.#links = queue("links", 4, async (key, signal) => {
      const result = await links.reconcile(key, signal);
      this.#renewals.add(key);
      return result;
    });
    this.#statuses = queue("statuses", 2, (key, signal) => this.#reporter.reconcile(key, signal));
    this.#gatesQueue = queue("gates", 1, (_, signal) => this.#openGates(signal));
    this.#namespacesQueue = queue(
      "namespaces",
      4,
      async (name, signal) => await this.#namespaces?.reconcile(name, signal),
    );
    this.#triggers = new Triggers({
      source,
      targets,
      mirrors: this.#mirrors,
      links: this.#links,
      statuses: this.#statuses,
      isRemembered: (key) => federated.remembers(key),
      onSlices: () => this.#wakeGates(),
      onRemoteChange: (mirror, target) => this.#changed(mirror, target),
    });
  }

  /** Work until `signal` is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    const { metrics } = this.#options;
    this.#claimPorts();
    const stopListening = this.#triggers.listen();
    const credentialsExpiry = (link: string) => this.#renewer.expiry(link);
    const conditions = (link: string) => this.#options.source.links.get(link)?.status?.conditions ?? [];
    metrics.observe({
      ...{ targets: this.#targets, ports: this.#ports, queues: this.#queues },
      ...{ credentialsExpiry, conditions },
      refusedMembers: () => this.#refusedMembers(),
    });
    this.#triggers.addAll();
    this.#wakeGates();
    const stopNamespaces = this.#namespaces?.listen();
    try {
      await Promise.all([
        // First, so that it is known what gateways were before anything is decided.
        this.#gateways.run(signal),
        ...Object.values(this.#queues).map((queue) => queue.run(signal)),
        this.#resync(signal),
      ]);
    } finally {
      stopListening();
      stopNamespaces?.();
      metrics.observe(undefined);
      await Promise.all([...this.#targets.values()].map((target) => target.stop()));
      await this.#events.stop();
    }
  }

  /** By the names that they have in metrics. */
  get #queues() {
    return {
      mirrors: this.#mirrors,
      links: this.#links,
      statuses: this.#statuses,
      credentials: this.#renewals,
      gates: this.#gatesQueue,
      namespaces: this.#namespacesQueue,
    };
  }

  /** For `/state`. */
  state(): unknown {
    return {
      queues: Object.fromEntries(Object.entries(this.#queues).map(([name, { depth }]) => [name, depth])),
      egressPorts: this.#ports.usage,
      links: [...this.#targets.values()].map((target) => ({
        link: target.link,
        cluster: target.cluster,
        connection: target.state,
        listed: target.listed,
        services: target.services.size,
        pending: target.pending,
        watch: target.watchState(),
        gateways: this.#gateways.state(keyOf({ metadata: target.link })),
      })),
    };
  }

  /**
   * Mirrors made before keep their egress ports; of two that claim the same, the older does. Those of another Isthmus in this
   * cluster are ports of another egress.
   */
  #claimPorts(): void {
    const age = (time = "", key = "") => `${time} ${key}`;
    const mirrors = this.#options.source.services
      .list()
      .filter((mirror) => this.#claims.isFederation(mirror) || this.#claims.ownerOf(mirror) !== undefined)
      .map((mirror) => ({ mirror, age: age(mirror.metadata.creationTimestamp, keyOf(mirror)) }))
      .sort((a, b) => (a.age < b.age ? -1 : 1));
    for (const { mirror } of mirrors) {
      const { annotations = {} } = mirror.metadata;
      const key = keyOf(mirror);
      this.#ports.claim(key, parseEgressPorts(annotations[EGRESS_PORTS_ANNOTATION]));
      for (const label of memberLabels(mirror)) {
        const ports = parseEgressPorts(annotations[`${MEMBER_PORTS_PREFIX}${label}`]);
        this.#ports.claim(memberPortsOwner(key, label), ports);
      }
    }
  }

  #refusedMembers(): { service: string; reason: string }[] {
    const { source, policy } = this.#options;
    return source.localMembers.list().flatMap((local) => {
      const examined = examineLocal(local, policy);
      return isRefusal(examined) ? [{ service: keyOf(local), reason: examined.reason }] : [];
    });
  }

  #newTarget(link: Link): Target {
    const { connect, clock, random, log } = this.#options;
    const target: Target = new Target(link, {
      connect,
      clock,
      random,
      log,
      onState: () => this.#targetChanged(target),
      onListed: () => this.#targetListed(target),
      onGateways: () => this.#gateways.refresh(keyOf(link)),
    });
    this.#triggers.listenTo(target);
    return target;
  }

  #targetChanged(target: Target): void {
    const link = this.#options.source.links.get(keyOf({ metadata: target.link }));
    if (link !== undefined) this.#reporter.connection(link, target);
  }

  /** Now it is known which mirrors nobody wants, whoever of several Links to this target made them. */
  #targetListed(target: Target): void {
    this.#namespaces?.wakeAll();
    this.#gateways.refresh(keyOf({ metadata: target.link }));
    this.#addMirrorsOfLinksTo(target);
  }

  #addMirrorsOfLinksTo(target: Target): void {
    for (const each of this.#options.source.links.by(BY_TARGET, target.cluster)) {
      this.#triggers.addMirrorsOf(each, this.#targets.get(keyOf(each)));
    }
  }

  #changed(mirror: string, target: Target): void {
    this.#namespaces?.changed(refOf(mirror).namespace ?? "");
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
