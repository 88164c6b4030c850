import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { jest } from "@jest/globals";
import { parse } from "yaml";
import {
  type Condition,
  type LINK_CONDITION,
  LINK_KIND,
  type Link,
  type LinkServiceStatus,
  type LinkSpec,
  sliceName,
} from "../../contract/index.ts";
import { KubeClient, type RequestOptions } from "../../controller/kube/client.ts";
import type { Credentials } from "../../controller/kube/credentials.ts";
import { isNotFound } from "../../controller/kube/errors.ts";
import { createLog } from "../../controller/kube/log.ts";
import type { Endpoint, EndpointSlice, Event, KubeObject, Service } from "../../controller/kube/objects.ts";
import { loadOwnCluster } from "../../controller/kube/own-cluster.ts";
import {
  ENDPOINT_SLICES,
  EVENTS,
  LINKS,
  NAMESPACES,
  PODS,
  path,
  type Resource,
  SECRETS,
  SERVICE_ACCOUNTS,
  SERVICES,
} from "../../controller/kube/resource.ts";
import { type MirrorOptions, runMirror } from "../../controller/mirror/main.ts";
import { forAll } from "../../scripts/bench/bare-client.ts";
import { freePort } from "../../scripts/bench/free-port.ts";
import { kubeconfigPath } from "../../scripts/clusters/index.ts";
import { until } from "./until.ts";
import { Wire } from "./wire.ts";

export const CRDS: Resource = {
  group: "apiextensions.k8s.io",
  version: "v1",
  plural: "customresourcedefinitions",
  kind: "CustomResourceDefinition",
  namespaced: false,
};
const CLUSTER_ROLES: Resource = {
  group: "rbac.authorization.k8s.io",
  version: "v1",
  plural: "clusterroles",
  kind: "ClusterRole",
  namespaced: false,
};
const CLUSTER_ROLE_BINDINGS: Resource = {
  ...CLUSTER_ROLES,
  plural: "clusterrolebindings",
  kind: "ClusterRoleBinding",
};

// Everything here waits for conditions that give up by themselves, and say what they waited for.
jest.setTimeout(300_000);

const root = join(import.meta.dirname, "../..");
const MANAGER = "isthmus-test";

type ConditionType = (typeof LINK_CONDITION)[keyof typeof LINK_CONDITION];

/** @param credentials by which the controller reaches the source. @default those of an administrator */
export type WorldMirrorOptions = Partial<MirrorOptions> & { credentials?: Credentials };

/** What an account may do or not: as in a SubjectAccessReview. */
export interface Permission {
  verb: string;
  /** @default "", the core API's */
  group?: string;
  resource: string;
  subresource?: string | undefined;
  /** Absent: in all of them. */
  namespace?: string | undefined;
  name?: string | undefined;
}

/** A controller of a test, running in this process. */
export interface RunningController {
  /** Calls so far that write, but for those on the Lease: `PUT /api/v1/…`. */
  writes: string[];
  logs: string[];
  /** A part of what it says at `/metrics`: the value of one series, 0 where there is none. */
  metric(series: string): Promise<number>;
  stop(): Promise<void>;
}

/**
 * Two real control planes, `source` and `target`, and in them one test's own namespaces, remote access and Links: many
 * tests share the clusters and never each other's objects.
 */
