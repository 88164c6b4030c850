import { isIP } from "node:net";
import { isDeepStrictEqual } from "node:util";
import {
  federatedName,
  type Link,
  type LinkSpec,
  memberSliceName,
  mirrorName,
  podMirrorName,
  sliceName,
} from "../../../contract/index.ts";
import type {
  Endpoint,
  EndpointSlice,
  KubeObject,
  Namespace,
  Pod,
  ResourceQuota,
  Secret,
  Service,
} from "../../../controller/kube/objects.ts";
import {
  CONFIG_MAPS,
  ENDPOINT_SLICES,
  LINKS,
  NAMESPACES,
  PODS,
  RESOURCE_QUOTAS,
  type Resource,
  SECRETS,
  SERVICE_ACCOUNTS,
  SERVICES,
} from "../../../controller/kube/resource.ts";
import { type Change, Refusal } from "../fake-api-objects.ts";
import { RESOURCES } from "../fake-api-request.ts";
import { anEgressPod } from "../mirror-objects.ts";
import { activeLinks, type Worlds } from "./model.ts";
import { isOurQuota, STANDARD } from "./namespaces.ts";
import { Quotas } from "./quotas.ts";
import type { Random } from "./random.ts";
import {
  CLUSTERS,
  type ClusterName,
  FOLLOWING_LINKS,
  GATEWAY_IPS,
  GATEWAY_NAMESPACE,
  type GatewayName,
  HOSTS,
  LINK_NAMES,
  LINK_TARGETS,
  LINKERD_NAMESPACE,
  type LinkName,
  LONELY_NAMESPACES,
  NAMESPACES_OF_SERVICES,
  OWN_NAMESPACE,
  type Place,
  type POD_NAMES,
  PROBE,
  SERVICE_NAMES,
} from "./scene.ts";
import { SimulatedApi } from "./simulated-api.ts";
import type { VirtualTime } from "./virtual-time.ts";

/** What a Service of a target can be. */
export interface ServiceShape {
  /** `direct`: called pod to pod. */
  kind: "exported" | "private" | "direct" | "headless" | "external" | "mirror" | "no-tcp";
  federated: boolean;
  ports: { port: number; name: string; protocol?: string; appProtocol?: string }[];
  labels: Record<string, string>;
  annotations: Record<string, string>;
}

/** What the Service of a gateway in a target can be. */
export interface GatewayShape {
  /** Of its load balancer. */
  addresses: readonly string[];
  port: number;
  /** It has a port for probes, too. */
  probed: boolean;
  identity?: string;
}

/** A pod behind a service. */
export interface PodShape {
  /** Which of `HOSTS`. */
  host: number;
  ready: boolean;
}

/** The pods behind a service, in one slice, in two, or in one for each address family. */
export interface PodsShape {
  pods: readonly PodShape[];
  slices: "one" | "two" | "families";
}

/** Which Service of the source: the mirror of a service, the federated one of its name, or the mirror of a pod. */
export type Spot = "mirror" | "federated" | { host: number };

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
  | "stray-slice"
  | "members";

/** Something of somebody's in a namespace. */
export interface Belonging {
  namespace: string;
  kind: "ConfigMap" | "Secret" | "ResourceQuota";
  there: boolean;
  /** Now, or a moment after the controller begins to count what is in the namespace, or closes it. */
  when: "now" | "counted" | "closed";
}

/** What people do to the labels of a namespace: it becomes theirs, or the controller's again, or something else. */
export type NamespaceLabel = "taken away" | "given back" | "other";

export interface WorldOptions {
  time: VirtualTime;
  dataPlane: Worlds["dataPlane"];
  kubeconfig: (server: string, token: string) => string;
  /** Where the controller makes namespaces: how late Kubernetes is in what it does in them. */
  ofNamespaces?: Random;
  /** Whether it may be very late at the moment. */
  isDisturbed: () => boolean;
}

