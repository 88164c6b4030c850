import {
  endpointHost,
  federatedName,
  type GatewayReference,
  type Link,
  type LinkServiceStatus,
  mirrorName,
  podMirrorName,
  SERVICE_NAME_LABEL,
} from "../../../contract/index.ts";
import { KubeClient } from "../../kube/client.ts";
import type { Clock } from "../../kube/clock.ts";
import type { Log } from "../../kube/log.ts";
import { type EndpointSlice, keyOf, type Service } from "../../kube/objects.ts";
import type { ReflectorState } from "../../kube/reflector.ts";
import { Store } from "../../kube/store.ts";
import { Union } from "../../kube/union.ts";
import { CONNECTING } from "../connection-state.ts";
import { GatewayChoices } from "../gateways/choice.ts";
import { GatewayServices } from "../gateways/gateway-services.ts";
import { type Mode, matchesSelector, modeOf, type Selectors, selectorsOf } from "../selector.ts";
import type { ConnectionState } from "../status.ts";
import { type Access, type Connect, Connection, connectionFingerprint } from "./connection.ts";
import { type ExportedService, isReady } from "./trim.ts";

export type { Access, Connect };

/** Indices of a target's services and slices: by the key of the mirror of the service itself… */
export const BY_MIRROR = "mirror";
/** …of the federated service of its name… */
export const BY_FEDERATED = "federated";
/** …of the mirror of one pod… */
export const BY_POD = "pod";
/** …by the key of the service… */
export const BY_SERVICE = "service";
/** …and by namespace. */
export const BY_NAMESPACE = "namespace";

/** Most exported services of one target: a longer list is refused as a whole, and the mirrors that are there stay. */
const MAX_SERVICES = 20_000;
/** Most slices likewise. */
const MAX_SLICES = 40_000;
/** Most bytes of either remembered. */
const MAX_BYTES = 64 * 1024 * 1024;
/** Most bytes taken of one answer: a page that is longer is asked for in smaller ones. */
const MAX_RESPONSE_BYTES = 4 * 1024 * 1024;

/**
 * Over HTTP/2 one carries everything, if nothing is the matter. Where a proxy does not speak it, each watch has its own,
 * those of gateways too.
 */
const MAX_CONNECTIONS = 32;

/** Connections over the network. */
export const connectToTarget: Connect = (cluster, credentials) =>
  new KubeClient({
    cluster,
    credentials,
    connections: MAX_CONNECTIONS,
    maxResponseBytes: MAX_RESPONSE_BYTES,
  });

export interface TargetOptions {
  connect: Connect;
  clock: Clock;
  random: () => number;
  log: Log;
  /** The connection's state changed. */
  onState: () => void;
  /** All that was asked for is completely known, for the first time or for the first time with other selectors. */
  onListed: () => void;
  /** What is known of the target's gateways changed. */
  onGateways: () => void;
}

/** How an exported service is wanted here. */
export interface Wanted {
  mode: Mode | undefined;
  federated: boolean;
}

/**
 * One Link's target: its exported services as last known, what became of each, and the connection they come by. What is
 * known outlives the connection: other credentials, another selector or a target that comes back start a new list, and
 * only when that is complete do services vanish that it lacks.
 */
export class Target {
  readonly link: { namespace: string; name: string };
  readonly cluster: string;
  readonly services: Store<ExportedService>;
  readonly slices: Store<EndpointSlice>;
  /** The gateways that the Link names and that exported services choose. */
  readonly gateways: GatewayServices;
  /** By `outcomeKey`. */
  readonly outcomes = new Map<string, LinkServiceStatus>();
  readonly #options: TargetOptions;
  readonly #serviceUnion: Union<ExportedService>;
  readonly #sliceUnion: Union<EndpointSlice>;
  readonly #choices = new GatewayChoices();
  #ownGateway: GatewayReference | undefined;
  #connection: { connection: Connection; fingerprint: string; access: string } | undefined;
  #state: ConnectionState = CONNECTING;
  /** Those by which what is known was asked for. */
  #selectors: Selectors;
  #listedAt: number | undefined;
  /** Resolves when all connections so far are closed. */
  #ended: Promise<unknown> = Promise.resolve();