export class World {
  readonly id = randomBytes(4).toString("hex");
  /** The namespace of Isthmus, in the source. */
  readonly isthmus = `isthmus-${this.id}`;
  /** A namespace for services, in both clusters. */
  readonly namespace = `work-${this.id}`;
  readonly source: KubeClient;
  readonly target: KubeClient;
  readonly wire: Wire;
  readonly #sourceCredentials: Credentials;
  readonly #targetCredentials: Credentials;
  /** On all exported services, and in all Links' selectors: what other tests left behind is not this one's. */
  readonly #mark = { "isthmus.test/world": this.id };
  /** What chooses the members of federated services, in both clusters. */
  readonly federatedSelector = { matchLabels: { "mirror.linkerd.io/federated": "member", ...this.#mark } };
  readonly #namespaces: [KubeClient, string][] = [];
  readonly #controllers: RunningController[] = [];

  private constructor(source: Credentials, target: Credentials) {
    this.#sourceCredentials = source;
    this.#targetCredentials = target;
    this.source = new KubeClient({ cluster: "source", credentials: source });
    this.target = new KubeClient({ cluster: "target", credentials: target });
    this.wire = new Wire(target.server);
  }

  /** The labels by which this world's exported services are told from others'. */
  get mark(): Record<string, string> {
    return this.#mark;
  }

  /** The administrator's. */
  get sourceCredentials(): Credentials {
    return this.#sourceCredentials;
  }

  static async create(): Promise<World> {
    const kubeconfig = process.env.ISTHMUS_TEST_KUBECONFIG ?? (await kubeconfigPath());
    const load = (context: string) =>
      loadOwnCluster({ kubeconfig, context }).catch((cause) => {
        const how = "npm run clusters -- up source target --control-plane-only";
        throw new Error(`no cluster "${context}" in ${kubeconfig}; start the test clusters: ${how}`, {
          cause,
        });
      });
    const world = new World(await load("source"), await load("target"));
    await world.#prepare();
    return world;
  }

  async #prepare(): Promise<void> {
    await this.wire.restore();
    const crd = parse(await readFile(join(root, "contract/crd/links.isthmus.dev.yaml"), "utf8"), {
      merge: true,
    });
    await this.source.apply(CRDS, crd, { fieldManager: MANAGER, force: true });
    await this.createNamespace(this.source, this.isthmus);
    await this.createNamespace(this.source, this.namespace);
    await this.createNamespace(this.target, this.isthmus);
    await this.createNamespace(this.target, this.namespace);
    await this.grant(true);
    await until(() => this.source.list(LINKS, { namespace: this.isthmus }));
  }

  /** Let the remote access read a cluster's Services, or no longer. */
  async grant(allowed: boolean, cluster = this.target): Promise<void> {
    const name = `reader-${this.id}`;
    const account = {
      apiVersion: "v1",
      kind: "ServiceAccount",
      metadata: { namespace: this.isthmus, name: "reader" },
    };
    const role = {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "ClusterRole",
      metadata: { name },
      rules: allowed
        ? [
            { apiGroups: [""], resources: ["services"], verbs: ["get", "list", "watch"] },
            {
              apiGroups: ["discovery.k8s.io"],
              resources: ["endpointslices"],
              verbs: ["get", "list", "watch"],
            },
          ]
        : [],
    };
    const binding = {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "ClusterRoleBinding",
      metadata: { name },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name },
      subjects: [{ kind: "ServiceAccount", namespace: this.isthmus, name: "reader" }],
    };
    const options = { fieldManager: MANAGER, force: true };
    await cluster.apply(SERVICE_ACCOUNTS, account, options);
    await cluster.apply(CLUSTER_ROLES, role, options);
    await cluster.apply(CLUSTER_ROLE_BINDINGS, binding, options);
    for (const [group, resource] of [
      ["", "services"],
      ["discovery.k8s.io", "endpointslices"],
    ] as const) {
      await this.permitted(cluster, "reader", { verb: "list", group, resource }, allowed);
    }
  }

  /** Wait until an account may do something, or no longer: API servers go by a role a moment after it is written. */
  async permitted(
    cluster: KubeClient,
    account: string,
    permission: Permission,
    wanted = true,
  ): Promise<void> {
    const body = {
      apiVersion: "authorization.k8s.io/v1",
      kind: "SubjectAccessReview",
      spec: { user: `system:serviceaccount:${this.isthmus}:${account}`, resourceAttributes: permission },
    };
    await until(async () => {
      const url = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
      const answer = (await cluster.request("POST", url, { body })) as { status: { allowed: boolean } };
      if (answer.status.allowed !== wanted)
        throw new Error(`${account} may ${wanted ? "not yet" : "still"}: ${JSON.stringify(permission)}`);
    });
  }