/** What may have changed about a mirror, and how soon that must show. */
export interface Touch {
  /** Key of a mirror, or a group of them: `link:<cluster>`, `namespace:<name>`, `pods`, `gateways`. */
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
  readonly dataPlane: Worlds["dataPlane"];
  readonly time: VirtualTime;
  readonly sourceApi: SimulatedApi;
  readonly apis: Record<ClusterName, SimulatedApi>;
  /** Told of every touch. */
  onTouch: (touch: Touch) => void = () => undefined;
  readonly #touched = new Map<string, number>();
  readonly #touchedByHand = new Map<string, number>();
  readonly #relisted = new Map<string, number>();
  readonly #askedOtherwise = new Map<string, number>();
  readonly #takenOver = new Map<string, number>();
  readonly #secretChanged = new Map<string, number>();
  readonly #badSecrets = new Set<LinkName>(LINK_NAMES);
  /** Pods behind services, by cluster, namespace and name; absent where nothing is known of them. */
  readonly #pods = new Map<string, PodsShape>();
  readonly #dead = new Set<string>();
  #gatewayHost: readonly string[] = [GATEWAY_IPS[0]];
  readonly #kubeconfig: (server: string, token: string) => string;
  readonly #ofNamespaces: Random | undefined;
  readonly #quotas: Quotas | undefined;
  /** What somebody is about to do when a namespace is counted. */
  readonly #waiting = new Map<string, Belonging[]>();
  #serial = 0;

