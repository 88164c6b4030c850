import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { parse } from "yaml";
import {
  COMPONENT,
  COMPONENT_LABEL,
  CREDENTIALS_SECRET_TYPE,
  DEFAULT_NAMESPACE,
  EXPORTED_LABEL,
  type Link,
  PART_OF_LABEL,
} from "../../contract/index.ts";
import { KubeClient } from "../../controller/kube/client.ts";
import type { Credentials } from "../../controller/kube/credentials.ts";
import { isForbidden, isNotFound, isTooManyRequests } from "../../controller/kube/errors.ts";
import type { EndpointSlice, KubeObject, Pod, Secret, Service } from "../../controller/kube/objects.ts";
import { loadOwnCluster } from "../../controller/kube/own-cluster.ts";
import {
  ENDPOINT_SLICES,
  LINKS,
  NAMESPACES,
  PODS,
  path,
  type Resource,
  SECRETS,
  SERVICE_ACCOUNTS,
  SERVICES,
} from "../../controller/kube/resource.ts";
import { checkoutId, checkoutRoot } from "../clusters/checkout.ts";
import { clustersDown, clustersUp, kubeconfigPath, listClusters } from "../clusters/index.ts";
import { withLock } from "../clusters/lock.ts";
import { progressOf } from "../clusters/progress.ts";
import { BareClient, forAll } from "./bare-client.ts";
import { ControllerProcess } from "./controller-process.ts";
import { waitFor } from "./waiting.ts";

export const SOURCE = "bench-source";
export const TARGET = "bench-target";
/** Of the services, in both clusters. */
export const WORK = "bench";

const READER = "isthmus-bench-reader";
const CREDENTIALS = "cluster-credentials-bench";
const MANAGER = "isthmus-bench";
const EGRESS_IP = "10.244.0.9";
/** Between two looks while more than a twentieth of the mirrors is still to come or go. */
const FAR_FROM_DONE_MS = 200;

/** Calls at a time of the bare client: with more, no API server on this class of machine takes more. */
export const CALLS_AT_A_TIME = 16;

const CRDS = cluster("apiextensions.k8s.io", "customresourcedefinitions", "CustomResourceDefinition");
const ROLES = cluster("rbac.authorization.k8s.io", "clusterroles", "ClusterRole");
const BINDINGS = cluster("rbac.authorization.k8s.io", "clusterrolebindings", "ClusterRoleBinding");

function cluster(group: string, plural: string, kind: string): Resource {
  return { group, version: "v1", plural, kind, namespaced: false };
}

/** Where a benchmark runs: two control planes, with everything in them that a Link needs, but for the Link. */
export class Site {
  readonly source: KubeClient;
  readonly target: KubeClient;
  readonly bareSource: BareClient;
  readonly bareTarget: BareClient;
  readonly #kubeconfig: string;
  readonly #targetCredentials: Credentials;
  readonly #controllers = new Set<ControllerProcess>();
  #token = "";

  private constructor(kubeconfig: string, source: Credentials, target: Credentials) {
    this.#kubeconfig = kubeconfig;
    this.#targetCredentials = target;
    this.source = new KubeClient({ cluster: SOURCE, credentials: source });
    this.target = new KubeClient({ cluster: TARGET, credentials: target });
    this.bareSource = new BareClient(source, CALLS_AT_A_TIME);
    this.bareTarget = new BareClient(target, CALLS_AT_A_TIME);
  }

  /**
   * Run `work` on clusters of its own, started for it unless they run, and taken down after it unless they ran before or
   * `keep` says so. What an earlier run left in them is removed first. One benchmark of a checkout at a time: another waits.
   */
  static async with<T>(keep: boolean, work: (site: Site) => Promise<T>): Promise<T> {
    const wait = (pid: string) =>
      progressOf("bench")(`process ${pid} runs a benchmark here; waiting for its end`);
    return await withLock(`bench-${checkoutId(checkoutRoot)}`, wait, () => Site.#with(keep, work));
  }

  static async #with<T>(keep: boolean, work: (site: Site) => Promise<T>): Promise<T> {
    const before = await listClusters();
    const started = [SOURCE, TARGET].filter((name) => !before.includes(name));
    try {
      await clustersUp([SOURCE, TARGET], { controlPlaneOnly: true });
      const kubeconfig = await kubeconfigPath();
      const load = (context: string) => loadOwnCluster({ kubeconfig, context });
      const site = new Site(kubeconfig, await load(SOURCE), await load(TARGET));
      try {
        await site.#prepare();
        return await work(site);
      } finally {
        await site.#close();
      }
    } finally {
      if (!keep && started.length > 0) await clustersDown(started);
    }
  }