  /** Let the remote access read the target's Services, and not their endpoints. */
  async grantServicesOnly(): Promise<void> {
    const rules = [{ apiGroups: [""], resources: ["services"], verbs: ["get", "list", "watch"] }];
    await this.target.patch(CLUSTER_ROLES, { name: `reader-${this.id}` }, { rules }, { type: "merge" });
    const permission = { verb: "list", group: "discovery.k8s.io", resource: "endpointslices" };
    await this.permitted(this.target, "reader", permission, false);
  }

  async createNamespace(client: KubeClient, name: string): Promise<void> {
    await client.create(NAMESPACES, { apiVersion: "v1", kind: "Namespace", metadata: { name } });
    this.#namespaces.push([client, name]);
  }

  /** A kubeconfig for the target, over the wire; `changes` make it a wrong one. */
  async kubeconfig(changes: { token?: string; ca?: string; server?: string } = {}): Promise<string> {
    return kubeconfigText({
      server: this.wire.url,
      token: await this.#token(this.target),
      ca: this.#targetCredentials.tls.ca ?? "",
      ...changes,
    });
  }

  /** How an administrator reaches a cluster, but with another token. */
  credentialsOf(cluster: "source" | "target", token: string): Credentials {
    const { server, tls } = cluster === "source" ? this.#sourceCredentials : this.#targetCredentials;
    const { cert: _, key: __, ...rest } = tls;
    return { server, tls: rest, headers: async () => ({ authorization: `Bearer ${token}` }) };
  }

