import { hostname } from "node:os";
import {
  DEFAULT_NAMESPACE,
  EGRESS_PORTS,
  type LabelSelector,
  LINKERD_NAMESPACE,
  MIRROR,
} from "../../contract/index.ts";
import { AdminServer } from "../kube/admin.ts";
import type { Fence, KubeClient } from "../kube/client.ts";
import { type Clock, systemClock } from "../kube/clock.ts";
import { Initialized } from "../kube/initialized.ts";
import { LeaderElection } from "../kube/lease.ts";
import type { Log } from "../kube/log.ts";
import { MirrorController } from "./controller.ts";
import type { DataPlane } from "./desired.ts";
import type { Probe } from "./gateways/probe.ts";
import type { Lookup } from "./gateways/resolver.ts";
import type { Exclusions } from "./metadata.ts";
import { MirrorMetrics } from "./metrics.ts";
import type { PortRange } from "./ports.ts";
import { DEFAULT_FEDERATED_SELECTOR } from "./selector.ts";
import { SourceCluster } from "./source.ts";
import { type Connect, connectToTarget } from "./target/target.ts";

export interface MirrorOptions {
  /** The source's API server. */
  client: KubeClient;
  /** Where the Links, their Secrets and the egress pods are. @default "isthmus" */
  namespace?: string | undefined;
  /** `/live /ready /metrics /state`; port 0 takes a free one. @default ":9990" */
  adminAddress?: string | undefined;
  /** @default "standalone" */
  dataPlane?: DataPlane | undefined;
  /** Which Services of this cluster are members of the federated service of their name; an empty selector: none. @default federated=member */
  federatedSelector?: LabelSelector | undefined;
  /** What federated services do not get of this cluster's own members. @default what no mirror gets */
  localExclusions?: Exclusions | undefined;
  /** The namespace of Linkerd's control plane; of use to that data plane only. @default "linkerd" */
  linkerdNamespace?: string | undefined;
  /** Mirrors reconciled at a time. @default 32: how many writes at a time are good for the server, its throttle finds out */
  workers?: number | undefined;
  /** Protected namespaces in which targets may have mirrors all the same. @default none */
  allowNamespaces?: readonly string[] | undefined;
  /** Make namespaces that exported services want, and remove them again once they are empty. @default false */
  createNamespaces?: boolean | undefined;
  /** A namespace that was made and is not empty is looked at again no sooner, in milliseconds. @default six times `resyncMs` */
  lookAgainMs?: number | undefined;
  /** Ports of the egress to hand out. @default 20000 to 28191 */
  egressPorts?: PortRange | undefined;
  /** Everything is looked at again this often, in milliseconds; it writes nothing if all is well. @default 10 minutes */
  resyncMs?: number | undefined;
  /** Who this process is in the leader election. @default the host's name and the process' number */
  identity?: string | undefined;
  /** Makes the clients by which targets are asked. @default a connection over the network */
  connect?: Connect | undefined;
  /** Asks whether an address of a gateway is alive. @default by HTTP */
  probe?: Probe | undefined;
  /** Looks up the host names of gateways. @default DNS, then the system */
  lookup?: Lookup | undefined;
  clock?: Clock;
  random?: () => number;
  log: Log;
}

/**
 * Another takes over when it has seen nothing of the leader for so long. It looks every two seconds or so, and may have seen
 * the last renewal as late: with the time it takes to begin, work goes on within 20 s of the leader's end.
 */
const LEASE_MS = 12_000;
/** A leader stops so much earlier: what it has sent has the difference to arrive. */
const RENEW_DEADLINE_MS = 8_000;

/** Where a target must not be able to put a Service; Isthmus's own namespace is another. */
const PROTECTED_NAMESPACES = ["kube-system", "kube-public", "kube-node-lease"];

/**
 * The role `mirror`: exported services of the targets become mirror services here. Runs until `signal` is aborted. Rejects
 * where it cannot start since the admin address is taken.
 */
