import {
  CLUSTER_NAME_LABEL,
  COMPONENT,
  COMPONENT_LABEL,
  CREATED_BY_LABEL,
  type LabelSelector,
  type Link,
  linkLabelValue,
  MIRRORED_LABEL,
} from "../../contract/index.ts";
import type { KubeClient } from "../kube/client.ts";
import type { Clock } from "../kube/clock.ts";
import type { Log } from "../kube/log.ts";
import {
  type EndpointSlice,
  type KubeObject,
  keyOf,
  type Namespace,
  type Pod,
  type Service,
} from "../kube/objects.ts";
import { Reflector, type ReflectorState } from "../kube/reflector.ts";
import { ENDPOINT_SLICES, LINKS, NAMESPACES, PODS, type Resource, SERVICES } from "../kube/resource.ts";
import { Store } from "../kube/store.ts";
import { CredentialsSecrets } from "./credentials/secrets.ts";
import { gatewayOf } from "./desired.ts";
import { memberEntries } from "./federated.ts";
import { linkLabelOf, mirrorsOfSlice, OURS_SELECTOR } from "./ownership.ts";
import { isEmptySelector, selectorQuery } from "./selector.ts";
import { BY_FEDERATED, BY_SERVICE, federatedKey, serviceKeyOf } from "./target/target.ts";

/** Names of the indices of the stores. */
export const BY_LINK = "link";
export const BY_MIRROR = "mirror";
export const BY_TARGET = "target";
const BY_MEMBER = "member";
export const BY_GATEWAY = "gateway";
export const BY_NAMESPACE = "namespace";
export const BY_CREATOR = "creator";

export interface SourceOptions {
  client: KubeClient;
  /** Where the Links, their Secrets and the egress pods are. */
  namespace: string;
  /** Which Services of this cluster are members of the federated service of their name. */
  federatedSelector: LabelSelector;
  /** Whether the endpoints of these are to be known too. */
  localEndpoints: boolean;
  clock: Clock;
  random: () => number;
  log: Log;
}

/**
 * What this controller knows of its own cluster: Links and their credentials, the mirrors and slices made so far, the
 * names of all namespaces, and the egress pods. Other people's Services are not watched: a cluster may have many.
 */
export class SourceCluster {
  readonly links = new Store<Link>()
    .index(BY_TARGET, (link) => [link.spec.targetClusterName])
    .index(BY_LINK, (link) => [linkLabelValue(link.metadata)]);
  /** Of those, one may be forbidden or missing: each says so itself, and nothing else waits for it. */
  readonly credentials: CredentialsSecrets;
  readonly services = mirrorStore();
  readonly slices = new Store<EndpointSlice>()
    .index(BY_LINK, byLink)
    .index(BY_MIRROR, mirrorsOfSlice)
    .index(BY_NAMESPACE, byNamespace);
  /** This cluster's own members of federated services, and the slices that Kubernetes keeps of them. */
  readonly localMembers = new Store<Service>().index(BY_FEDERATED, (service) => [federatedKey(service)]);
  readonly localSlices = new Store<EndpointSlice>().index(BY_SERVICE, (slice) => [serviceKeyOf(slice)]);
  readonly namespaces = new Store<Namespace>().index(BY_CREATOR, byCreator);
  readonly pods = new Store<Pod>();
  readonly #reflectors: Pick<Reflector<KubeObject>, "run" | "synced" | "state">[] = [];

  constructor(options: SourceOptions) {
    const { namespace } = options;
    const { federatedSelector, localEndpoints } = options;
    const watch = <T extends KubeObject>(
      resource: Resource<T>,
      sink: Store<T>,
      selection: { namespace?: string; labelSelector?: string; fieldSelector?: string },
      transform?: (object: T) => T | undefined,
    ) => {
      const { client, clock, random, log } = options;
      const reflector = new Reflector<T>({
        ...selection,
        ...(transform === undefined ? {} : { transform }),
        client,
        resource,
        sink,
        clock,
        random,
        log,
      });
      this.#reflectors.push(reflector);
    };
    watch(LINKS, this.links, { namespace });
    this.credentials = new CredentialsSecrets({ ...options, links: this.links });
    watch(SERVICES, this.services, { labelSelector: OURS_SELECTOR });
    watch(ENDPOINT_SLICES, this.slices, { labelSelector: OURS_SELECTOR });
    if (!isEmptySelector(federatedSelector)) {
      const labelSelector = selectorQuery(federatedSelector);
      watch(SERVICES, this.localMembers, { labelSelector }, notOurs);
      if (localEndpoints) watch(ENDPOINT_SLICES, this.localSlices, { labelSelector }, notOurs);
    }
    watch(NAMESPACES, this.namespaces, {}, withoutMetadata);
    watch(
      PODS,
      this.pods,
      { namespace, labelSelector: `${COMPONENT_LABEL}=${COMPONENT.egress}` },
      withoutSpec,
    );
  }

