import { isDeepStrictEqual } from "node:util";
import { type Link, type LinkSpec, mirrorName, sliceName } from "../../../contract/index.ts";
import type {
  EndpointSlice,
  KubeObject,
  Namespace,
  Pod,
  Secret,
  Service,
} from "../../../controller/kube/objects.ts";
import {
  ENDPOINT_SLICES,
  LINKS,
  NAMESPACES,
  PODS,
  type Resource,
  SECRETS,
  SERVICES,
} from "../../../controller/kube/resource.ts";
import type { Change } from "../fake-api-objects.ts";
import { anEgressPod } from "../mirror-objects.ts";
import type { Worlds } from "./model.ts";
import {
  CLUSTERS,
  type ClusterName,
  LINK_NAMES,
  LINK_TARGETS,
  type LinkName,
  NAMESPACES_OF_SERVICES,
  OWN_NAMESPACE,
  type Place,
  type POD_NAMES,
  SERVICE_NAMES,
} from "./scene.ts";
import { SimulatedApi } from "./simulated-api.ts";
import type { VirtualTime } from "./virtual-time.ts";

/** What a Service of a target can be. */
export interface ServiceShape {
  kind: "exported" | "private" | "headless" | "external" | "mirror" | "no-tcp";
  ports: { port: number; name: string; protocol?: string; appProtocol?: string }[];
  labels: Record<string, string>;
  annotations: Record<string, string>;
}

export type SecretState = "good" | "renewed" | "revoked" | "absent" | "garbage" | "wrong-type" | "nowhere";
export type Meddling =
  | "delete"
  | "delete-slice"
  | "ports"
  | "labels"
  | "annotations"
  | "egress-port"
  | "selector"
  | "headless"
  | "disown"
  | "endpoints"
  | "slice-labels"
  | "stray-slice";

/** What may have changed about a mirror, and how soon that must show. */
export interface Touch {
  /** Key of a mirror, or a group of them: `link:<cluster>`, `namespace:<name>`, `pods`. */
  what: string;
  at: number;
  /** It was done to the mirror itself. */
  byHand: boolean;
  /** An object went that no watch of the controller shows. */
  unseen: boolean;
}

/**
 * All clusters and what people and machines do in them. It knows when each thing that decides about a mirror last changed.
 */
export class World implements Worlds {
  readonly time: VirtualTime;
  readonly sourceApi: SimulatedApi;
  readonly apis: Record<ClusterName, SimulatedApi>;
  /** Told of every touch. */
  onTouch: (touch: Touch) => void = () => undefined;
  readonly #touched = new Map<string, number>();
  readonly #touchedByHand = new Map<string, number>();
  readonly #relisted = new Map<string, number>();
  readonly #secretChanged = new Map<string, number>();
  readonly #badSecrets = new Set<LinkName>(LINK_NAMES);
  readonly #kubeconfig: (server: string, token: string) => string;
  #serial = 0;

