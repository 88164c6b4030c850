import {
  ADMIN_PORT,
  DEFAULT_NAMESPACE,
  GATEWAY_CERTIFICATE_SECRET,
  ISSUER_SECRET,
  isDnsName,
  TRUST_BUNDLE_CONFIG_MAP,
} from "../../contract/index.ts";
import { AdminServer } from "../kube/admin.ts";
import type { KubeClient } from "../kube/client.ts";
import { type Clock, systemClock } from "../kube/clock.ts";
import { Initialized } from "../kube/initialized.ts";
import type { Log } from "../kube/log.ts";
import type { KubeObject } from "../kube/objects.ts";
import { WorkQueue } from "../kube/queue.ts";
import { Reflector } from "../kube/reflector.ts";
import { CONFIG_MAPS, type Resource, SECRETS } from "../kube/resource.ts";
import type { Store } from "../kube/store.ts";
import { Certifier } from "./certifier.ts";
import { IdentityMetrics } from "./metrics.ts";

export interface IdentityOptions {
  /** This cluster's API server. */
  client: KubeClient;
  /** The namespace of Isthmus. @default "isthmus" */
  namespace?: string | undefined;
  /** TLS identity of this cluster's gateway, e.g. `gateway.east.demo.mesh`. */
  identity: string;
  /** @default ":9990" */
  adminAddress?: string | undefined;
  clock?: Clock | undefined;
  log: Log;
}

/** There is one certificate to keep, and so one key. */
const CERTIFICATE = "certificate";

/**
 * The role `identity`: keeps the Secret `isthmus-gateway-certificate` a good certificate of the cluster's issuer, until
 * `signal` is aborted. The one process that holds an issuer's key.
 *
 * @throws Error when the identity is no DNS name, or the admin port is taken
 */
export async function runIdentity(options: IdentityOptions, signal: AbortSignal): Promise<void> {
  const { client, namespace = DEFAULT_NAMESPACE, identity, clock = systemClock, log } = options;
  if (!isDnsName(identity)) throw new Error(`--identity ${JSON.stringify(identity)} is no DNS name`);

  const metrics = new IdentityMetrics();
  const certifier = new Certifier({ client, namespace, identity, clock, metrics, log });
  const queue = new WorkQueue({
    name: "identity",
    reconcile: (_, stop) => certifier.reconcile(stop),
    backoff: { baseMs: 100, capMs: 30_000 },
    clock,
    log,
  });
  const initialized = new Initialized();
  /** Permission is for these very objects: a field selector is what lets it apply to lists and watches. */
  const reflect = <T extends KubeObject>(resource: Resource<T>, name: string, store: Store<T>) => {
    const handle = initialized.handle(`${resource.kind} ${namespace}/${name}`);
    const reflector = new Reflector<T>({
      client,
      resource,
      namespace,
      fieldSelector: `metadata.name=${name}`,
      sink: store,
      clock,
      log,
    });
    void reflector.synced.then(() => handle.done());
    return reflector;
  };
  const reflectors = [
    reflect(SECRETS, ISSUER_SECRET, certifier.issuers),
    reflect(SECRETS, GATEWAY_CERTIFICATE_SECRET, certifier.certificates),
    reflect(CONFIG_MAPS, TRUST_BUNDLE_CONFIG_MAP, certifier.bundles),
  ];
  const admin = new AdminServer({
    address: options.adminAddress ?? `:${ADMIN_PORT}`,
    registry: metrics.registry,
    initialized,
    notReady: () => certifier.notReady(),
    log,
  });
  admin.state("identity", () => certifier.state());
  admin.state("watches", () => reflectors.map((reflector) => reflector.state()));
  await admin.listen();
  try {
    const watching = Promise.all(reflectors.map((reflector) => reflector.run(signal)));
    await Promise.race([initialized.wait(), watching]);
    for (const store of [certifier.issuers, certifier.certificates, certifier.bundles]) {
      store.onChange(() => queue.add(CERTIFICATE));
    }
    queue.add(CERTIFICATE);
    await queue.run(signal);
    await watching;
  } finally {
    await admin.close();
  }
}