  constructor(link: Link, options: TargetOptions) {
    const cluster = link.spec.targetClusterName;
    this.link = { namespace: link.metadata.namespace, name: link.metadata.name };
    this.cluster = cluster;
    this.#options = options;
    this.#selectors = selectorsOf(link.spec);
    this.services = new Store<ExportedService>({ capacity: MAX_SERVICES, maxBytes: MAX_BYTES })
      .index(BY_MIRROR, (service) => [mirrorKey(service, cluster)])
      .index(BY_FEDERATED, (service) => [federatedKey(service)])
      .index(BY_NAMESPACE, (service) => [service.metadata.namespace ?? ""]);
    this.slices = new Store<EndpointSlice>({ capacity: MAX_SLICES, maxBytes: MAX_BYTES })
      .index(BY_SERVICE, (slice) => [serviceKeyOf(slice)])
      .index(BY_POD, (slice) => podMirrorKeys(slice, cluster));
    this.#serviceUnion = new Union(this.services, options.clock);
    this.#sliceUnion = new Union(this.slices, options.clock);
    this.#ownGateway = link.spec.gateway;
    this.gateways = new GatewayServices({
      clock: options.clock,
      random: options.random,
      log: this.#log(),
      onChange: options.onGateways,
    });
    this.services.onChange((_, current, previous) => {
      if (this.#choices.change(current, previous)) this.#wantGateways();
    });
  }

  get state(): ConnectionState {
    return this.#state;
  }

  /** Whether a complete list of the exported services came in this process: before, nothing may be deleted. */
  get listed(): boolean {
    return this.#listedAt !== undefined;
  }

  /** When that was, in the clock's monotonic milliseconds. */
  get listedAt(): number | undefined {
    return this.#listedAt;
  }

  /** Exported services whose turn has not come yet. */
  get pending(): number {
    return this.services.list().filter((service) => this.#waits(service)).length;
  }

  /** Whether there are such. */
  get isPending(): boolean {
    // Each that is wanted by the selectors of now has an outcome at least; with thousands, to go through them is long.
    if (this.#connection?.connection.listed && this.outcomes.size < this.services.size) return true;
    return this.services.list().some((service) => this.#waits(service));
  }

  /** For `/state`. */
  watchState(): ReflectorState[] | undefined {
    return this.#connection?.connection.watches();
  }

  /** How a service is wanted, by the selectors that it was asked for with. */
  wanted({ metadata: { labels } }: Service): Wanted {
    return {
      mode: modeOf(this.#selectors, labels),
      federated: matchesSelector(this.#selectors.federated, labels),
    };
  }

  /** Names of the Services that stand for a service here. */
  mirrorsOf(service: Service): string[] {
    const { mode, federated } = this.wanted(service);
    const { name } = service.metadata;
    return [
      ...(mode === undefined ? [] : [mirrorName(name, this.cluster)]),
      ...(federated ? [federatedName(name)] : []),
    ];
  }

  /** The slices of a service. */
  slicesOf(service: Service): EndpointSlice[] {
    return this.slices.by(BY_SERVICE, keyOf(service));
  }

  /**
   * Whether the slices of a service say that nobody is ready. One without any says nothing.
   *
   * @param was what its mirror says, which is good until all slices have been listed
   */
  isEmpty(service: Service, was: () => boolean): boolean {
    if (!this.listed) return was();
    const slices = this.slicesOf(service);
    return slices.length > 0 && !slices.some(({ endpoints = [] }) => endpoints.some(isReady));
  }

  /** Watch the services that the Link selects, by this access. Nothing happens where that is being done already. */
  connect(link: Link, access: Access): void {
    this.#ownGateway = link.spec.gateway;
    this.#wantGateways();
    const selectors = selectorsOf(link.spec);
    const fingerprint = connectionFingerprint(link, selectors, access.credentials);
    const current = this.#connection;
    if (current?.fingerprint === fingerprint) {
      if (current.access === access.fingerprint) return;
      current.access = access.fingerprint;
      current.connection.swap(access.credentials);
      return;
    }
    this.#close();
    if (!this.listed) this.#selectors = selectors;
    const { connect, clock, random } = this.#options;
    const connection: Connection = new Connection({
      cluster: this.cluster,
      selectors,
      client: connect(this.cluster, access.credentials),
      services: this.#serviceUnion,
      slices: this.#sliceUnion,
      clock,
      random,
      log: this.#log(),
      onState: () => {
        if (this.#connection?.connection === connection) this.#follow(connection, selectors);
      },
    });
    this.#connection = { connection, fingerprint, access: access.fingerprint };
    const following = this.gateways.run(connection.client, connection.signal);
    this.#ended = Promise.all([this.#ended, following]);
    this.#become(CONNECTING);
  }

  /** Stop watching; what is known stays. */
  disconnect(state: ConnectionState): void {
    this.#close();
    this.#become(state);
  }

  /** Stop watching, for good; resolves when no connection is open any more. */
  async stop(): Promise<void> {
    this.#close();
    await this.#ended;
  }

  #waits(service: Service): boolean {
    return this.mirrorsOf(service).some((mirror) => !this.outcomes.has(outcomeKey(service, mirror)));
  }

  #wantGateways(): void {
    const own = this.#ownGateway === undefined ? [] : [this.#ownGateway];
    this.gateways.want([...own, ...this.#choices.refs()]);
  }

  #log(): Log {
    return this.#options.log.child({ link: this.link.name, cluster: this.cluster });
  }

  #follow(connection: Connection, selectors: Selectors): void {
    const isNews = connection.listed && (!this.listed || this.#selectors !== selectors);
    if (isNews) {
      this.#listedAt ??= this.#options.clock.monotonic();
      this.#selectors = selectors;
    }
    this.#state = connection.state;
    if (isNews) {
      this.#options.onListed();
      this.#forgetUnwanted();
    }
    this.#options.onState();
  }

  /** What became of Services that are wanted no longer, though their exported services are: nobody is to be told of that. */
  #forgetUnwanted(): void {
    const wanted = new Set(
      this.services
        .list()
        .flatMap((service) => this.mirrorsOf(service).map((mirror) => outcomeKey(service, mirror))),
    );
    for (const key of this.outcomes.keys()) if (!wanted.has(key)) this.outcomes.delete(key);
  }

  #become(state: ConnectionState): void {
    this.#state = state;
    this.#options.onState();
  }

  #close(): void {
    const closed = this.#connection?.connection.close();
    if (closed !== undefined) this.#ended = Promise.all([this.#ended, closed]);
    this.#connection = undefined;
  }
}

/** Where the mirror of a service of a cluster is: `namespace/name`. */
export function mirrorKey(service: Service, cluster: string): string {
  return `${service.metadata.namespace}/${mirrorName(service.metadata.name, cluster)}`;
}

/** Where the federated service is that a service is a member of. */
export function federatedKey(service: Service): string {
  return `${service.metadata.namespace}/${federatedName(service.metadata.name)}`;
}

/** Where the mirrors of the pods in a slice are; none for those of which only readiness is known. */
export function podMirrorKeys({ metadata, endpoints = [] }: EndpointSlice, cluster: string): string[] {
  const hosts = endpoints.filter(({ addresses }) => addresses.length > 0).map(endpointHost);
  return [...new Set(hosts.map((host) => `${metadata.namespace}/${podMirrorName(host, cluster)}`))];
}

/** The service that a slice belongs to. */
export function serviceKeyOf({ metadata }: EndpointSlice): string {
  return `${metadata.namespace}/${metadata.labels?.[SERVICE_NAME_LABEL] ?? ""}`;
}

/** Tells what became of a service apart by the Service that stands for it: it may have two. */
export function outcomeKey(service: Service, mirror: string): string {
  return `${keyOf(service)} ${mirror}`;
}
