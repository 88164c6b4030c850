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
  /** Ports of the egress to hand out. @default 20000 to 28191 */
  egressPorts?: PortRange | undefined;
  /** Everything is looked at again this often, in milliseconds; it writes nothing if all is well. @default 10 minutes */
  resyncMs?: number | undefined;
  /** Who this process is in the leader election. @default the host's name and the process' number */
  identity?: string | undefined;
  /** Makes the clients by which targets are asked. @default a connection over the network */
  connect?: Connect | undefined;
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
  const { client, namespace = DEFAULT_NAMESPACE, clock = systemClock, random = Math.random, log } = options;
  const dataPlane = options.dataPlane ?? "standalone";
  const source = new SourceCluster({
    client,
    namespace,
    federatedSelector: options.federatedSelector ?? DEFAULT_FEDERATED_SELECTOR,
    localEndpoints: dataPlane === "standalone",
    clock,
    random,
    log,
  });
  const metrics = new MirrorMetrics();
  const initialized = new Initialized();
  const listed = initialized.handle("the source's objects");
  const election = new LeaderElection({
    client,
    namespace,
    name: MIRROR,
    durationMs: LEASE_MS,
    renewDeadlineMs: RENEW_DEADLINE_MS,
    identity: options.identity ?? `${hostname()}_${process.pid}`,
    clock,
    random,
    log,
  });
  const admin = new AdminServer({
    address: options.adminAddress ?? ":9990",
    registry: metrics.registry,
    initialized,
    notReady: () => source.waitingFor(),
    log,
  });
  let controller: MirrorController | undefined;
  admin.state("leader", () => election.state());
  admin.state("source", () => source.state());
  admin.state("mirror", () => controller?.state() ?? null);
  await admin.listen();

  const lead = async (term: AbortSignal, fence: Fence) => {
    controller = new MirrorController({
      client,
      fence,
      connect: options.connect ?? connectToTarget,
      source,
      policy: {
        dataPlane,
        namespace,
        localExclusions: options.localExclusions ?? {},
        protectedNamespaces: protectedNamespaces(namespace, options.allowNamespaces ?? []),
      },
      ...(options.createNamespaces && {
        createNamespaces: { isthmus: namespace, never: protectedNamespaces(namespace, []) },
      }),
      linkerdNamespace: options.linkerdNamespace ?? LINKERD_NAMESPACE,
      egressPorts: options.egressPorts ?? EGRESS_PORTS,
      workers: options.workers ?? 32,
      resyncMs: options.resyncMs ?? 600_000,
      clock,
      random,
      metrics,
      log,
    });
    await controller.run(term);
    controller = undefined;
  };
  try {
    const watching = source.run(signal);
    await Promise.race([source.synced(), watching]);
    listed.done();
    await election.run(lead, signal);
    await watching;
  } finally {
    await admin.close();
  }
}

function protectedNamespaces(own: string, allowed: readonly string[]): Set<string> {
  return new Set([...PROTECTED_NAMESPACES, own].filter((namespace) => !allowed.includes(namespace)));
}