  constructor(time: VirtualTime, kubeconfig: (server: string, token: string) => string) {
    this.time = time;
    this.#kubeconfig = kubeconfig;
    this.sourceApi = new SimulatedApi("source", time, [OWN_NAMESPACE, "kube-system"]);
    this.apis = Object.fromEntries(
      CLUSTERS.map((name) => [name, new SimulatedApi(name, time, NAMESPACES_OF_SERVICES)]),
    ) as Record<ClusterName, SimulatedApi>;
    for (const api of Object.values(this.apis)) api.tokens.add("renewed");
    this.sourceApi.objects.onChange((change) => this.#sourceChanged(change));
    for (const cluster of CLUSTERS) {
      this.apis[cluster].objects.onChange((change) => {
        if (change.collection !== "services") return;
        const { namespace, name } = change.object.metadata;
        this.#touch(`${namespace}/${mirrorName(name, cluster)}`);
      });
    }
    this.#bookmark();
  }

  get source() {
    return this.sourceApi.objects;
  }

  get targets() {
    return Object.fromEntries(CLUSTERS.map((name) => [name, this.apis[name].objects])) as Worlds["targets"];
  }

  allApis(): SimulatedApi[] {
    return [this.sourceApi, ...Object.values(this.apis)];
  }

  /** When anything that decides about a mirror last changed. */
  touchedAt(key: string, clusters: readonly ClusterName[]): number {
    const [namespace = ""] = key.split("/");
    const groups = [key, `namespace:${namespace}`, "pods", ...clusters.map((each) => `link:${each}`)];
    return Math.max(...groups.map((each) => this.#touched.get(each) ?? 0), this.touchedByHand(key));
  }

  /** As `touchedAt`, but for what was done to the mirror itself. */
  decidedAt(key: string, clusters: readonly ClusterName[]): number {
    const [namespace = ""] = key.split("/");
    const groups = [key, `namespace:${namespace}`, ...clusters.map((each) => `link:${each}`)];
    return Math.max(...groups.map((each) => this.#touched.get(each) ?? 0));
  }

  /** When somebody last meddled with a mirror or its slices. */
  touchedByHand(key: string): number {
    return this.#touchedByHand.get(key) ?? Number.NEGATIVE_INFINITY;
  }

  /** When a Link to this cluster last asked for other services than before. */
  relistedAt(cluster: ClusterName): number {
    return this.#relisted.get(cluster) ?? 0;
  }

  /** Since when all credentials for this cluster have been good; `Infinity` where they are not. */
  secretIsGoodSince(cluster: ClusterName): number {
    for (const [link, target] of Object.entries(LINK_TARGETS)) {
      if (target === cluster && this.#badSecrets.has(link as LinkName)) return Number.POSITIVE_INFINITY;
    }
    return this.#secretChanged.get(cluster) ?? 0;
  }

  isSecretGood(link: LinkName): boolean {
    return !this.#badSecrets.has(link);
  }

  setNamespace(name: string, there: boolean, slowly: boolean): void {
    const known = this.source.find(NAMESPACES, { name });
    if ((known !== undefined) === there) return;
    if (there) {
      // Kubernetes keeps a namespace until it has emptied it.
      const metadata = { name, finalizers: ["kubernetes"] };
      this.source.create(NAMESPACES, { apiVersion: "v1", kind: "Namespace", metadata });
      return;
    }
    this.source.delete(NAMESPACES, { name });
    this.time.after(slowly ? 20_000 : 50, () => this.#empty(name));
  }

  setService(place: Place, shape: ServiceShape | undefined): void {
    const { objects } = this.apis[place.cluster];
    const ref = { namespace: place.namespace, name: place.service };
    const known = objects.find(SERVICES, ref);
    const headless = shape?.kind === "headless";
    // The cluster IP of a Service is for life.
    if (known && (shape === undefined || headless !== (known.spec?.clusterIP === "None")))
      objects.delete(SERVICES, ref);
    if (shape === undefined) return;
    const labels: Record<string, string> = { ...shape.labels };
    if (shape.kind === "private") delete labels["mirror.linkerd.io/exported"];
    else labels["mirror.linkerd.io/exported"] = "true";
    if (shape.kind === "mirror") labels["mirror.linkerd.io/mirrored-service"] = "true";
    const ports = shape.kind === "no-tcp" ? [{ name: "dns", port: 53, protocol: "UDP" }] : shape.ports;
    const spec: Service["spec"] = {
      ...(shape.kind === "external" && { type: "ExternalName", externalName: "example.com" }),
      ...(headless && { clusterIP: "None" }),
      ports,
    };
    const metadata = { ...ref, labels, annotations: shape.annotations };
    const object: Service = { apiVersion: "v1", kind: "Service", metadata, spec };
    if (objects.find(SERVICES, ref))
      objects.modify(SERVICES, ref, (each) => ({ ...object, metadata: { ...each.metadata, ...metadata } }));
    else objects.create(SERVICES, object);
  }

  setLink(name: LinkName, there: boolean): void {
    const known = this.source.find(LINKS, { namespace: OWN_NAMESPACE, name });
    if ((known !== undefined) === there) return;
    const ref = { namespace: OWN_NAMESPACE, name };
    if (!there) {
      this.source.delete(LINKS, ref);
      return;
    }
    const spec: LinkSpec = {
      targetClusterName: LINK_TARGETS[name],
      clusterCredentialsSecret: `credentials-${name}`,
      gatewayAddresses: ["192.0.2.127"],
      gatewayIdentity: `gateway.${LINK_TARGETS[name]}.demo.mesh`,
    };
    this.source.create(LINKS, { apiVersion: "isthmus.dev/v1alpha1", kind: "Link", metadata: ref, spec });
  }

  /** Change what a Link asks for; absent fields are taken out. */
  setLinkSpec(name: LinkName, change: Partial<Record<keyof LinkSpec, unknown>>): void {
    const ref = { namespace: OWN_NAMESPACE, name };
    if (!this.source.find(LINKS, ref)) return;
    this.source.modify(LINKS, ref, (link) => {
      const spec = { ...link.spec, ...change } as Record<string, unknown>;
      for (const [key, value] of Object.entries(change)) if (value === undefined) delete spec[key];
      return { ...link, spec: spec as unknown as LinkSpec };
    });
  }

  setSecret(link: LinkName, state: SecretState): void {
    const ref = { namespace: OWN_NAMESPACE, name: `credentials-${link}` };
    if (state === "good" || state === "renewed") this.#badSecrets.delete(link);
    else this.#badSecrets.add(link);
    const known = this.source.find(SECRETS, ref);
    const type = state === "wrong-type" ? "Opaque" : "mirror.linkerd.io/remote-kubeconfig";
    // The type of a Secret is for life.
    if (known && (state === "absent" || known.type !== type)) this.source.delete(SECRETS, ref);
    if (state === "absent") return;
    const server = state === "nowhere" ? "https://nowhere.simulated:6443" : this.apis[LINK_TARGETS[link]].url;
    const token = state === "revoked" || state === "renewed" ? state : "good";
    const kubeconfig = state === "garbage" ? "{ no: kubeconfig" : this.#kubeconfig(server, token);
    const data = { kubeconfig: Buffer.from(kubeconfig).toString("base64") };
    const object: Secret = { apiVersion: "v1", kind: "Secret", metadata: ref, type, data };
    if (this.source.find(SECRETS, ref)) this.source.update(SECRETS, object);
    else this.source.create(SECRETS, object);
  }

  setPod(name: (typeof POD_NAMES)[number], state: "absent" | "starting" | "serving"): void {
    const ref = { namespace: OWN_NAMESPACE, name };
    const known = this.source.find(PODS, ref) as Pod | undefined;
    if (state === "absent") {
      if (known) this.source.delete(PODS, ref);
      return;
    }
    const pod = anEgressPod(name, `10.1.${++this.#serial >> 8}.${this.#serial & 255}`);
    if (!known) this.source.create(PODS, pod);
    const containers = { type: "ContainersReady", status: state === "serving" ? "True" : "False" } as const;
    this.source.modify(
      PODS,
      ref,
      (each) => {
        const others = (each.status?.conditions ?? []).filter(({ type }) => type !== containers.type);
        return {
          ...each,
          status: { ...(known ? each.status : pod.status), conditions: [...others, containers] },
        };
      },
      "status",
    );
  }

  /** Somebody makes an object of the name of a mirror or of its slice, or takes it away. */
  setForeign(place: Place, what: "service" | "slice" | "other-isthmus", there: boolean): void {
    const mirror = mirrorName(place.service, place.cluster);
    const name = what === "slice" ? sliceName(mirror) : mirror;
    const ref = { namespace: place.namespace, name };
    const resource: Resource<KubeObject> = what === "slice" ? ENDPOINT_SLICES : SERVICES;
    const known = this.source.find(resource, ref);
    if (!there) {
      if (known?.metadata.annotations?.foreign) this.source.delete(resource, ref);
      return;
    }
    if (known || !this.#takesObjects(place.namespace)) return;
    const labels: Record<string, string> =
      what === "other-isthmus"
        ? { "app.kubernetes.io/managed-by": "isthmus", "isthmus.dev/link": "other.east" }
        : {};
    const metadata = { ...ref, labels, annotations: { foreign: "yes" } };
    const object =
      what === "slice"
        ? {
            apiVersion: "discovery.k8s.io/v1",
            kind: "EndpointSlice",
            metadata,
            addressType: "IPv4",
            endpoints: [],
            ports: [],
          }
        : { apiVersion: "v1", kind: "Service", metadata, spec: { ports: [{ port: 1 }] } };
    this.source.create(resource, object);
  }

  /** Somebody meddles with a mirror or its slice. */
  meddle(place: Place, how: Meddling): void {
    const ref = { namespace: place.namespace, name: mirrorName(place.service, place.cluster) };
    const slice = { ...ref, name: sliceName(ref.name) };
    const mirror = this.source.find(SERVICES, ref);
    if (mirror === undefined || mirror.metadata.annotations?.foreign) return;
    const there = this.source.find(ENDPOINT_SLICES, slice);
    const edit = (change: (service: Service) => Service) => this.source.modify(SERVICES, ref, change);
    const editSlice = (change: (each: EndpointSlice) => EndpointSlice) => {
      if (there) this.source.modify(ENDPOINT_SLICES, slice, change);
    };
    switch (how) {
      case "delete":
        this.source.delete(SERVICES, ref);
        return;
      case "delete-slice":
        if (there) this.source.delete(ENDPOINT_SLICES, slice);
        return;
      case "ports":
        edit((each) => ({ ...each, spec: { ...each.spec, ports: [{ port: 9, protocol: "TCP" }] } }));
        return;
      case "labels":
        edit((each) =>
          withMetadata(each, { labels: { ...each.metadata.labels, "team.example/name": "somebody else's" } }),
        );
        return;
      case "annotations":
        edit((each) => withMetadata(each, { annotations: { "example.com/note": "edited" } }));
        return;
      case "egress-port":
        edit((each) =>
          withMetadata(each, {
            annotations: { ...each.metadata.annotations, "isthmus.dev/egress-ports": "80=20001" },
          }),
        );
        return;
      case "selector":
        edit((each) => ({ ...each, spec: { ...each.spec, selector: { app: "web" } } }));
        return;
      case "headless":
        if (!this.#takesObjects(place.namespace)) return;
        this.source.delete(SERVICES, ref);
        this.source.create(SERVICES, {
          ...mirror,
          spec: { ...mirror.spec, clusterIP: "None", clusterIPs: ["None"] },
        });
        return;
      case "disown":
        edit((each) => withMetadata(each, { labels: {}, annotations: { foreign: "yes" } }));
        return;
      case "endpoints":
        editSlice((each) => ({ ...each, endpoints: [{ addresses: ["192.0.2.66"] }] }));
        return;
      case "slice-labels":
        editSlice((each) =>
          withMetadata(each, { labels: { ...each.metadata.labels, "kubernetes.io/service-name": "other" } }),
        );
        return;
      case "stray-slice":
        this.#makeStray(mirror);
        return;
    }
  }

  /** What Kubernetes makes, and leaves, for a mirror that had a selector for a moment. */
  #makeStray(mirror: Service): void {
    const { namespace, name, labels, uid = "" } = mirror.metadata;
    if (!this.#takesObjects(namespace ?? "")) return;
    const stray: EndpointSlice = {
      apiVersion: "discovery.k8s.io/v1",
      kind: "EndpointSlice",
      metadata: {
        ...(namespace !== undefined && { namespace }),
        name: `${name.slice(0, 50)}-${++this.#serial}`,
        labels: {
          ...labels,
          "kubernetes.io/service-name": name,
          "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
        },
        ownerReferences: [{ apiVersion: "v1", kind: "Service", name, uid }],
      },
      addressType: "IPv4",
      endpoints: [{ addresses: ["10.9.9.9"] }],
      ports: [],
    };
    this.source.create(ENDPOINT_SLICES, stray);
  }

  #takesObjects(namespace: string): boolean {
    const known = this.source.find(NAMESPACES, { name: namespace });
    return known !== undefined && !known.metadata.deletionTimestamp;
  }

  #empty(name: string): void {
    const namespace = this.source.find(NAMESPACES, { name }) as Namespace | undefined;
    if (!namespace?.metadata.deletionTimestamp) return;
    for (const resource of [SERVICES, ENDPOINT_SLICES] as Resource<KubeObject>[]) {
      for (const { metadata } of this.source.list(resource, name)) this.source.delete(resource, metadata);
    }
    this.source.modify(NAMESPACES, { name }, (each) => withMetadata(each, { finalizers: [] }));
  }

  /** As the garbage collector of Kubernetes: what belongs to an object that is gone goes too. */
  #collectGarbage(owner: KubeObject): void {
    for (const slice of this.source.list(ENDPOINT_SLICES, owner.metadata.namespace)) {
      const owners = slice.metadata.ownerReferences ?? [];
      if (owners.some(({ uid }) => uid === owner.metadata.uid))
        this.source.delete(ENDPOINT_SLICES, slice.metadata);
    }
  }

  #sourceChanged({ collection, type, object, previous }: Change): void {
    const { namespace = "", name } = object.metadata;
    const byController = this.sourceApi.actor !== undefined;
    if (collection === "services" && type === "DELETED") {
      this.time.after(700, () => this.#collectGarbage(object));
    }
    if (collection === "links.isthmus.dev")
      this.#linkChanged(object as unknown as Link, previous as unknown as Link | undefined);
    if (byController) return;
    const unseen = type === "DELETED" && object.metadata.annotations?.foreign !== undefined;
    if (collection === "services") this.#touch(`${namespace}/${name}`, { byHand: true, unseen });
    if (collection === "endpointslices.discovery.k8s.io") {
      for (const mirror of mirrorsOfSlice(object, previous))
        this.#touch(`${namespace}/${mirror}`, { byHand: true, unseen });
    }
    if (collection === "namespaces") this.#touch(`namespace:${name}`);
    if (collection === "pods") this.#touch("pods");
    if (collection === "secrets") {
      for (const [link, cluster] of Object.entries(LINK_TARGETS)) {
        if (name === `credentials-${link}`) this.#secretChanged.set(cluster, this.time.now);
      }
    }
  }

  #linkChanged(link: Link, previous: Link | undefined): void {
    const cluster = link.spec.targetClusterName;
    const going = (each: Link | undefined) => each?.metadata.deletionTimestamp !== undefined;
    const same =
      previous !== undefined &&
      isDeepStrictEqual(link.spec, previous.spec) &&
      going(link) === going(previous);
    const present = this.source.find(LINKS, link.metadata) !== undefined;
    if (same && present) return;
    this.#touch(`link:${cluster}`);
    if (
      previous === undefined ||
      !present ||
      going(link) ||
      !isDeepStrictEqual(link.spec.selector, previous.spec.selector)
    )
      this.#relisted.set(cluster, this.time.now);
  }

  #touch(what: string, { byHand = false, unseen = false } = {}): void {
    (byHand ? this.#touchedByHand : this.#touched).set(what, this.time.now);
    this.onTouch({ what, at: this.time.now, byHand, unseen });
  }

  #bookmark(): void {
    this.time.after(60_000, () => {
      for (const api of this.allApis()) api.watches.bookmark(api.objects.version);
      this.#bookmark();
    });
  }
}

/** Which clusters' services can have the mirror of this key. */
export function clustersOf(key: string): ClusterName[] {
  const [, name = ""] = key.split("/");
  return CLUSTERS.filter((cluster) => SERVICE_NAMES.some((service) => mirrorName(service, cluster) === name));
}

/** Names of the mirrors that a slice could belong to, by its name, its label or its owner, now and before. */
function mirrorsOfSlice(...versions: (KubeObject | undefined)[]): Set<string> {
  const names = new Set<string>();
  for (const { metadata } of versions.filter((each) => each !== undefined)) {
    const label = metadata.labels?.["kubernetes.io/service-name"];
    if (label) names.add(label);
    for (const { name } of metadata.ownerReferences ?? []) names.add(name);
    for (const mirror of MIRROR_NAMES) if (sliceName(mirror) === metadata.name) names.add(mirror);
  }
  return names;
}

const MIRROR_NAMES = CLUSTERS.flatMap((cluster) =>
  SERVICE_NAMES.map((service) => mirrorName(service, cluster)),
);

function withMetadata<T extends KubeObject>(object: T, change: Partial<T["metadata"]>): T {
  return { ...object, metadata: { ...object.metadata, ...change } };
}