export async function runMirror(options: MirrorOptions, signal: AbortSignal): Promise<void> {
  const role = new MirrorRole(options);
  const admin = new AdminServer({
    address: options.adminAddress ?? ":9990",
    registry: role.metrics.registry,
    initialized: role.initialized,
    notReady: () => role.notReady(),
    log: options.log,
  });
  admin.state("leader", () => role.state().leader);
  admin.state("source", () => role.state().source);
  admin.state("mirror", () => role.state().mirror);
  await admin.listen();
  try {
    await role.run(signal);
  } finally {
    await admin.close();
  }
}

/** All of the role `mirror` but its admin address: what it does, it does by its clients and its clock. */
export class MirrorRole {
  readonly metrics = new MirrorMetrics();
  readonly initialized = new Initialized();
  readonly #options: MirrorOptions;
  readonly #source: SourceCluster;
  readonly #election: LeaderElection;
  readonly #listed = this.initialized.handle("the source's objects");
  #controller: MirrorController | undefined;

  constructor(options: MirrorOptions) {
    this.#options = options;
    const { client, log } = options;
    const common = { client, log, ...this.#surroundings };
    this.#source = new SourceCluster({
      ...common,
      federatedSelector: options.federatedSelector ?? DEFAULT_FEDERATED_SELECTOR,
      localEndpoints: this.#dataPlane === "standalone",
    });
    this.#election = new LeaderElection({
      ...common,
      name: MIRROR,
      durationMs: LEASE_MS,
      renewDeadlineMs: RENEW_DEADLINE_MS,
      identity: options.identity ?? `${hostname()}_${process.pid}`,
    });
  }

  /** Of what no complete list was had yet, or why not. */
  notReady(): string[] {
    return this.#source.waitingFor();
  }

  /** For `/state`. */
  state(): { leader: unknown; source: unknown; mirror: unknown } {
    return {
      leader: this.#election.state(),
      source: this.#source.state(),
      mirror: this.#controller?.state() ?? null,
    };
  }

  /** Watch the source, stand for election, and mirror while leading, until `signal` is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    const watching = this.#source.run(signal);
    await Promise.race([this.#source.synced(), watching]);
    this.#listed.done();
    await this.#election.run((term, fence) => this.#lead(term, fence), signal);
    await watching;
  }

  async #lead(term: AbortSignal, fence: Fence): Promise<void> {
    const options = this.#options;
    const { namespace, clock, random } = this.#surroundings;
    this.#controller = new MirrorController({
      client: options.client,
      fence,
      connect: options.connect ?? connectToTarget,
      probe: options.probe,
      lookup: options.lookup,
      source: this.#source,
      policy: {
        dataPlane: this.#dataPlane,
        namespace,
        localExclusions: options.localExclusions ?? {},
        protectedNamespaces: protectedNamespaces(namespace, options.allowNamespaces ?? []),
      },
      ...(options.createNamespaces && {
        createNamespaces: {
          isthmus: namespace,
          never: protectedNamespaces(namespace, []),
          lookAgainMs: options.lookAgainMs,
        },
      }),
      linkerdNamespace: options.linkerdNamespace ?? LINKERD_NAMESPACE,
      egressPorts: options.egressPorts ?? EGRESS_PORTS,
      workers: options.workers ?? 32,
      resyncMs: options.resyncMs ?? 600_000,
      clock,
      random,
      metrics: this.metrics,
      log: options.log,
    });
    await this.#controller.run(term);
    this.#controller = undefined;
  }

  get #dataPlane(): DataPlane {
    return this.#options.dataPlane ?? "standalone";
  }

  get #surroundings(): { namespace: string; clock: Clock; random: () => number } {
    const { namespace = DEFAULT_NAMESPACE, clock = systemClock, random = Math.random } = this.#options;
    return { namespace, clock, random };
  }
}

function protectedNamespaces(own: string, allowed: readonly string[]): Set<string> {
  return new Set([...PROTECTED_NAMESPACES, own].filter((namespace) => !allowed.includes(namespace)));
}