  constructor({ time, dataPlane, kubeconfig, ofNamespaces, isDisturbed }: WorldOptions) {
    this.time = time;
    this.dataPlane = dataPlane;
    this.#kubeconfig = kubeconfig;
    this.#ofNamespaces = ofNamespaces;
    this.sourceApi = new SimulatedApi("source", time, [OWN_NAMESPACE, LINKERD_NAMESPACE, "kube-system"]);
    this.apis = Object.fromEntries(
      CLUSTERS.map((name) => [
        name,
        new SimulatedApi(name, time, [...NAMESPACES_OF_SERVICES, ...LONELY_NAMESPACES, GATEWAY_NAMESPACE]),
      ]),
    ) as Record<ClusterName, SimulatedApi>;
    for (const api of Object.values(this.apis)) api.tokens.add("renewed");
    this.sourceApi.objects.onChange((change) => this.#sourceChanged(change));
    if (ofNamespaces !== undefined) {
      this.#quotas = new Quotas({ time, objects: this.source, random: ofNamespaces, isDisturbed });
      this.sourceApi.objects.onChange((change) => this.#namespaceChanged(change, ofNamespaces));
      this.sourceApi.admit = (resource, object, namespace) => {
        if (resource === NAMESPACES) object.metadata.finalizers = ["kubernetes"];
        else if (namespace !== undefined) this.#quotas?.admit(resource, namespace);
      };
    }
    for (const cluster of CLUSTERS) {
      this.apis[cluster].objects.onChange((change) => this.#targetChanged(cluster, change));
    }
    this.#bookmark();
  }

  get createsNamespaces(): boolean {
    return this.#ofNamespaces !== undefined;
  }

  get source() {
    return this.sourceApi.objects;
  }

  get targets() {
    return Object.fromEntries(CLUSTERS.map((name) => [name, this.apis[name].objects])) as Worlds["targets"];
  }

  isAlive(ip: string): boolean {
    return !this.#dead.has(ip);
  }

  ipsOf(_host: string): string[] {
    return [...this.#gatewayHost];
  }

  /** When what probes and name servers say of gateways last changed, or who is asked about. */
  gatewaysTouchedAt(): number {
    const groups = ["gateways", ...CLUSTERS.map((cluster) => `link:${cluster}`)];
    return Math.max(...groups.map((each) => this.#touched.get(each) ?? 0));
  }

  /** An address of gateways dies, or answers again. */
  setGateway(ip: string, alive: boolean): void {
    if (this.isAlive(ip) === alive) return;
    if (alive) this.#dead.delete(ip);
    else this.#dead.add(ip);
    this.#touch("gateways");
  }

  /** The host name of gateways stands for other addresses. */
  setGatewayHost(ips: readonly string[]): void {
    this.#gatewayHost = [...ips];
    this.#touch("gateways");
  }

  setGatewayService(cluster: ClusterName, name: GatewayName, shape: GatewayShape | undefined): void {
    const { objects } = this.apis[cluster];
    const ref = { namespace: GATEWAY_NAMESPACE, name };
    const known = objects.find(SERVICES, ref);
    if (shape === undefined) {
      if (known) objects.delete(SERVICES, ref);
      return;
    }
    const { addresses, port, probed, identity } = shape;
    const ports = [
      { name: "mc-gateway", port, protocol: "TCP" },
      ...(probed ? [{ name: "mc-probe", port: 4191, protocol: "TCP" }] : []),
    ];
    const annotations = identity === undefined ? {} : { "mirror.linkerd.io/gateway-identity": identity };
    const object: Service = {
      apiVersion: "v1",
      kind: "Service",
      metadata: { ...ref, annotations },
      spec: { type: "LoadBalancer", ports },
    };
    if (known)
      objects.modify(SERVICES, ref, (each) => ({
        ...each,
        metadata: { ...each.metadata, annotations },
        spec: { ...each.spec, ports },
      }));
    else objects.create(SERVICES, object);
    const ingress = addresses.map((each) => (isIP(each) === 0 ? { hostname: each } : { ip: each }));
    const status = { loadBalancer: { ingress } };
    objects.modify(SERVICES, ref, (each) => ({ ...each, status }), "status");
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

  /** When a Link to this cluster that was there before last asked for other services. */
  askedOtherwiseAt(cluster: ClusterName): number {
    return this.#askedOtherwise.get(cluster) ?? Number.NEGATIVE_INFINITY;
  }

  /** When another Link to this cluster last took over from the one that mirrored. */
  takenOverAt(cluster: ClusterName): number {
    return this.#takenOver.get(cluster) ?? Number.NEGATIVE_INFINITY;
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

  labelNamespace(name: string, label: NamespaceLabel): void {
    if (!this.source.find(NAMESPACES, { name })) return;
    this.source.modify(NAMESPACES, { name }, (each) => {
      const { "isthmus.dev/created-by": _, ...others } = each.metadata.labels ?? {};
      if (label === "taken away") return withMetadata(each, { labels: others });
      const change =
        label === "given back"
          ? { "isthmus.dev/created-by": OWN_NAMESPACE }
          : { "team.example/name": `${++this.#serial}` };
      return withMetadata(each, { labels: { ...each.metadata.labels, ...change } });
    });
  }

  /** Somebody puts something of their own into a namespace, or takes it away. */
  setBelonging(belonging: Belonging): void {
    const { namespace, kind, there, when } = belonging;
    if (when !== "now") {
      const others = this.#waiting.get(namespace) ?? [];
      this.#waiting.set(namespace, [...others, belonging]);
      return;
    }
    const resource: Resource<KubeObject> = {
      ConfigMap: CONFIG_MAPS,
      Secret: SECRETS,
      ResourceQuota: RESOURCE_QUOTAS,
    }[kind];
    const name = kind === "ResourceQuota" ? "isthmus-emptiness" : "theirs";
    const known = this.source.find(resource, { namespace, name });
    if (there && !known) this.#create(resource, { apiVersion: "v1", kind, metadata: { namespace, name } });
    if (!there && known && !isOurQuota(known)) this.source.delete(resource, known.metadata);
  }

  /** Nobody waits any more for a namespace to be looked at. */
  forgetPlans(): void {
    this.#waiting.clear();
  }

  /** Somebody makes an object in the source; whether they are let. */
  #create<T extends KubeObject>(resource: Resource<T>, object: T): boolean {
    const { namespace = "" } = object.metadata;
    if (!this.#takesObjects(namespace)) return false;
    try {
      this.#quotas?.admit(resource, namespace);
    } catch (error) {
      if (error instanceof Refusal) return false;
      throw error;
    }
    this.source.create(resource, object);
    return true;
  }

  setService(place: Place, shape: ServiceShape | undefined): void {
    const { objects } = this.apis[place.cluster];
    const ref = { namespace: place.namespace, name: place.service };
    const known = objects.find(SERVICES, ref);
    const headless = shape?.kind === "headless";
    // The cluster IP of a Service is for life.
    if (known && (shape === undefined || headless !== (known.spec?.clusterIP === "None")))
      objects.delete(SERVICES, ref);
    // As Kubernetes, a moment later.
    this.time.after(20, () => this.#keepSlices(place));
    if (shape === undefined) return;
    const labels: Record<string, string> = { ...shape.labels };
    if (shape.kind === "private") delete labels["mirror.linkerd.io/exported"];
    else labels["mirror.linkerd.io/exported"] = shape.kind === "direct" ? "remote-discovery" : "true";
    if (shape.federated) labels["mirror.linkerd.io/federated"] = "member";
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

  /** Pods behind a service come and go, become ready and not. */
  setPodsBehind(place: Place, pods: PodsShape | undefined): void {
    if (pods === undefined) this.#pods.delete(placeKey(place));
    else this.#pods.set(placeKey(place), pods);
    this.#keepSlices(place);
  }

  /** Keep the slices of a service as Kubernetes does. */
  #keepSlices(place: Place): void {
    const { objects } = this.apis[place.cluster];
    const { namespace, service: name } = place;
    const service = objects.find(SERVICES, { namespace, name });
    const isSliced = service !== undefined && service.spec?.type !== "ExternalName";
    const parts = isSliced ? slicedPods(this.#pods.get(placeKey(place))) : [];
    const labels = {
      ...service?.metadata.labels,
      "kubernetes.io/service-name": name,
      ...(service?.spec?.clusterIP === "None" && { "service.kubernetes.io/headless": "" }),
    };
    const ports = (service?.spec?.ports ?? []).map(({ name = "", port }) => ({
      name,
      port,
      protocol: "TCP",
    }));
    for (const [index, suffix] of ["k8s", "k8s-2"].entries()) {
      const ref = { namespace, name: `${name.slice(0, 50)}-${suffix}` };
      const part = parts[index];
      const known = objects.find(ENDPOINT_SLICES, ref);
      // The family of a slice is for life.
      if (known && known.addressType !== part?.addressType) objects.delete(ENDPOINT_SLICES, ref);
      if (part === undefined) continue;
      const slice: EndpointSlice = {
        apiVersion: "discovery.k8s.io/v1",
        kind: "EndpointSlice",
        metadata: { ...ref, labels },
        ...part,
        ports,
      };
      if (objects.find(ENDPOINT_SLICES, ref)) objects.update(ENDPOINT_SLICES, slice);
      else objects.create(ENDPOINT_SLICES, slice);
    }
  }

  /** A member of a federated service in the source, with its slice. */
  setLocal(namespace: string, service: string, shape: LocalShape | undefined): void {
    const ref = { namespace, name: service };
    const slice = { namespace, name: `${service.slice(0, 50)}-k8s` };
    if (shape === undefined) {
      if (this.source.find(SERVICES, ref)) this.source.delete(SERVICES, ref);
      if (this.source.find(ENDPOINT_SLICES, slice)) this.source.delete(ENDPOINT_SLICES, slice);
      return;
    }
    if (!this.#takesObjects(namespace)) return;
    const labels = {
      ...shape.labels,
      "kubernetes.io/service-name": service,
      "mirror.linkerd.io/federated": "member",
    };
    const { "kubernetes.io/service-name": _, ...own } = labels;
    const made: Service = {
      apiVersion: "v1",
      kind: "Service",
      metadata: { ...ref, labels: own },
      spec: { ports: shape.ports },
    };
    if (this.source.find(SERVICES, ref))
      this.source.modify(SERVICES, ref, (each) => ({
        ...made,
        metadata: { ...each.metadata, ...made.metadata },
      }));
    else this.#create(SERVICES, made);
    const theirs: EndpointSlice = {
      apiVersion: "discovery.k8s.io/v1",
      kind: "EndpointSlice",
      metadata: { ...slice, labels },
      addressType: "IPv4",
      endpoints: [{ addresses: ["10.3.0.1"], conditions: { ready: shape.ready } }],
      ports: shape.ports.map(({ name, port }) => ({ name, port: port + 8_000, protocol: "TCP" })),
    };
    if (this.source.find(ENDPOINT_SLICES, slice)) this.source.update(ENDPOINT_SLICES, theirs);
    else this.#create(ENDPOINT_SLICES, theirs);
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
      ...(FOLLOWING_LINKS.includes(name) && { gateway: { namespace: GATEWAY_NAMESPACE, name: "main" } }),
      gatewayIdentity: `gateway.${LINK_TARGETS[name]}.demo.mesh`,
      probe: PROBE,
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
  setForeign(place: Place, spot: Spot, what: "service" | "slice" | "other-isthmus", there: boolean): void {
    const mirror = nameAt(place, spot);
    const name = what === "slice" ? sliceAt(place, spot) : mirror;
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
        ? {
            "app.kubernetes.io/managed-by": "isthmus",
            [spot === "federated" ? "isthmus.dev/federated-by" : "isthmus.dev/link"]:
              spot === "federated" ? "other" : "other.east",
          }
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
    this.#create(resource, object);
  }

  /** Somebody meddles with a mirror or its slice. */
  meddle(place: Place, spot: Spot, how: Meddling): void {
    const ref = { namespace: place.namespace, name: nameAt(place, spot) };
    const slice = { ...ref, name: sliceAt(place, spot) };
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
            annotations: {
              ...each.metadata.annotations,
              [spot === "federated" ? "egress-ports.isthmus.dev/isthmus.east" : "isthmus.dev/egress-ports"]:
                "80=20001",
            },
          }),
        );
        return;
      case "members":
        edit((each) =>
          withMetadata(each, {
            annotations: { ...each.metadata.annotations, "multicluster.linkerd.io/remote-discovery": "x@c" },
          }),
        );
        return;
      case "selector":
        edit((each) => ({ ...each, spec: { ...each.spec, selector: { app: "web" } } }));
        return;
      case "headless": {
        if (!this.#takesObjects(place.namespace)) return;
        const { clusterIP, clusterIPs: _, ...spec } = mirror.spec ?? {};
        this.source.delete(SERVICES, ref);
        this.#create(SERVICES, {
          ...mirror,
          spec: clusterIP === "None" ? spec : { ...spec, clusterIP: "None", clusterIPs: ["None"] },
        });
        return;
      }
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
    this.#create(ENDPOINT_SLICES, stray);
  }

  #takesObjects(namespace: string): boolean {
    const known = this.source.find(NAMESPACES, { name: namespace });
    return known !== undefined && !known.metadata.deletionTimestamp;
  }

  #empty(name: string): void {
    const namespace = this.source.find(NAMESPACES, { name }) as Namespace | undefined;
    if (!namespace?.metadata.deletionTimestamp) return;
    for (const resource of RESOURCES.filter(({ namespaced }) => namespaced)) {
      for (const { metadata } of this.source.list(resource, name)) this.source.delete(resource, metadata);
    }
    this.source.modify(NAMESPACES, { name }, (each) => withMetadata(each, { finalizers: [] }));
  }

  /** What Kubernetes does in namespaces that the controller makes and deletes, and what people do meanwhile. */
  #namespaceChanged({ collection, type, object, previous }: Change, random: Random): void {
    const { namespace = "", name, deletionTimestamp } = object.metadata;
    if (collection === "namespaces") {
      if (type === "ADDED") this.time.after(random.between(10, 3_000), () => this.#furnish(name));
      const goes = deletionTimestamp !== undefined && !previous?.metadata.deletionTimestamp;
      if (goes) this.time.after(random.pick([50, 50, 20_000]), () => this.#empty(name));
    }
    if (collection !== "resourcequotas" || type === "DELETED" || !isOurQuota(object)) return;
    if (isDeepStrictEqual((object as ResourceQuota).spec, (previous as ResourceQuota | undefined)?.spec))
      return;
    const isTime = ({ when }: Belonging) => when === (type === "ADDED" ? "counted" : "closed");
    const waiting = this.#waiting.get(namespace) ?? [];
    for (const each of waiting.filter(isTime))
      this.time.after(random.between(0, 300), () => this.setBelonging({ ...each, when: "now" }));
    this.#waiting.set(
      namespace,
      waiting.filter((each) => !isTime(each)),
    );
  }

  /** As Kubernetes, put into a new namespace what stands in every one. */
  #furnish(namespace: string): void {
    if (!this.#takesObjects(namespace)) return;
    const put = (resource: Resource<KubeObject>, kind: keyof typeof STANDARD) => {
      const metadata = { namespace, name: STANDARD[kind] };
      if (this.source.find(resource, metadata)) return true;
      return this.#create(resource, { apiVersion: "v1", kind, metadata });
    };
    const done = [put(CONFIG_MAPS, "ConfigMap"), put(SERVICE_ACCOUNTS, "ServiceAccount")];
    if (done.includes(false)) this.time.after(2_000, () => this.#furnish(namespace));
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
    if (collection === "services" || collection.startsWith("endpointslices"))
      this.#localChanged(object, previous);
    if (collection === "namespaces") this.#touch(`namespace:${name}`);
    if (byController) return;
    const unseen = type === "DELETED" && object.metadata.annotations?.foreign !== undefined;
    if (collection === "services") this.#touch(`${namespace}/${name}`, { byHand: true, unseen });
    if (collection === "endpointslices.discovery.k8s.io") {
      for (const mirror of mirrorsOfSlice(object, previous))
        this.#touch(`${namespace}/${mirror}`, { byHand: true, unseen });
    }
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
    const fields = ["selector", "remoteDiscoverySelector", "federatedServiceSelector"] as const;
    const otherwise =
      previous !== undefined &&
      fields.some((field) => !isDeepStrictEqual(link.spec[field], previous.spec[field]));
    if (going(link) && !going(previous) && this.#isOldest(link)) this.#takenOver.set(cluster, this.time.now);
    if (otherwise) this.#askedOtherwise.set(cluster, this.time.now);
    if (previous === undefined || !present || going(link) || otherwise)
      this.#relisted.set(cluster, this.time.now);
  }

  /** Whether a Link came before all others to its target that are not going. */
  #isOldest({ metadata, spec }: Link): boolean {
    const age = (link: Link["metadata"]) => `${link.creationTimestamp} ${link.name}`;
    return activeLinks(this.source).every(
      (other) =>
        other.spec.targetClusterName !== spec.targetClusterName || age(metadata) < age(other.metadata),
    );
  }

  /** Members of federated services in the source, and their slices. */
  #localChanged(...versions: (KubeObject | undefined)[]): void {
    for (const each of versions) {
      const { labels = {}, namespace, name } = each?.metadata ?? {};
      if (labels["mirror.linkerd.io/federated"] === undefined || labels["mirror.linkerd.io/mirrored-service"])
        continue;
      this.#touch(`${namespace}/${federatedName(labels["kubernetes.io/service-name"] ?? name ?? "")}`);
    }
  }

  #targetChanged(cluster: ClusterName, { collection, object, previous }: Change): void {
    const { namespace = "", name } = object.metadata;
    if (namespace === GATEWAY_NAMESPACE) {
      this.#touch("gateways");
      return;
    }
    if (collection === "services") {
      this.#serviceTouched(cluster, namespace, name);
      for (const slice of this.apis[cluster].objects.list(ENDPOINT_SLICES, namespace))
        if (serviceOf(slice) === name) this.#podsTouched(cluster, slice);
    }
    if (collection !== "endpointslices.discovery.k8s.io") return;
    for (const slice of [object, previous] as (EndpointSlice | undefined)[]) {
      if (slice === undefined) continue;
      this.#serviceTouched(cluster, namespace, serviceOf(slice));
      this.#podsTouched(cluster, slice);
    }
  }

  #serviceTouched(cluster: ClusterName, namespace: string, service: string): void {
    this.#touch(`${namespace}/${mirrorName(service, cluster)}`);
    this.#touch(`${namespace}/${federatedName(service)}`);
  }

  #podsTouched(cluster: ClusterName, { metadata, endpoints = [] }: EndpointSlice): void {
    for (const endpoint of endpoints) {
      const host = HOSTS.find(({ host: each }) => isCalled(endpoint, each))?.host;
      if (host !== undefined) this.#touch(`${metadata.namespace}/${podMirrorName(host, cluster)}`);
    }
  }

  /** The mirrors of headless services that lead to the mirror of this key, if that is one of a pod. */
  #headlessOf(key: string): string[] {
    const [namespace = "", name] = key.split("/");
    return CLUSTERS.flatMap((cluster) =>
      this.apis[cluster].objects
        .list(ENDPOINT_SLICES, namespace)
        .filter(({ endpoints = [] }) =>
          HOSTS.some(
            ({ host }) =>
              podMirrorName(host, cluster) === name && endpoints.some((each) => isCalled(each, host)),
          ),
        )
        .map((slice) => `${namespace}/${mirrorName(serviceOf(slice), cluster)}`),
    );
  }

  #touch(what: string, { byHand = false, unseen = false } = {}): void {
    (byHand ? this.#touchedByHand : this.#touched).set(what, this.time.now);
    this.onTouch({ what, at: this.time.now, byHand, unseen });
    if (!what.includes("/")) return;
    for (const mirror of this.#headlessOf(what)) {
      if (mirror === what) continue;
      this.#touched.set(mirror, this.time.now);
      this.onTouch({ what: mirror, at: this.time.now, byHand: false, unseen });
    }
  }

  #bookmark(): void {
    this.time.after(60_000, () => {
      for (const api of this.allApis()) if (api.bookmarks) api.watches.bookmark(api.objects.version);
      this.#bookmark();
    });
  }
}

/** Of which clusters something can stand behind the Service of this key. */
export function clustersOf(key: string): ClusterName[] {
  const [, name = ""] = key.split("/");
  if (FEDERATED_NAMES.has(name)) return [...CLUSTERS];
  return CLUSTERS.filter((cluster) => NAMES_BY_CLUSTER.get(cluster)?.has(name));
}

/** Names of the mirrors that a slice could belong to, by its name, its label or its owner, now and before. */
function mirrorsOfSlice(...versions: (KubeObject | undefined)[]): Set<string> {
  const names = new Set<string>();
  for (const { metadata } of versions.filter((each) => each !== undefined)) {
    const label = metadata.labels?.["kubernetes.io/service-name"];
    if (label) names.add(label);
    for (const { name } of metadata.ownerReferences ?? []) names.add(name);
    for (const mirror of SLICE_NAMES.get(metadata.name) ?? []) names.add(mirror);
  }
  return names;
}

const FEDERATED_NAMES = new Set(SERVICE_NAMES.map((service) => federatedName(service)));
const NAMES_BY_CLUSTER = new Map<ClusterName, Set<string>>(
  CLUSTERS.map((cluster) => [
    cluster,
    new Set([
      ...SERVICE_NAMES.map((service) => mirrorName(service, cluster)),
      ...HOSTS.map(({ host }) => podMirrorName(host, cluster)),
    ]),
  ]),
);
/** The Services that slices of these names can be of. */
const SLICE_NAMES = new Map<string, string[]>([
  ...[...NAMES_BY_CLUSTER.values()].flatMap((names) =>
    [...names].map((name): [string, string[]] => [sliceName(name), [name]]),
  ),
  ...[...FEDERATED_NAMES].flatMap((name) =>
    CLUSTERS.map((cluster): [string, string[]] => [memberSliceName(name, cluster), [name]]),
  ),
]);

/** A member in the source. */
export interface LocalShape {
  ports: { port: number; name: string }[];
  labels: Record<string, string>;
  ready: boolean;
}

function placeKey({ cluster, namespace, service }: Place): string {
  return `${cluster} ${namespace}/${service}`;
}

function nameAt({ service, cluster }: Place, spot: Spot): string {
  if (spot === "mirror") return mirrorName(service, cluster);
  if (spot === "federated") return federatedName(service);
  return podMirrorName(HOSTS[spot.host]!.host, cluster);
}

function sliceAt(place: Place, spot: Spot): string {
  const name = nameAt(place, spot);
  return spot === "federated" ? memberSliceName(name, place.cluster) : sliceName(name);
}

function serviceOf({ metadata }: EndpointSlice): string {
  return metadata.labels?.["kubernetes.io/service-name"] ?? "";
}

/** What is in each slice of a service. A pod that is called by its IPv4 address has no other. */
function slicedPods(
  behind: PodsShape | undefined,
): Required<Pick<EndpointSlice, "addressType" | "endpoints">>[] {
  if (behind === undefined) return [];
  const { pods, slices } = behind;
  const part = (addressType: "IPv4" | "IPv6", of: readonly PodShape[]) => ({
    addressType,
    endpoints: of.map((pod) => endpointOf(pod, addressType)),
  });
  if (slices === "one") return [part("IPv4", pods)];
  if (slices === "families") {
    const named = pods.filter(({ host }) => HOSTS[host]?.by !== "address");
    return [part("IPv4", pods), part("IPv6", named)];
  }
  return [0, 1].map((half) =>
    part(
      "IPv4",
      pods.filter((_, index) => index % 2 === half),
    ),
  );
}

function endpointOf({ host, ready }: PodShape, family: "IPv4" | "IPv6"): Endpoint {
  const { host: name, by } = HOSTS[host]!;
  const ip = family === "IPv4" ? `10.2.1.${host + 1}` : `fd00:2::${host + 1}`;
  return {
    addresses: [by === "address" ? name : ip],
    conditions: { ready },
    ...(by === "hostname" && { hostname: name }),
    ...(by !== "address" && { targetRef: { kind: "Pod", name } }),
  };
}

function isCalled({ addresses, hostname, targetRef }: Endpoint, host: string): boolean {
  return hostname === host || targetRef?.name === host || addresses.includes(host);
}

function withMetadata<T extends KubeObject>(object: T, change: Partial<T["metadata"]>): T {
  return { ...object, metadata: { ...object.metadata, ...change } };
}
