import { type Link, SLICE_MANAGED_BY_LABEL, SLICE_MANAGER, SOURCE_LABEL } from "../../contract/index.ts";
import type { KubeClient } from "../kube/client.ts";
import type { Clock } from "../kube/clock.ts";
import type { Log } from "../kube/log.ts";
import type { EndpointSlice, KubeObject, Service, ServiceAccount } from "../kube/objects.ts";
import { Reflector, type ReflectorState } from "../kube/reflector.ts";
import { ENDPOINT_SLICES, LINKS, type Resource, SERVICE_ACCOUNTS, SERVICES } from "../kube/resource.ts";
import { Store } from "../kube/store.ts";
import { Union } from "../kube/union.ts";
import { type EgressInput, egressPicture, MIRROR_SELECTOR } from "./egress-routes.ts";
import { FollowedGateways } from "./followed-gateways.ts";
import { isHeadless, serviceKeyOf } from "./host-routes.ts";
import { EXPORTED_SELECTOR, type IngressInput, ingressPicture, MEMBER_SELECTOR } from "./ingress-routes.ts";
import type { Picture } from "./picture.ts";
import { isSameContent, trimLink, trimService, trimSlice } from "./trim.ts";

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

/** An ingress: the exported Services, the hosts of headless ones, members of federated ones, and who has access. */
export function watchForIngress(options: WatchOptions, settings: IngressInput["settings"]): Watches {
  const drawing = new Drawing(options.changed);
  const watched = { ...options, changed: () => drawing.outdate() };
  const services = reflect<Service>(watched, SERVICES, {
    labelSelectors: [EXPORTED_SELECTOR, MEMBER_SELECTOR],
    transform: trimService,
  });
  // Kubernetes copies a Service's labels to its slices. Those of Services with an address of their own come along.
  const slices = reflect<EndpointSlice>(watched, ENDPOINT_SLICES, {
    labelSelectors: [EXPORTED_SELECTOR],
    transform: trimSlice,
    matters: (slice) => {
      const service = services.store.get(serviceKeyOf(slice));
      return service !== undefined && isHeadless(service);
    },
  });
  const accounts = reflect<ServiceAccount>(watched, SERVICE_ACCOUNTS, {
    namespace: options.namespace,
    labelSelectors: [SOURCE_LABEL],
  });
  return watches([services, slices, accounts], drawing, () =>
    ingressPicture({
      settings,
      services: services.store.list(),
      slices: slices.store.list(),
      serviceAccounts: accounts.store.list(),
    }),
  );
}

/** An egress: the mirrors and federated Services, and the Links they were made for. */
export function watchForEgress(options: WatchOptions, settings: EgressInput["settings"]): Watches {
  const drawing = new Drawing(options.changed);
  const watched = { ...options, changed: () => drawing.outdate() };
  const gateways = new FollowedGateways(options.clock, watched.changed);
  const services = reflect<Service>(watched, SERVICES, {
    labelSelectors: [MIRROR_SELECTOR],
    transform: trimService,
  });
  const links = reflect<Link>(watched, LINKS, { namespace: options.namespace, transform: trimLink });
  const all = watches([services, links], drawing, () => {
    const { known, followed } = gateways.look(links.store.list());
    return egressPicture({ settings, services: services.store.list(), links: known, followed });
  });
  return { ...all, run: (signal) => all.run(signal).finally(() => gateways.look([])) };
}

/** Whether a slice of ours names one of `addresses`; undefined until all slices are known. For a pod that is to stop. */
export function watchOwnSlices(
  options: WatchOptions,
  addresses: readonly string[],
): { called: () => boolean | undefined; run(signal: AbortSignal): Promise<void> } {
  const { store, reflectors } = reflect<EndpointSlice>(options, ENDPOINT_SLICES, {
    labelSelectors: [`${SLICE_MANAGED_BY_LABEL}=${SLICE_MANAGER}`],
  });
  store.index("address", (slice) => (slice.endpoints ?? []).flatMap((endpoint) => endpoint.addresses));
  return {
    called: () =>
      isSynced(reflectors) ? addresses.some((address) => store.by("address", address).length > 0) : undefined,
    run: (signal) => runAll(reflectors, signal),
  };
}

/** The picture last drawn, for as long as nothing it was drawn from has changed. */
class Drawing {
  readonly #changed: () => void;
  #picture: Picture | undefined;

  constructor(changed: () => void) {
    this.#changed = changed;
  }

  outdate(): void {
    this.#picture = undefined;
    this.#changed();
  }

  picture(draw: () => Picture): Picture {
    this.#picture ??= draw();
    return this.#picture;
  }
}

interface Watched<T extends KubeObject> {
  store: Store<T>;
  reflectors: readonly Reflector<T>[];
}

function reflect<T extends KubeObject>(
  { client, changed, clock, log }: WatchOptions,
  resource: Resource<T>,
  selection: {
    namespace?: string;
    /** Objects that any of them selects. @default all */
    labelSelectors?: readonly [string, ...string[]];
    /** What is kept of an object. */
    transform?: (object: T) => T;
    /** Whether a picture could be another for what became of this object. @default always */
    matters?: (object: T) => boolean;
  },
): Watched<T> {
  const { matters = () => true, labelSelectors = [undefined], ...selected } = selection;
  const store = new Store<T>();
  store.onChange((_, current, previous) => {
    if (current && previous && isSameContent(current, previous)) return;
    if (matters((current ?? previous) as T)) changed();
  });
  const sinks = new Union(store, clock).begin(labelSelectors.length);
  const reflectors = sinks.map((sink, index) => {
    const labelSelector = labelSelectors[index];
    return new Reflector<T>({ client, resource, ...selected, labelSelector, sink, clock, log });
  });
  // An empty list changes nothing in the store, and completes the picture all the same.
  for (const reflector of reflectors) void reflector.synced.then(changed);
  return { store, reflectors };
}

type AnyReflector = Pick<Reflector<KubeObject>, "isSynced" | "run" | "state">;

function isSynced(reflectors: readonly AnyReflector[]): boolean {
  return reflectors.every((reflector) => reflector.isSynced);
}

async function runAll(reflectors: readonly AnyReflector[], signal: AbortSignal): Promise<void> {
  await Promise.all(reflectors.map((reflector) => reflector.run(signal)));
}

function watches(
  watched: readonly { reflectors: readonly AnyReflector[] }[],
  drawing: Drawing,
  draw: () => Picture,
): Watches {
  const reflectors = watched.flatMap((each) => each.reflectors);
  return {
    picture: () => (isSynced(reflectors) ? drawing.picture(draw) : undefined),
    run: (signal) => runAll(reflectors, signal),
    state: () => reflectors.map((reflector) => reflector.state()),
  };
}
