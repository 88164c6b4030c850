import {
  GATEWAY_IDENTITY_ANNOTATION,
  GATEWAY_PORT_NAME,
  type GatewayReference,
  PROBE_PORT_NAME,
} from "../../../contract/index.ts";
import type { KubeClient } from "../../kube/client.ts";
import type { Clock } from "../../kube/clock.ts";
import type { Log } from "../../kube/log.ts";
import type { Service } from "../../kube/objects.ts";
import { Reflector } from "../../kube/reflector.ts";
import { SERVICES } from "../../kube/resource.ts";
import { Store } from "../../kube/store.ts";
import { gatewayKey } from "./choice.ts";
import { MAX_ADDRESSES } from "./gateway-service.ts";

/** Most gateways of one target: each is a watch of its own. */
export const MAX_GATEWAYS = 16;

/**
 * What is known of a gateway's Service: nothing yet, that the target has so many that this one is not looked at, that there
 * is none, or the Service.
 */
export type FoundService = "unknown" | "too many" | undefined | Service;

export interface GatewayServicesOptions {
  clock: Clock;
  random: () => number;
  log: Log;
  /** What is known of one of them changed, or other ones are wanted. */
  onChange: () => void;
}

interface Followed {
  ref: GatewayReference;
  store: Store<Service>;
  /** A complete answer came once, over whatever connection. */
  known: boolean;
  stop: AbortController | undefined;
}

/**
 * The gateway Services of one target that somebody wants to know of, each with a watch of its own. What is known outlives
 * the connection that it came by.
 */
export class GatewayServices {
  readonly #options: GatewayServicesOptions;
  readonly #followed = new Map<string, Followed>();
  #wanted: readonly GatewayReference[] = [];
  #connection: { client: KubeClient; signal: AbortSignal; running: Set<Promise<void>> } | undefined;

  constructor(options: GatewayServicesOptions) {
    this.#options = options;
  }

  /** All that are wanted, the first ones first; those beyond the limit too. */
  get wanted(): readonly GatewayReference[] {
    return this.#wanted;
  }

  /**
   * Follow these and no others, the most important first. Those that are followed already stay rather than make room for
   * others, unless they are wanted no longer.
   */
  want(refs: readonly GatewayReference[]): void {
    const wanted = new Map(refs.map((ref) => [gatewayKey(ref), ref]));
    const before = this.#wanted.map(gatewayKey).join();
    this.#wanted = [...wanted.values()];
    const [first] = wanted.keys();
    for (const [key, { stop }] of this.#followed) {
      if (wanted.has(key)) continue;
      stop?.abort(new Error(`the gateway ${key} is wanted no longer`));
      this.#followed.delete(key);
    }
    for (const [key, ref] of wanted) {
      if (this.#followed.has(key)) continue;
      // The Link's own comes first, and has a place whatever services chose before.
      if (this.#followed.size < MAX_GATEWAYS || key === first) this.#follow(key, ref);
    }
    if ([...wanted.keys()].join() !== before) this.#options.onChange();
  }

  /** What is known of a gateway; nothing, where it is not wanted. */
  of(ref: GatewayReference): FoundService {
    const key = gatewayKey(ref);
    const followed = this.#followed.get(key);
    if (followed === undefined) return this.#followed.size < MAX_GATEWAYS ? "unknown" : "too many";
    return followed.known ? followed.store.get(key) : "unknown";
  }

  /** Watch them over one connection, until `signal` is aborted; then nothing is under way any more. */
  async run(client: KubeClient, signal: AbortSignal): Promise<void> {
    const connection = { client, signal, running: new Set<Promise<void>>() };
    this.#connection = connection;
    for (const followed of this.#followed.values()) this.#watch(followed);
    await new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      else signal.addEventListener("abort", () => resolve(), { once: true });
    });
    if (this.#connection === connection) this.#connection = undefined;
    await Promise.all(connection.running);
  }

  #follow(key: string, ref: GatewayReference): void {
    const store = new Store<Service>({ capacity: 1 });
    const followed: Followed = { ref, store, known: false, stop: undefined };
    this.#followed.set(key, followed);
    store.onChange(() => {
      if (followed.known) this.#options.onChange();
    });
    this.#watch(followed);
  }

  #watch(followed: Followed): void {
    const connection = this.#connection;
    if (connection === undefined || connection.signal.aborted) return;
    const { clock, random, log } = this.#options;
    const { namespace, name } = followed.ref;
    const reflector = new Reflector<Service>({
      client: connection.client,
      resource: SERVICES,
      namespace,
      fieldSelector: `metadata.name=${name}`,
      sink: followed.store,
      // A target is not trusted: it is asked for one object, and may answer anything.
      transform: (service) =>
        service.metadata.name === name && service.metadata.namespace === namespace
          ? trimmed(service)
          : undefined,
      clock,
      random,
      log,
    });
    reflector.onStateChange(() => {
      if (!reflector.isSynced || followed.known) return;
      followed.known = true;
      this.#options.onChange();
    });
    followed.stop?.abort(new Error("there is another connection"));
    const stop = new AbortController();
    followed.stop = stop;
    const running: Promise<void> = reflector
      .run(AbortSignal.any([connection.signal, stop.signal]))
      .finally(() => connection.running.delete(running));
    connection.running.add(running);
  }
}

/** Only what says how the gateway is reached. */
function trimmed(service: Service): Service {
  const { namespace, name, uid, resourceVersion, annotations } = service.metadata;
  const { type, ports, externalIPs } = service.spec ?? {};
  const identity = annotations?.[GATEWAY_IDENTITY_ANNOTATION];
  const ingress = service.status?.loadBalancer?.ingress;
  return {
    apiVersion: service.apiVersion,
    kind: service.kind,
    metadata: {
      name,
      ...(namespace && { namespace }),
      ...(uid && { uid }),
      ...(resourceVersion && { resourceVersion }),
      ...(identity === undefined
        ? {}
        : { annotations: { [GATEWAY_IDENTITY_ANNOTATION]: identity.slice(0, 254) } }),
    },
    spec: {
      ...(type && { type }),
      ports: (ports ?? []).filter(({ name }) => name === GATEWAY_PORT_NAME || name === PROBE_PORT_NAME),
      // One more than is allowed, so that it shows that there are too many.
      ...(externalIPs && { externalIPs: externalIPs.slice(0, MAX_ADDRESSES + 1).map(String) }),
    },
    status: {
      loadBalancer: { ...(ingress && { ingress: ingress.slice(0, MAX_ADDRESSES + 1).map(pointOf) }) },
    },
  };
}

/** Throws on what is no object: then the whole answer counts for nothing. */
function pointOf({ ip, hostname }: { ip?: string; hostname?: string }): { ip?: string; hostname?: string } {
  return { ...(ip && { ip: String(ip) }), ...(hostname && { hostname: String(hostname) }) };
}