  /** A kubeconfig for the source itself: for a Link that could go round in circles. */
  async kubeconfigOfSource(): Promise<string> {
    await this.grant(true, this.source);
    const { server, tls } = this.#sourceCredentials;
    return kubeconfigText({ server, token: await this.#token(this.source), ca: tls.ca ?? "" });
  }

  async #token(cluster: KubeClient): Promise<string> {
    const url = path(SERVICE_ACCOUNTS, { namespace: this.isthmus, name: "reader", subresource: "token" });
    const body = {
      apiVersion: "authentication.k8s.io/v1",
      kind: "TokenRequest",
      spec: { expirationSeconds: 3600 },
    };
    const answer = (await cluster.request("POST", url, { body })) as { status: { token: string } };
    return answer.status.token;
  }

  /** Make or replace the credentials Secret of a Link. */
  async putCredentials(kubeconfig: string, link = "remote"): Promise<void> {
    const secret = {
      apiVersion: "v1",
      kind: "Secret",
      type: "mirror.linkerd.io/remote-kubeconfig",
      metadata: { namespace: this.isthmus, name: `cluster-credentials-${link}` },
      data: { kubeconfig: Buffer.from(kubeconfig).toString("base64") },
    };
    await this.source.apply(SECRETS, secret, { fieldManager: MANAGER, force: true });
  }

  /** Make a Link to the target, which is called `remote` unless told otherwise. */
  async putLink(spec: Partial<LinkSpec> = {}, name = "remote"): Promise<Link> {
    return await this.source.apply(LINKS, this.makeLink(spec, name), { fieldManager: MANAGER, force: true });
  }

  /** The Link that `putLink` makes. */
  makeLink(spec: Partial<LinkSpec> = {}, name = "remote"): Link {
    return {
      apiVersion: "isthmus.dev/v1alpha1",
      kind: "Link",
      metadata: { namespace: this.isthmus, name },
      spec: {
        targetClusterName: name,
        clusterCredentialsSecret: `cluster-credentials-${name}`,
        gatewayAddresses: ["192.0.2.127"],
        gatewayPort: 888,
        gatewayIdentity: "gateway.remote.demo.mesh",
        selector: { matchLabels: { "mirror.linkerd.io/exported": "true", ...this.#mark } },
        remoteDiscoverySelector: {
          matchLabels: { "mirror.linkerd.io/exported": "remote-discovery", ...this.#mark },
        },
        federatedServiceSelector: this.federatedSelector,
        ...spec,
        excludedLabels: [...Object.keys(this.#mark), ...(spec.excludedLabels ?? [])],
      },
    };
  }

  /** A Link with credentials that work. */
  async link(spec: Partial<LinkSpec> = {}, name = "remote"): Promise<void> {
    await this.putCredentials(await this.kubeconfig(), name);
    await this.putLink(spec, name);
  }

  /** Make or replace a Service of the target, exported unless `labels` say otherwise. */
  async export(
    name: string,
    changes: Partial<Service["metadata"]> = {},
    spec: Service["spec"] = {},
  ): Promise<Service> {
    const { labels, ...metadata } = changes;
    const service: Service = {
      apiVersion: "v1",
      kind: "Service",
      metadata: {
        namespace: this.namespace,
        name,
        labels: { ...(labels ?? { "mirror.linkerd.io/exported": "true" }), ...this.#mark },
        ...metadata,
      },
      spec: { ports: [{ name: "http", port: 80, protocol: "TCP" }], ...spec },
    };
    return await this.target.apply(SERVICES, service, { fieldManager: MANAGER, force: true });
  }

  /** Make or replace a slice of a Service of the target, as Kubernetes would: with the Service's labels. */
  async putSlice(
    service: Service,
    endpoints: Endpoint[],
    {
      number = 0,
      addressType = "IPv4",
    }: { number?: number; addressType?: EndpointSlice["addressType"] } = {},
  ): Promise<void> {
    const { namespace = "", name, labels = {} } = service.metadata;
    const slice: EndpointSlice = {
      apiVersion: "discovery.k8s.io/v1",
      kind: "EndpointSlice",
      metadata: {
        namespace,
        name: `${name}-${addressType.toLowerCase()}-${number}`,
        labels: {
          ...labels,
          "kubernetes.io/service-name": name,
          ...(service.spec?.clusterIP === "None" && { "service.kubernetes.io/headless": "" }),
        },
      },
      addressType,
      endpoints,
      ports: (service.spec?.ports ?? []).map(({ name = "", port, protocol = "TCP" }) => ({
        name,
        port,
        protocol,
      })),
    };
    await this.target.apply(ENDPOINT_SLICES, slice, { fieldManager: MANAGER, force: true });
  }

  /** An egress pod, as far as API servers know: control planes run none. */
  async putEgressPod(ip: string, ...others: string[]): Promise<void> {
    const ref = { namespace: this.isthmus, name: `egress-${ip.replaceAll(/[.:]/g, "-")}` };
    const pod = {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { ...ref, labels: { "app.kubernetes.io/component": "gateway-egress" } },
      spec: { containers: [{ name: "agent", image: "none" }] },
    };
    await until(() => this.source.create(PODS, pod as never));
    const status = {
      phase: "Running",
      podIP: ip,
      podIPs: [ip, ...others].map((each) => ({ ip: each })),
      conditions: [{ type: "ContainersReady", status: "True" }],
    };
    await this.source.patch(PODS, ref, { status }, { type: "strategic", subresource: "status" });
  }

  /** A Service of the source itself. */
  async putLocal(name: string, labels: Record<string, string>, spec: Service["spec"] = {}): Promise<Service> {
    const service: Service = {
      apiVersion: "v1",
      kind: "Service",
      metadata: { namespace: this.namespace, name, labels: { ...labels, ...this.#mark } },
      spec: { ports: [{ name: "http", port: 80, protocol: "TCP" }], ...spec },
    };
    return await this.source.apply(SERVICES, service, { fieldManager: MANAGER, force: true });
  }

  /** Give a slice of the source these endpoints: no node runs pods here. */
  async putLocalEndpoints(slice: EndpointSlice, ips: string[]): Promise<void> {
    const { namespace, name, labels = {} } = slice.metadata;
    // A slice of another manager's, since Kubernetes' own would be emptied again.
    const copy: EndpointSlice = {
      apiVersion: "discovery.k8s.io/v1",
      kind: "EndpointSlice",
      metadata: {
        ...(namespace && { namespace }),
        name: `${name}-by-hand`,
        labels: { ...labels, "endpointslice.kubernetes.io/managed-by": "isthmus.test" },
      },
      addressType: "IPv4",
      endpoints: ips.map((ip) => ({ addresses: [ip], conditions: { ready: true } })),
      ports: [{ name: "http", port: 80, protocol: "TCP" }],
    };
    await this.source.create(ENDPOINT_SLICES, copy, { fieldManager: MANAGER });
  }

  /** The slices of a Service of the source. */
  async slicesOf(service: string, namespace = this.namespace): Promise<EndpointSlice[]> {
    const labelSelector = `kubernetes.io/service-name=${service}`;
    return (await this.source.list(ENDPOINT_SLICES, { namespace, labelSelector })).items;
  }

  /** A Service of the source; rejects where there is none. */
  mirror(name: string, namespace = this.namespace): Promise<Service> {
    return this.source.get(SERVICES, { namespace, name });
  }

  slice(name: string, namespace = this.namespace): Promise<EndpointSlice> {
    return this.source.get(ENDPOINT_SLICES, { namespace, name: sliceName(name) });
  }

  /** Names of all Services and slices of a namespace of the source, sorted: what should not be there shows. */
  async names(namespace = this.namespace): Promise<{ services: string[]; slices: string[] }> {
    const sorted = (items: KubeObject[]) => items.map(({ metadata }) => metadata.name).sort();
    return {
      services: sorted((await this.source.list(SERVICES, { namespace })).items),
      slices: sorted((await this.source.list(ENDPOINT_SLICES, { namespace })).items),
    };
  }

  /** uid and resourceVersion of everything that a controller could write, but its Lease: equal means untouched. */
  async fingerprint(): Promise<Record<string, string>> {
    const all = await Promise.all([
      ...[SERVICES, ENDPOINT_SLICES].map((each) =>
        this.source.list<KubeObject>(each, { namespace: this.namespace }),
      ),
      ...[LINKS, SECRETS].map((each) => this.source.list<KubeObject>(each, { namespace: this.isthmus })),
      // Kubernetes itself has something to say of egress pods that have no node.
      this.source.list(EVENTS, {
        namespace: this.isthmus,
        fieldSelector: `involvedObject.kind=${LINK_KIND}`,
      }),
    ]);
    return Object.fromEntries(
      all.flatMap(({ items }) =>
        items.map(({ kind, metadata }) => [
          `${kind} ${metadata.name}`,
          `${metadata.uid} ${metadata.resourceVersion}`,
        ]),
      ),
    );
  }

  async deleteLink(name = "remote"): Promise<void> {
    await this.source.delete(LINKS, { namespace: this.isthmus, name });
  }

  async getLink(name = "remote"): Promise<Link> {
    return await this.source.get(LINKS, { namespace: this.isthmus, name });
  }

  async condition(type: ConditionType, name = "remote"): Promise<Condition | undefined> {
    return (await this.getLink(name)).status?.conditions?.find((condition) => condition.type === type);
  }

  /** Wait until a condition has this reason. */
  async reason(type: ConditionType, reason: string, name = "remote"): Promise<Condition> {
    return await until(async () => {
      const condition = await this.condition(type, name);
      if (condition?.reason !== reason) throw new Error(`${type} is ${JSON.stringify(condition)}`);
      return condition;
    });
  }

  /** Wait until the status says this of an exported service. */
  async serviceReason(service: string, reason: string, name = "remote"): Promise<LinkServiceStatus> {
    return await until(async () => {
      const { services = [] } = (await this.getLink(name)).status ?? {};
      const found = services.find((each) => each.name === service && each.namespace === this.namespace);
      if (found?.reason !== reason) throw new Error(`${service} is ${JSON.stringify(found)}`);
      return found;
    });
  }

  /** Events of the source about Links. */
  async events(): Promise<Event[]> {
    return (await this.source.list(EVENTS, { namespace: this.isthmus })).items;
  }

  /** Run a controller for this world. */
  async start({
    credentials = this.#sourceCredentials,
    ...options
  }: WorldMirrorOptions = {}): Promise<RunningController> {
    const writes: string[] = [];
    const logs: string[] = [];
    const client = new RecordingClient(credentials, writes);
    const stop = new AbortController();
    const port = await freePort();
    const running = runMirror(
      {
        client,
        namespace: this.isthmus,
        federatedSelector: this.federatedSelector,
        localExclusions: { excludedLabels: Object.keys(this.#mark) },
        adminAddress: `127.0.0.1:${port}`,
        identity: `controller-${this.#controllers.length}`,
        log: createLog({ level: "debug", write: (line) => void logs.push(line) }),
        ...options,
      },
      stop.signal,
    );
    running.catch((error) => logs.push(String(error)));
    const controller: RunningController = {
      writes,
      logs,
      async metric(series) {
        const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
        const line = text.split("\n").find((each) => each.startsWith(`${series} `));
        return Number(line?.slice(series.length + 1) ?? 0);
      },
      async stop() {
        if (stop.signal.aborted) return;
        stop.abort();
        await running;
        await client.close();
      },
    };
    this.#controllers.push(controller);
    return controller;
  }

  /** Stop all controllers and remove what the test made. */
  async destroy(): Promise<void> {
    await Promise.all(this.#controllers.map((controller) => controller.stop()));
    for (const link of (await this.source.list(LINKS, { namespace: this.isthmus })).items) {
      const { namespace, name } = link.metadata;
      await this.source.patch(
        LINKS,
        { namespace, name },
        { metadata: { finalizers: null } },
        { type: "merge" },
      );
      await this.source.delete(LINKS, { namespace, name }).catch(unlessNotFound);
    }
    for (const [client, name] of this.#namespaces) {
      // A namespace takes seconds to go; other tests must not see its services for so long.
      const { items } = await client.list(SERVICES, { namespace: name });
      await forAll(items, 16, ({ metadata }) =>
        client.delete(SERVICES, { namespace: name, name: metadata.name }).catch(unlessNotFound),
      );
      await client.delete(NAMESPACES, { name }).catch(unlessNotFound);
    }
    for (const cluster of [this.source, this.target]) {
      for (const resource of [CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES]) {
        await cluster.delete(resource, { name: `reader-${this.id}` }).catch(unlessNotFound);
      }
    }
    await this.wire.cut();
    await Promise.all([this.source.close(), this.target.close()]);
  }
}

/** A client that keeps a list of the writes it is asked for, since a write that changes nothing leaves no trace. */
class RecordingClient extends KubeClient {
  readonly #writes: string[];

  constructor(credentials: Credentials, writes: string[]) {
    super({ cluster: "source", credentials });
    this.#writes = writes;
  }

  override request(method: string, url: string, options: RequestOptions = {}): Promise<unknown> {
    if (method !== "GET" && !url.includes("/leases")) this.#writes.push(`${method} ${url}`);
    return super.request(method, url, options);
  }
}

function kubeconfigText({ server, token, ca }: { server: string; token: string; ca: string }): string {
  return JSON.stringify({
    apiVersion: "v1",
    kind: "Config",
    "current-context": "remote",
    contexts: [{ name: "remote", context: { cluster: "remote", user: "reader" } }],
    clusters: [
      {
        name: "remote",
        cluster: {
          server,
          "tls-server-name": "kubernetes",
          "certificate-authority-data": Buffer.from(ca).toString("base64"),
        },
      },
    ],
    users: [{ name: "reader", user: { token } }],
  });
}

function unlessNotFound(error: unknown): void {
  if (!isNotFound(error)) throw error;
}