  /** @param flags of the program, beside those that say where it runs */
  async controller(flags: readonly string[] = []): Promise<ControllerProcess> {
    const controller = await ControllerProcess.start(this.#kubeconfig, SOURCE, flags);
    this.#controllers.add(controller);
    return controller;
  }

  /** Export services of the target: `count` of them, with two ports each. */
  async exportServices(count: number): Promise<void> {
    const services = Array.from({ length: count }, (_, index) => exportedService(`service-${index}`));
    await forAll(services, CALLS_AT_A_TIME, (service) => this.bareTarget.create(SERVICES, service));
  }

  /**
   * Link the source to the target, under a name of its own for the target. Mirrors are called `<service>-<name>`.
   *
   * @param server another URL by which the target's API server is reached. @default its own
   */
  async link(name: string, server?: string): Promise<void> {
    if (server !== undefined) await this.#putCredentials(`${CREDENTIALS}-${name}`, server);
    const link: Link = {
      apiVersion: "isthmus.dev/v1alpha1",
      kind: "Link",
      metadata: { namespace: DEFAULT_NAMESPACE, name },
      spec: {
        targetClusterName: name,
        clusterCredentialsSecret: server === undefined ? CREDENTIALS : `${CREDENTIALS}-${name}`,
        gatewayAddresses: ["203.0.113.10"],
        gatewayIdentity: `gateway.${name}.bench.mesh`,
        selector: { matchLabels: { [EXPORTED_LABEL]: "true" } },
      },
    };
    await this.source.create(LINKS, link, { fieldManager: MANAGER });
  }

  /** Delete Links, and wait until the controller has removed their mirrors and then let them go. */
  async unlink(names: readonly string[]): Promise<void> {
    for (const name of names) await this.source.delete(LINKS, { namespace: DEFAULT_NAMESPACE, name });
    await this.untilMirrors(0);
    await waitFor("the Links to be gone", async () => {
      return (await this.source.list(LINKS, { namespace: DEFAULT_NAMESPACE })).items.length === 0;
    });
  }

  /** Wait until the source has exactly so many mirrors, complete with their slices. */
  async untilMirrors(count: number): Promise<void> {
    await waitFor(`${count} mirrors in ${SOURCE}`, async () => {
      const slices = await countOf(this.source, ENDPOINT_SLICES);
      if (slices === count) return (await countOf(this.source, SERVICES)) === count;
      // The API server has better things to do than to count, as long as there is much left.
      if (Math.abs(slices - count) > count / 20) await delay(FAR_FROM_DONE_MS);
      return false;
    });
  }

  /** All mirrors and their slices. */
  async mirrors(): Promise<{ services: Service[]; slices: EndpointSlice[] }> {
    const { items: services } = await this.source.list(SERVICES, { namespace: WORK });
    const { items: slices } = await this.source.list(ENDPOINT_SLICES, { namespace: WORK });
    return { services, slices };
  }

  /** Remove all services and slices of the source's namespace, by the bare client. */
  async clearSource(): Promise<void> {
    await this.#clear(this.source, this.bareSource);
  }

  /** Remove everything that the target exports. */
  async clearTarget(): Promise<void> {
    await this.#clear(this.target, this.bareTarget);
  }

  async #prepare(): Promise<void> {
    const apply = { fieldManager: MANAGER, force: true };
    const crd = join(import.meta.dirname, "../../contract/crd/links.isthmus.dev.yaml");
    await this.source.apply(CRDS, parse(await readFile(crd, "utf8"), { merge: true }), apply);
    for (const client of [this.source, this.target]) {
      for (const name of [DEFAULT_NAMESPACE, WORK]) {
        await client.apply(NAMESPACES, { apiVersion: "v1", kind: "Namespace", metadata: { name } }, apply);
      }
    }
    await waitFor("the API server to know Links", () => found(this.source.list(LINKS)));
    await this.#removeLinks();
    await this.#clear(this.source, this.bareSource);
    await this.#clear(this.target, this.bareTarget);
    await this.#grantAccess();
    await this.#putEgressPod();
  }

