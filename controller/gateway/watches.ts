import {
  EXPORTED_LABEL,
  type Link,
  SLICE_MANAGED_BY_LABEL,
  SLICE_MANAGER,
  SOURCE_LABEL,
} from "../../contract/index.ts";
import type { KubeClient } from "../kube/client.ts";
import type { Clock } from "../kube/clock.ts";
import type { Log } from "../kube/log.ts";
import type { EndpointSlice, KubeObject, Service, ServiceAccount } from "../kube/objects.ts";
import { Reflector, type ReflectorState } from "../kube/reflector.ts";
import { ENDPOINT_SLICES, LINKS, type Resource, SERVICE_ACCOUNTS, SERVICES } from "../kube/resource.ts";
import { Store } from "../kube/store.ts";
import { type EgressInput, egressPicture, MIRROR_SELECTOR } from "./egress-routes.ts";
import { type IngressInput, ingressPicture } from "./ingress-routes.ts";
import type { Picture } from "./picture.ts";

export interface WatchOptions {
  client: KubeClient;
  namespace: string;
  /** Called after every change of what is watched, and when a list has come for the first time. */
  changed: () => void;
  clock: Clock;
  log: Log;
}

/** What a gateway reads of its cluster. */
export interface Watches {
  /** The picture as of now; undefined until every list has come once. */
  picture(): Picture | undefined;
  run(signal: AbortSignal): Promise<void>;
  state(): ReflectorState[];
}

/** An ingress: the exported Services, and who has access. */
export function watchForIngress(options: WatchOptions, settings: IngressInput["settings"]): Watches {
  const services = reflect<Service>(options, SERVICES, {
    labelSelector: `${EXPORTED_LABEL}=true`,
    transform: trimService,
  });
  const accounts = reflect<ServiceAccount>(options, SERVICE_ACCOUNTS, {
    namespace: options.namespace,
    labelSelector: SOURCE_LABEL,
  });
  return watches([services.reflector, accounts.reflector], () =>
    ingressPicture({ settings, services: services.store.list(), serviceAccounts: accounts.store.list() }),
  );
}

/** An egress: the mirrors, and the Links they were made for. */
export function watchForEgress(options: WatchOptions, settings: EgressInput["settings"]): Watches {
  const services = reflect<Service>(options, SERVICES, {
    labelSelector: MIRROR_SELECTOR,
    transform: trimService,
  });
  const links = reflect<Link>(options, LINKS, { namespace: options.namespace, transform: trimLink });
  return watches([services.reflector, links.reflector], () =>
    egressPicture({ settings, services: services.store.list(), links: links.store.list() }),
  );
}

/** Whether a slice of ours names one of `addresses`; undefined until all slices are known. For a pod that is to stop. */
export function watchOwnSlices(
  options: WatchOptions,
  addresses: readonly string[],
): { called: () => boolean | undefined; run(signal: AbortSignal): Promise<void> } {
  const { store, reflector } = reflect<EndpointSlice>(options, ENDPOINT_SLICES, {
    labelSelector: `${SLICE_MANAGED_BY_LABEL}=${SLICE_MANAGER}`,
  });
  store.index("address", (slice) => (slice.endpoints ?? []).flatMap((endpoint) => endpoint.addresses));
  return {
    called: () =>
      reflector.isSynced ? addresses.some((address) => store.by("address", address).length > 0) : undefined,
    run: (signal) => reflector.run(signal),
  };
}

function reflect<T extends KubeObject>(
  { client, changed, clock, log }: WatchOptions,
  resource: Resource<T>,
  selection: {
    namespace?: string;
    labelSelector?: string;
    transform?: (object: T) => T;
  },
): { store: Store<T>; reflector: Reflector<T> } {
  const store = new Store<T>();
  store.onChange(changed);
  const reflector = new Reflector<T>({ client, resource, ...selection, sink: store, clock, log });
  // An empty list changes nothing in the store, and completes the picture all the same.
  void reflector.synced.then(changed);
  return { store, reflector };
}

function watches(
  reflectors: readonly Pick<Reflector<KubeObject>, "isSynced" | "run" | "state">[],
  picture: () => Picture,
): Watches {
  return {
    picture: () => (reflectors.every((reflector) => reflector.isSynced) ? picture() : undefined),
    run: async (signal) => {
      await Promise.all(reflectors.map((reflector) => reflector.run(signal)));
    },
    state: () => reflectors.map((reflector) => reflector.state()),
  };
}

/** What routes are made of; the rest need not be kept. */
function trimService({ apiVersion, kind, metadata, spec }: Service): Service {
  return {
    apiVersion,
    kind,
    metadata,
    ...(spec && {
      spec: {
        ...(spec.type !== undefined && { type: spec.type }),
        ...(spec.clusterIP !== undefined && { clusterIP: spec.clusterIP }),
        ...(spec.ports !== undefined && { ports: spec.ports }),
      },
    }),
  };
}

function trimLink({ apiVersion, kind, metadata, spec }: Link): Link {
  return { apiVersion, kind, metadata, spec };
}
