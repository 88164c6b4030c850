import { createHash } from "node:crypto";
import type { Link } from "../../../contract/index.ts";
import { backoffMs } from "../../kube/backoff.ts";
import type { KubeClient } from "../../kube/client.ts";
import type { Clock } from "../../kube/clock.ts";
import type { Credentials } from "../../kube/credentials.ts";
import { retryAfterMs } from "../../kube/errors.ts";
import type { Log } from "../../kube/log.ts";
import type { EndpointSlice, KubeObject } from "../../kube/objects.ts";
import { Reflector, type ReflectorState, type Sink } from "../../kube/reflector.ts";
import { ENDPOINT_SLICES, type Resource, SERVICES } from "../../kube/resource.ts";
import type { Union } from "../../kube/union.ts";
import { CONNECTED, CONNECTING, failedState } from "../connection-state.ts";
import { matchesSelector, queriesOf, type Selectors } from "../selector.ts";
import type { ConnectionState } from "../status.ts";
import { type ExportedService, trimmedService, trimmedSlice } from "./trim.ts";

/** Makes the client by which a target is asked. */
export type Connect = (cluster: string, credentials: Credentials) => KubeClient;

/** A way to reach the target, told from others by its fingerprint. */
export interface Access {
  credentials: Credentials;
  fingerprint: string;
}

export interface ConnectionOptions {
  cluster: string;
  selectors: Selectors;
  client: KubeClient;
  services: Union<ExportedService>;
  slices: Union<EndpointSlice>;
  clock: Clock;
  random: () => number;
  log: Log;
  /** `state` or `listed` changed. */
  onState: () => void;
}

/** A watch that is open does not show that the credentials have been revoked: so often a small question is asked. */
const HEARTBEAT_MS = 15_000;
/** The pauses after questions that were not answered well: what was wrong may soon be over. */
const HEARTBEAT_BACKOFF = { baseMs: 1_000, capMs: HEARTBEAT_MS };

/**
 * The watches on one target under one set of selectors: its exported Services, and their slices, which say whether anybody
 * is there and who the pods of headless services are.
 */
export class Connection {
  readonly #options: ConnectionOptions;
  readonly #reflectors: Reflector<KubeObject>[];
  readonly #query: string;
  readonly #stop = new AbortController();
  readonly #ended: Promise<unknown>;
  /** Ends the pause before a heartbeat, or the heartbeat itself; once it is aborted, the next one has none before it. */
  #pause = new AbortController();
  #heartbeatError: unknown;
  /** Those that have no watch, and wait longer and longer between two tries. */
  readonly #failing = new Set<Reflector<KubeObject>>();