  /** Watch until `signal` is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([
      ...this.#reflectors.map((reflector) => reflector.run(signal)),
      this.credentials.run(signal),
    ]);
  }

  /** Resolves when all of it was listed completely, but for the credentials. */
  async synced(): Promise<void> {
    await Promise.all(this.#reflectors.map((reflector) => reflector.synced));
  }

  /** Of what no complete list was had yet, or why not. */
  waitingFor(): string[] {
    return this.#reflectors
      .map((reflector) => reflector.state())
      .filter(({ synced }) => !synced)
      .map(({ resource, lastError }) => (lastError === undefined ? resource : `${resource}: ${lastError}`));
  }

  /** For `/state`. */
  state(): ReflectorState[] {
    return [...this.#reflectors.map((reflector) => reflector.state()), ...this.credentials.state()];
  }

  /** Whether objects can be made in a namespace: one that is being deleted takes none. */
  hasNamespace(name: string): boolean {
    const namespace = this.namespaces.get(name);
    return namespace !== undefined && namespace.metadata.deletionTimestamp === undefined;
  }

  /** The mirrors made for a Link. */
  mirrorsOf(link: { namespace: string; name: string }): Service[] {
    return this.services.by(BY_LINK, linkLabelValue(link));
  }

  /** The federated Services that name a member in a cluster. */
  federatedWith(cluster: string): Service[] {
    return this.services.by(BY_MEMBER, cluster);
  }

  /** The slices that Kubernetes keeps of a member in this cluster. */
  localSlicesOf(member: Service): EndpointSlice[] {
    return this.localSlices.by(BY_SERVICE, keyOf(member));
  }

  /** The slices made for a Link. */
  slicesOf(link: { namespace: string; name: string }): EndpointSlice[] {
    return this.slices.by(BY_LINK, linkLabelValue(link));
  }
}

/** A store of mirrors. */
export function mirrorStore(): Store<Service> {
  return (
    new Store<Service>()
      .index(BY_LINK, byLink)
      .index(BY_NAMESPACE, byNamespace)
      // Federated ones, under the names of their members' clusters.
      .index(BY_MEMBER, (service) => [...memberEntries(service).keys()])
      // Those that name a gateway other than their Link's own, under the label of the Link.
      .index(BY_GATEWAY, (service) => (gatewayOf(service) === undefined ? [] : byLink(service)))
  );
}

function byLink(object: KubeObject): string[] {
  const label = linkLabelOf(object);
  return label === undefined ? [] : [label];
}

/** A federated Service, or a slice of one, may carry what it is selected by; it is no member of itself. */
function notOurs<T extends KubeObject>(object: T): T | undefined {
  return object.metadata.labels?.[MIRRORED_LABEL] === undefined ? object : undefined;
}

function byNamespace(object: KubeObject): string[] {
  return [object.metadata.namespace ?? ""];
}

function byCreator(namespace: Namespace): string[] {
  const creator = namespace.metadata.labels?.[CREATED_BY_LABEL];
  return creator === undefined ? [] : [creator];
}

/** Of the labels only those that say whether it is ours. */
function withoutMetadata(namespace: Namespace): Namespace {
  const { labels = {}, annotations: _, ...metadata } = namespace.metadata;
  const kept = [CREATED_BY_LABEL, CLUSTER_NAME_LABEL].flatMap((label) =>
    labels[label] === undefined ? [] : [[label, labels[label]]],
  );
  return { ...namespace, metadata: { ...metadata, labels: Object.fromEntries(kept) } };
}

function withoutSpec(pod: Pod): Pod {
  const { podIP, podIPs, conditions, phase } = pod.status ?? {};
  return {
    apiVersion: pod.apiVersion,
    kind: pod.kind,
    metadata: pod.metadata,
    spec: { ...(pod.spec?.readinessGates && { readinessGates: pod.spec.readinessGates }) },
    status: {
      ...(phase && { phase }),
      ...(podIP && { podIP }),
      ...(podIPs && { podIPs }),
      ...(conditions && { conditions }),
    },
  };
}
