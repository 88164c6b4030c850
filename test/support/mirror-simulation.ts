import { KubeClient } from "../../controller/kube/client.ts";
import type { Clock } from "../../controller/kube/clock.ts";
import { silentLog } from "../../controller/kube/log.ts";
import type { EndpointSlice, KubeObject, Pod, Service } from "../../controller/kube/objects.ts";
import {
  ENDPOINT_SLICES,
  LINKS,
  NAMESPACES,
  PODS,
  SECRETS,
  SERVICES,
} from "../../controller/kube/resource.ts";
import { runMirror } from "../../controller/mirror/main.ts";
import { linkLabelOf } from "../../controller/mirror/ownership.ts";
import { FakeApi, type Fault } from "./fake-api.ts";
import { aLink, anEgressPod } from "./mirror-objects.ts";

/** How much faster than the clock on the wall time passes for the controller. */
const HASTE = 20;

const hasty: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now() * HASTE,
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const timer = setTimeout(resolve, ms / HASTE);
      signal?.addEventListener("abort", () => {
        clearTimeout(timer);
        resolve();
      });
    }),
  after(ms, callback) {
    const timer = setTimeout(callback, ms / HASTE);
    return () => clearTimeout(timer);
  },
};

export const CLUSTERS = ["east", "west"] as const;
export type Cluster = (typeof CLUSTERS)[number];
export const NAMESPACE_NAMES = ["ns1", "ns2"] as const;
export const SERVICE_NAMES = ["api", "web"] as const;

/** A place where an exported service can be. */
export interface Place {
  cluster: Cluster;
  namespace: string;
  service: string;
}

/**
 * A source, two targets and a controller between them, and everything that people, networks and API servers do to them.
 * It watches over what the controller may never do, and knows what it must come to.
 */
export class MirrorSimulation {
  readonly source: FakeApi;
  readonly targets: Record<Cluster, FakeApi>;
  /** What the controller did that it may not do. */
  readonly violations: string[] = [];
  /** Mirrors that may be deleted: what they stand for was not wanted for a moment since they were made. */
  readonly #dispensable = new Set<string>();
  readonly #foreign = new Map<string, KubeObject>();
  #stop: (() => Promise<void>) | undefined;