  async #grantAccess(): Promise<void> {
    const apply = { fieldManager: MANAGER, force: true };
    const metadata = { namespace: DEFAULT_NAMESPACE, name: READER };
    await this.target.apply(SERVICE_ACCOUNTS, { apiVersion: "v1", kind: "ServiceAccount", metadata }, apply);
    const apiVersion = "rbac.authorization.k8s.io/v1";
    const role: KubeObject = { apiVersion, kind: "ClusterRole", metadata: { name: READER } };
    const verbs = ["get", "list", "watch"];
    const rules = [
      { apiGroups: [""], resources: ["services"], verbs },
      { apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"], verbs },
    ];
    await this.target.apply(ROLES, { ...role, rules } as KubeObject, apply);
    const binding: KubeObject = { apiVersion, kind: "ClusterRoleBinding", metadata: { name: READER } };
    const refs: object = {
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: READER },
      subjects: [{ kind: "ServiceAccount", ...metadata }],
    };
    await this.target.apply(BINDINGS, { ...binding, ...refs }, apply);
    const answer = (await this.target.request(
      "POST",
      path(SERVICE_ACCOUNTS, { ...metadata, subresource: "token" }),
      {
        body: {
          apiVersion: "authentication.k8s.io/v1",
          kind: "TokenRequest",
          spec: { expirationSeconds: 86_400 },
        },
      },
    )) as { status: { token: string } };
    this.#token = answer.status.token;
    await this.#putCredentials(CREDENTIALS);
  }

  async #putCredentials(name: string, server?: string): Promise<void> {
    const kubeconfig = this.#remoteKubeconfig(server);
    const secret: Secret = {
      apiVersion: "v1",
      kind: "Secret",
      type: CREDENTIALS_SECRET_TYPE,
      metadata: { namespace: DEFAULT_NAMESPACE, name },
      data: { kubeconfig: Buffer.from(kubeconfig).toString("base64") },
    };
    await this.source.apply(SECRETS, secret, { fieldManager: MANAGER, force: true });
  }

  #remoteKubeconfig(server = this.#targetCredentials.server): string {
    const { tls } = this.#targetCredentials;
    const token = this.#token;
    const authority = Buffer.from(tls.ca ?? "").toString("base64");
    return JSON.stringify({
      apiVersion: "v1",
      kind: "Config",
      "current-context": TARGET,
      contexts: [{ name: TARGET, context: { cluster: TARGET, user: READER } }],
      clusters: [
        {
          name: TARGET,
          cluster: { server, "tls-server-name": "kubernetes", "certificate-authority-data": authority },
        },
      ],
      users: [{ name: READER, user: { token } }],
    });
  }

  /** Control planes have no node to run an egress on: a Pod object that says it is ready gives the slices an address. */
  async #putEgressPod(): Promise<void> {
    const ref = { namespace: DEFAULT_NAMESPACE, name: "egress" };
    const pod = {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { ...ref, labels: { [COMPONENT_LABEL]: COMPONENT.egress, [PART_OF_LABEL]: "isthmus" } },
      // No scheduler may wonder about it, and write what it thinks.
      spec: { schedulerName: "none", containers: [{ name: "agent", image: "none" }] },
    };
    // A new namespace is without its default ServiceAccount for a moment, and takes no pods for so long.
    await waitFor("the API server to take a pod", () =>
      found(this.source.apply(PODS, pod as Pod, { fieldManager: MANAGER, force: true })),
    );
    const status = {
      phase: "Running",
      podIP: EGRESS_IP,
      podIPs: [{ ip: EGRESS_IP }],
      conditions: [{ type: "ContainersReady", status: "True" }],
    };
    await this.source.patch(PODS, ref, { status }, { type: "strategic", subresource: "status" });
  }

  async #removeLinks(): Promise<void> {
    for (const { metadata } of (await this.source.list(LINKS, { namespace: DEFAULT_NAMESPACE })).items) {
      await this.source.patch(LINKS, metadata, { metadata: { finalizers: null } }, { type: "merge" });
      await found(this.source.delete(LINKS, metadata));
    }
  }

  async #clear(client: KubeClient, bare: BareClient): Promise<void> {
    for (const resource of [SERVICES, ENDPOINT_SLICES] as Resource[]) {
      const { items } = await client.list(resource, { namespace: WORK });
      await forAll(items, CALLS_AT_A_TIME, ({ metadata }) => bare.delete(resource, metadata));
    }
    await waitFor(`namespace ${WORK} to be empty`, async () => {
      return (await countOf(client, SERVICES)) + (await countOf(client, ENDPOINT_SLICES)) === 0;
    });
  }

  async #close(): Promise<void> {
    await Promise.all([...this.#controllers].map((controller) => controller.stop()));
    await Promise.all(
      [this.source, this.target, this.bareSource, this.bareTarget].map((each) => each.close()),
    );
  }
}

/** A service of the target that is exported. */
export function exportedService(name: string): Service {
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: { namespace: WORK, name, labels: { app: name, [EXPORTED_LABEL]: "true" } },
    spec: {
      ports: [
        { name: "http", port: 8080, protocol: "TCP" },
        { name: "grpc", port: 9090, protocol: "TCP" },
      ],
    },
  };
}

/** How many objects of a kind are in the namespace, without reading them. */
async function countOf(client: KubeClient, resource: Resource): Promise<number> {
  const page = await client.list(resource, { namespace: WORK, limit: 1 });
  return page.items.length + (page.metadata.remainingItemCount ?? 0);
}

/** Whether what was asked for is there; false for 403, 404 and 429, which a server that is being set up answers. */
async function found(call: Promise<unknown>): Promise<boolean> {
  try {
    await call;
    return true;
  } catch (error) {
    if (isNotFound(error) || isForbidden(error) || isTooManyRequests(error)) return false;
    throw error;
  }
}