  constructor(options: ConnectionOptions) {
    this.#options = options;
    const { selectors, services, slices, client } = options;
    const wanted = [selectors.gateway, selectors.remoteDiscovery, selectors.federated];
    // What was not asked for goes no further, nor what no API server would send: a target is not trusted.
    const ifChosen = <T extends KubeObject>(sent: T, kept: T | undefined) =>
      wanted.some((selector) => matchesSelector(selector, sent.metadata.labels ?? {})) ? kept : undefined;
    const queries = queriesOf(wanted);
    const sliceQueries = queriesOf([selectors.gateway, selectors.federated]);
    const sinks = services.begin(queries.length);
    const sliceSinks = slices.begin(sliceQueries.length);
    this.#query = queries[0] ?? "";
    this.#reflectors = [
      ...queries.map((query, index) =>
        this.#reflector(SERVICES as Resource<ExportedService>, query, sinks[index]!, (service) =>
          ifChosen(service, trimmedService(service, options.cluster)),
        ),
      ),
      ...sliceQueries.map((query, index) =>
        this.#reflector(ENDPOINT_SLICES, query, sliceSinks[index]!, (slice) =>
          ifChosen(slice, trimmedSlice(slice, options.cluster)),
        ),
      ),
    ];
    for (const reflector of this.#reflectors) reflector.onStateChange(() => this.#changed(reflector));
    this.#ended = Promise.all([
      ...this.#reflectors.map((reflector) => reflector.run(this.#stop.signal)),
      this.#beat(),
    ]).then(() => client.close());
  }

  get client(): KubeClient {
    return this.#options.client;
  }

  /** Aborted when the connection is no longer wanted. */
  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  /** Whether all that was asked for is completely known. */
  get listed(): boolean {
    return this.#reflectors.every(({ isSynced }) => isSynced);
  }

  get state(): ConnectionState {
    const error =
      this.#heartbeatError ?? this.#reflectors.find((reflector) => reflector.error !== undefined)?.error;
    if (error !== undefined) return failedState(error, this.#options.selectors);
    return this.listed ? CONNECTED : CONNECTING;
  }

  /** For `/state`. */
  watches(): ReflectorState[] {
    return this.#reflectors.map((reflector) => reflector.state());
  }

  /** Go on with other credentials for the same server: nothing is listed again. */
  swap(credentials: Credentials): void {
    this.client.swapCredentials(credentials);
    this.#pause.abort();
  }

  /** End it; resolves when it is closed. */
  async close(): Promise<void> {
    this.#stop.abort(new Error(`the connection to cluster ${this.#options.cluster} is no longer wanted`));
    this.#pause.abort();
    await this.#ended;
  }

  #reflector<T extends KubeObject>(
    resource: Resource<T>,
    labelSelector: string,
    sink: Sink<T>,
    transform: (object: T) => T | undefined,
  ): Reflector<KubeObject> {
    const { client, clock, random, log } = this.#options;
    const reflector = new Reflector<T>({
      client,
      resource,
      labelSelector,
      sink,
      transform,
      clock,
      random,
      log,
    });
    return reflector as unknown as Reflector<KubeObject>;
  }

  #changed(reflector: Reflector<KubeObject>): void {
    if (reflector.error !== undefined) this.#failing.add(reflector);
    else if (this.#failing.delete(reflector)) this.#answers();
    this.#options.onState();
  }

  /** The target answers one again: the others need not wait to find out, but for those that it has told how long to wait. */
  #answers(): void {
    const isWorthATry = (error: unknown) => error !== undefined && retryAfterMs(error) === undefined;
    for (const reflector of this.#failing) if (isWorthATry(reflector.error)) reflector.retryNow();
    if (this.#failing.size === 0 && isWorthATry(this.#heartbeatError)) this.#pause.abort();
  }

  async #beat(): Promise<void> {
    const { client, clock, random, onState } = this.#options;
    for (let failures = 0; ; ) {
      const pauseMs =
        failures === 0
          ? HEARTBEAT_MS * (1 + random() / 5)
          : Math.max(
              retryAfterMs(this.#heartbeatError) ?? 0,
              backoffMs(failures, { ...HEARTBEAT_BACKOFF, random }),
            );
      await clock.sleep(pauseMs, this.#pause.signal);
      if (this.#stop.signal.aborted) return;
      this.#pause = new AbortController();
      const { signal } = this.#pause;
      const before = this.#heartbeatError;
      try {
        await client.list(SERVICES, { labelSelector: this.#query, limit: 1 }, { signal });
        failures = 0;
        this.#heartbeatError = undefined;
        if (before !== undefined) this.#answers();
      } catch (error) {
        // What becomes of the former credentials is of no interest any more.
        if (signal.aborted) continue;
        failures++;
        this.#heartbeatError = error;
      }
      if (String(before) !== String(this.#heartbeatError)) onState();
    }
  }
}

/** What tells one connection from another: a change of anything in it starts a new one, with new lists. */
export function connectionFingerprint(
  link: Link,
  selectors: Selectors,
  { server, tls }: Credentials,
): string {
  const { targetClusterName } = link.spec;
  const text = JSON.stringify([targetClusterName, selectors, server, tls.ca, tls.servername]);
  return createHash("sha256").update(text).digest("hex");
}