  private constructor(source: FakeApi, east: FakeApi, west: FakeApi) {
    this.source = source;
    this.targets = { east, west };
    source.objects.onChange(({ collection, type, object }) => {
      if (collection !== "services" || linkLabelOf(object) === undefined) return;
      const key = `${object.metadata.namespace}/${object.metadata.name}`;
      // One made late, for what is not wanted any more, may go again.
      if (type === "ADDED" && this.#expected().has(key)) this.#dispensable.delete(key);
      if (type === "DELETED" && !this.#dispensable.has(key))
        this.violations.push(`${key} was deleted while wanted`);
    });
  }

  static async start(): Promise<MirrorSimulation> {
    const make = (namespaces: string[]) => FakeApi.start({ namespaces });
    const simulation = new MirrorSimulation(
      await make(["isthmus"]),
      await make([...NAMESPACE_NAMES]),
      await make([...NAMESPACE_NAMES]),
    );
    await simulation.startController();
    return simulation;
  }

  async startController(): Promise<void> {
    if (this.#stop) return;
    const stop = new AbortController();
    const client = new KubeClient({ cluster: "source", credentials: this.source.credentials() });
    const running = runMirror(
      { client, adminAddress: "127.0.0.1:0", workers: 4, resyncMs: 2_000, clock: hasty, log: silentLog },
      stop.signal,
    );
    this.#stop = async () => {
      stop.abort();
      await running;
      await client.close();
    };
  }

  async stopController(): Promise<void> {
    await this.#stop?.();
    this.#stop = undefined;
  }

  setNamespace(name: string, there: boolean): void {
    const known = this.source.objects.find(NAMESPACES, { name }) !== undefined;
    if (known === there) return;
    const object = { apiVersion: "v1", kind: "Namespace", metadata: { name } };
    if (there) this.source.objects.create(NAMESPACES, object);
    else {
      this.#dispenseWith(({ namespace }) => namespace === name);
      for (const key of this.#foreign.keys()) if (key.startsWith(`${name}/`)) this.#foreign.delete(key);
      this.source.objects.delete(NAMESPACES, { name });
    }
  }

  /** A Service of a target: exported with these ports, headless, there but not exported, or not there. */
  setService(place: Place, state: number[] | "headless" | "private" | "absent"): void {
    const { objects } = this.targets[place.cluster];
    const ref = { namespace: place.namespace, name: place.service };
    if (!Array.isArray(state)) this.#dispenseWith((each) => samePlace(each, place));
    const known = objects.find(SERVICES, ref);
    // The cluster IP of a Service is for life.
    if (known && (state === "absent" || state === "headless" || known.spec?.clusterIP === "None")) {
      this.#dispenseWith((each) => samePlace(each, place));
      objects.delete(SERVICES, ref);
    }
    if (state === "absent") return;
    const labels: Record<string, string> =
      state === "private" ? {} : { "mirror.linkerd.io/exported": "true" };
    const ports = (Array.isArray(state) ? state : [80]).map((port) => ({
      name: `p${port}`,
      port,
      protocol: "TCP",
    }));
    const spec = { ports, ...(state === "headless" && { clusterIP: "None" }) };
    const object: Service = { apiVersion: "v1", kind: "Service", metadata: { ...ref, labels }, spec };
    if (objects.find(SERVICES, ref)) objects.update(SERVICES, object);
    else objects.create(SERVICES, object);
  }

  setLink(cluster: Cluster, there: boolean): void {
    const ref = { namespace: "isthmus", name: cluster };
    const known = this.source.objects.find(LINKS, ref);
    if ((known !== undefined) === there) return;
    const spec = { targetClusterName: cluster, clusterCredentialsSecret: cluster };
    if (there) this.source.objects.create(LINKS, aLink(spec, { name: cluster }));
    else {
      this.#dispenseWith((place) => place.cluster === cluster);
      this.source.objects.delete(LINKS, ref);
    }
  }

  /** A Secret that works, one that does not, or none. */
  setSecret(cluster: Cluster, state: "good" | "bad" | "absent"): void {
    const ref = { namespace: "isthmus", name: cluster };
    const known = this.source.objects.find(SECRETS, ref);
    if (state === "absent") {
      if (known) this.source.objects.delete(SECRETS, ref);
      return;
    }
    const kubeconfig = this.targets[cluster].kubeconfig(state === "good" ? "fake-token" : "expired");
    const data = { kubeconfig: Buffer.from(kubeconfig).toString("base64") };
    const type = "mirror.linkerd.io/remote-kubeconfig";
    const object = { apiVersion: "v1", kind: "Secret", metadata: ref, type, data };
    if (known) this.source.objects.update(SECRETS, object);
    else this.source.objects.create(SECRETS, object);
  }

  setPod(name: string, there: boolean): void {
    const ref = { namespace: "isthmus", name };
    const known = this.source.objects.find(PODS, ref) !== undefined;
    if (known === there) return;
    if (!there) {
      this.source.objects.delete(PODS, ref);
      return;
    }
    const pod: Pod = anEgressPod(name, `10.1.0.${name.length}`);
    this.source.objects.create(PODS, pod);
    this.source.objects.modify(PODS, ref, (each) => ({ ...each, status: pod.status ?? {} }), "status");
  }

  /** Somebody makes a Service of a mirror's name, or takes theirs away; a mirror that is there first is left there. */
  setForeign(place: Place, there: boolean): void {
    const ref = { namespace: place.namespace, name: mirrorOf(place) };
    const key = `${ref.namespace}/${ref.name}`;
    if (!there) {
      if (this.#foreign.delete(key)) this.source.objects.delete(SERVICES, ref);
    } else if (this.#hasNamespace(place.namespace) && !this.source.objects.find(SERVICES, ref)) {
      const object = { apiVersion: "v1", kind: "Service", metadata: ref, spec: { ports: [{ port: 1 }] } };
      this.#foreign.set(key, structuredClone(this.source.objects.create(SERVICES, object)));
    }
  }

  /** Somebody meddles with a mirror or its slice. */
  meddle(place: Place, how: "delete" | "delete-slice" | "ports" | "endpoints"): void {
    const ref = { namespace: place.namespace, name: mirrorOf(place) };
    const slice = { ...ref, name: `${ref.name}-isthmus` };
    const mirror = this.source.objects.find(SERVICES, ref);
    if (mirror === undefined || linkLabelOf(mirror) === undefined) return;
    if (how === "ports") {
      this.source.objects.modify(SERVICES, ref, (each) => ({
        ...each,
        spec: { ...each.spec, ports: [{ port: 9 }] },
      }));
    } else if (how === "delete") {
      this.#dispensable.add(`${ref.namespace}/${ref.name}`);
      this.source.objects.delete(SERVICES, ref);
    }
    if (how === "ports" || !this.source.objects.find(ENDPOINT_SLICES, slice)) return;
    if (how === "endpoints") {
      const endpoints = [{ addresses: ["192.0.2.66"] }];
      this.source.objects.modify(ENDPOINT_SLICES, slice, (each) => ({ ...each, endpoints }));
    } else this.source.objects.delete(ENDPOINT_SLICES, slice);
  }

  /** Let something go wrong with the next requests of one API server. */
  disturb(api: Cluster | "source", fault: Fault, times: number): void {
    this.#api(api).faults.inject(fault, { times, when: ({ resource }) => resource?.plural !== "leases" });
  }

  dropConnections(api: Cluster | "source"): void {
    this.#api(api).dropConnections();
  }

  /** The server forgets the past: watches that ended must list anew. */
  forget(api: Cluster | "source"): void {
    this.#api(api).objects.compact();
    this.#api(api).watches.end();
  }

  async setReachable(cluster: Cluster, reachable: boolean): Promise<void> {
    const api = this.targets[cluster];
    if (reachable === this.#reachable(api)) return;
    if (reachable) await api.listen();
    else await api.close();
    this.#down[cluster] = !reachable;
  }

  readonly #down: Record<Cluster, boolean> = { east: false, west: false };

  /** Everything works again; what is then, the controller must come to agree with. */
  async heal(): Promise<void> {
    for (const cluster of CLUSTERS) {
      this.targets[cluster].faults.clear();
      await this.setReachable(cluster, true);
      this.setSecret(cluster, "good");
    }
    this.source.faults.clear();
    await this.startController();
  }

  /** What differs from what should be, in words. */
  differences(): string[] {
    const { objects } = this.source;
    const found: string[] = [];
    const expected = this.#expected();
    for (const [key, ports] of expected) {
      const [namespace, name] = key.split("/") as [string, string];
      const mirror = objects.find(SERVICES, { namespace, name });
      const slice = objects.find(ENDPOINT_SLICES, { namespace, name: `${name}-isthmus` });
      if (mirror === undefined || slice === undefined) found.push(`${key} is missing`);
      else found.push(...this.#differences(key, mirror, slice, ports));
    }
    for (const each of [...objects.list(SERVICES), ...objects.list(ENDPOINT_SLICES)]) {
      const name = each.kind === "Service" ? each.metadata.name : each.metadata.name.replace(/-isthmus$/, "");
      const key = `${each.metadata.namespace}/${name}`;
      if (linkLabelOf(each) !== undefined && !expected.has(key))
        found.push(`${each.kind} ${key} should not be`);
    }
    for (const [key, theirs] of this.#foreign) {
      const [namespace, name] = key.split("/") as [string, string];
      const now = objects.find(SERVICES, { namespace, name });
      if (now?.metadata.resourceVersion !== theirs.metadata.resourceVersion)
        found.push(`foreign ${key} was touched`);
    }
    for (const link of objects.list(LINKS))
      if (link.metadata.deletionTimestamp) found.push(`a Link is still going`);
    return found;
  }

  async close(): Promise<void> {
    await this.stopController();
    for (const api of [this.source, ...Object.values(this.targets)]) await api.close();
  }

  #differences(key: string, mirror: Service, slice: EndpointSlice, ports: number[]): string[] {
    const found: string[] = [];
    const egress = new Map(
      (mirror.metadata.annotations?.["isthmus.dev/egress-ports"] ?? "")
        .split(",")
        .map((entry) => entry.split("=").map(Number) as [number, number]),
    );
    const actual = (mirror.spec?.ports ?? []).map(({ port }) => port);
    if (actual.join() !== ports.join()) found.push(`${key} has ports ${actual}, not ${ports}`);
    // The mirror of a headless service leads to those of its pods, of which there are none here.
    if (mirror.spec?.clusterIP === "None")
      return (slice.endpoints ?? []).length === 0 ? found : [...found, `${key}'s slice names somebody`];
    const behind = (slice.ports ?? []).map(({ name, port }) => `${name}=${port}`).sort();
    if (
      behind.join() !==
      ports
        .map((port) => `p${port}=${egress.get(port)}`)
        .sort()
        .join()
    ) {
      found.push(`${key}'s slice leads to ${behind}`);
    }
    const addresses = (slice.endpoints ?? []).flatMap((endpoint) => endpoint.addresses).join();
    const pods = this.source.objects.list(PODS).map(({ status }) => status?.podIP);
    if (addresses !== pods.sort().join()) found.push(`${key}'s slice names ${addresses}, not ${pods}`);
    return found;
  }

  /** The mirrors that must be, by key, with their ports. */
  #expected(): Map<string, number[]> {
    const expected = new Map<string, number[]>();
    for (const cluster of CLUSTERS) {
      const link = this.source.objects.find(LINKS, { namespace: "isthmus", name: cluster });
      if (link === undefined || link.metadata.deletionTimestamp) continue;
      for (const service of this.targets[cluster].objects.list(SERVICES)) {
        const { namespace = "", name, labels = {} } = service.metadata;
        const key = `${namespace}/${mirrorOf({ cluster, namespace, service: name })}`;
        const exported = labels["mirror.linkerd.io/exported"] === "true";
        if (!exported || !this.#hasNamespace(namespace) || this.#foreign.has(key)) continue;
        expected.set(
          key,
          (service.spec?.ports ?? []).map(({ port }) => port),
        );
      }
    }
    return expected;
  }

  #dispenseWith(which: (place: Place) => boolean): void {
    for (const cluster of CLUSTERS) {
      for (const namespace of NAMESPACE_NAMES) {
        for (const service of SERVICE_NAMES) {
          const place = { cluster, namespace, service };
          if (which(place)) this.#dispensable.add(`${namespace}/${mirrorOf(place)}`);
        }
      }
    }
  }

  #hasNamespace(name: string): boolean {
    return this.source.objects.find(NAMESPACES, { name }) !== undefined;
  }

  #api(api: Cluster | "source"): FakeApi {
    return api === "source" ? this.source : this.targets[api];
  }

  #reachable(api: FakeApi): boolean {
    return api === this.targets.east ? !this.#down.east : !this.#down.west;
  }
}

function mirrorOf({ service, cluster }: Place): string {
  return `${service}-${cluster}`;
}

function samePlace(a: Place, b: Place): boolean {
  return a.cluster === b.cluster && a.namespace === b.namespace && a.service === b.service;
}
