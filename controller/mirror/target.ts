import { isDnsLabel, type Link, type LinkServiceStatus, mirrorName } from "../../contract/index.ts";
import { KubeClient } from "../kube/client.ts";
import type { Clock } from "../kube/clock.ts";
import type { Credentials } from "../kube/credentials.ts";
import type { Log } from "../kube/log.ts";
import type { Service } from "../kube/objects.ts";
import { Reflector, type ReflectorState } from "../kube/reflector.ts";
import { SERVICES } from "../kube/resource.ts";
import { Store } from "../kube/store.ts";
import { CONNECTED, CONNECTING, failedState } from "./connection-state.ts";
import { readRemoteService } from "./remote-service.ts";
import { gatewaySelector, matchesSelector, selectorQuery } from "./selector.ts";
import type { ConnectionState } from "./status.ts";

/** Index of a target's services by the key of their mirror. */
export const BY_MIRROR = "mirror";
/** Index of a target's services by namespace. */
export const BY_NAMESPACE = "namespace";

/** Most exported services of one target: a longer list is refused as a whole, and the mirrors that are there stay. */
const MAX_SERVICES = 20_000;
/** Most bytes of them, a few kilobytes for each of so many. */
const MAX_SERVICES_BYTES = 64 * 1024 * 1024;
/** Most bytes of one answer of a target: more than any object that an API server stores. Longer pages are made smaller. */
const MAX_RESPONSE_BYTES = 4 * 1024 * 1024;

/** Makes the client by which a target is asked. */
export type Connect = (cluster: string, credentials: Credentials) => KubeClient;

/** Few connections a target: over HTTP/2 one carries everything. */
export const connectToTarget: Connect = (cluster, credentials) =>
  new KubeClient({ cluster, credentials, connections: 2, maxResponseBytes: MAX_RESPONSE_BYTES });

export interface TargetOptions {
  connect: Connect;
  clock: Clock;
  random: () => number;
  log: Log;
  /** The connection's state changed, or the first complete list came. */
  onState: () => void;
}

/** A way to reach the target, told from others by its fingerprint. */
export interface Access {
  credentials: Credentials;
  fingerprint: string;
}

/**
 * One Link's target: its exported services as last known, what became of each, and the connection they come by. What is
 * known outlives the connection: other credentials, another selector or a target that comes back start a new list, and
 * only when that is complete do services vanish that it lacks.
 */
export class Target {
  readonly link: { namespace: string; name: string };
  readonly cluster: string;
  readonly services: Store<Service>;
  /** By the key of the exported service. */
  readonly outcomes = new Map<string, LinkServiceStatus>();
  readonly #options: TargetOptions;
  #connection: Connection | undefined;
  #state: ConnectionState = CONNECTING;
  #listedAt: number | undefined;
  /** Resolves when all connections so far are closed. */
  #ended: Promise<unknown> = Promise.resolve();

  constructor(link: Link, options: TargetOptions) {
    this.link = { namespace: link.metadata.namespace, name: link.metadata.name };
    this.cluster = link.spec.targetClusterName;
    this.#options = options;
    this.services = new Store<Service>({ capacity: MAX_SERVICES, maxBytes: MAX_SERVICES_BYTES })
      .index(BY_MIRROR, (service) => [mirrorKey(service, this.cluster)])
      .index(BY_NAMESPACE, (service) => [service.metadata.namespace ?? ""]);
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
    return this.services.keys().filter((key) => !this.outcomes.has(key)).length;
  }

  /** For `/state`. */
  watchState(): ReflectorState | undefined {
    return this.#connection?.reflector.state();
  }

  /** Watch the services that the Link selects, by this access. Nothing happens where that is being done already. */
  connect(link: Link, access: Access): void {
    const selector = gatewaySelector(link.spec);
    const query = selectorQuery(selector);
    const fingerprint = `${access.fingerprint} ${query}`;
    if (this.#connection?.fingerprint === fingerprint) return;
    this.#close();
    const { clock, random } = this.#options;
    const log = this.#options.log.child({ link: link.metadata.name, cluster: this.cluster });
    const client = this.#options.connect(this.cluster, access.credentials);
    const reflector = new Reflector<Service>({
      client,
      resource: SERVICES,
      labelSelector: query,
      sink: this.services,
      // A target is not trusted: what it was not asked for, or cannot be an API server's word, goes no further.
      transform: (sent) => {
        const service = readRemoteService(sent, this.cluster);
        const wanted = hasValidName(service) && matchesSelector(selector, service.metadata.labels);
        return wanted ? service : undefined;
      },
      clock,
      random,
      log,
    });
    const stop = new AbortController();
    const connection = { fingerprint, client, reflector, stop };
    this.#connection = connection;
    this.#become(CONNECTING);
    reflector.onStateChange(() => {
      if (this.#connection === connection) this.#follow(reflector);
    });
    this.#ended = Promise.all([this.#ended, reflector.run(stop.signal).then(() => client.close())]);
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

  #follow(reflector: Reflector<Service>): void {
    if (reflector.error !== undefined) this.#become(failedState(reflector.error));
    else if (reflector.isSynced) {
      this.#listedAt ??= this.#options.clock.monotonic();
      this.#become(CONNECTED);
    }
  }

  #become(state: ConnectionState): void {
    this.#state = state;
    this.#options.onState();
  }

  #close(): void {
    this.#connection?.stop.abort(new Error(`the connection to cluster ${this.cluster} is no longer wanted`));
    this.#connection = undefined;
  }
}

interface Connection {
  fingerprint: string;
  client: KubeClient;
  reflector: Reflector<Service>;
  stop: AbortController;
}

/** Where the mirror of a service of a cluster is: `namespace/name`. */
export function mirrorKey(service: Service, cluster: string): string {
  return `${service.metadata.namespace}/${mirrorName(service.metadata.name, cluster)}`;
}

function hasValidName(service: Service): boolean {
  return isDnsLabel(service.metadata.name) && isDnsLabel(service.metadata.namespace ?? "");
}
