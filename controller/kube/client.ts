import { checkList, checkObject, readAnswer } from "./answer.ts";
import type {
  ApplyOptions,
  CallOptions,
  DeleteOptions,
  ListQuery,
  PatchOptions,
  RequestOptions,
  WatchQuery,
  WriteOptions,
} from "./calls.ts";
import type { Credentials } from "./credentials.ts";
import type { KubeList, KubeObject, ObjectRef } from "./objects.ts";
import { type Place, path, queryString, type Resource } from "./resource.ts";
import { Throttle } from "./throttle.ts";
import { type Answer, type Carrier, Transport, type TransportOptions } from "./transport.ts";
import { readWatch, type WatchEvent } from "./watch.ts";

export type * from "./calls.ts";
export type { WatchEvent };

export interface KubeClientOptions {
  /** Name of the cluster, as the mesh calls it: for errors. */
  cluster: string;
  credentials: Credentials;
  /** @default "isthmus-controller" */
  userAgent?: string;
  /** Most bytes taken of one answer, and of one watch event. @default 64 MiB */
  maxResponseBytes?: number;
  /** Most connections at a time, where the server speaks HTTP/1.1 only; with HTTP/2 there is one. @default 16 */
  connections?: number;
  /** Finds how many writes at a time the server takes. @default one of its own */
  throttle?: Throttle;
  /** Makes what carries the calls, anew for each set of credentials. @default connections over the network */
  transport?: (options: TransportOptions) => Carrier;
}

const CALL_TIMEOUT_MS = 30_000;

const PATCH_TYPE = {
  merge: "application/merge-patch+json",
  json: "application/json-patch+json",
  strategic: "application/strategic-merge-patch+json",
} as const;

/**
 * One API server. Every method throws `KubeError` when the server answers with an error, `UnreachableError` when there is
 * no usable answer, and the signal's reason when it was aborted. Nothing is retried here: those who call know when to.
 */
export class KubeClient {
  readonly cluster: string;
  readonly #options: Required<Omit<KubeClientOptions, "throttle" | "credentials" | "transport">>;
  readonly #throttle: Throttle;
  readonly #makeTransport: (options: TransportOptions) => Carrier;
  #transport: Carrier;
  #server: string;
  readonly #swapListeners = new Set<() => void>();

  constructor(options: KubeClientOptions) {
    const { credentials, throttle, transport, ...rest } = options;
    this.cluster = options.cluster;
    this.#options = {
      userAgent: "isthmus-controller",
      maxResponseBytes: 64 * 1024 * 1024,
      connections: 16,
      ...rest,
    };
    this.#throttle = throttle ?? new Throttle();
    this.#makeTransport = transport ?? ((each) => new Transport(each));
    this.#transport = this.#makeTransport({ ...this.#options, credentials });
    this.#server = credentials.server;
  }

  /** How many writes at a time the server is given now. */
  get throttle(): Throttle {
    return this.#throttle;
  }

  /** URL of the API server. */
  get server(): string {
    return this.#server;
  }

  async get<T extends KubeObject>(resource: Resource<T>, ref: ObjectRef, options?: CallOptions): Promise<T> {
    const url = path(resource, ref);
    return checkObject(await this.request("GET", url, options), resource, this.#site("GET", url));
  }

  /** One page of a list. Its items carry `apiVersion` and `kind`, which servers leave out there. */
  async list<T extends KubeObject>(
    resource: Resource<T>,
    query: ListQuery = {},
    options?: CallOptions,
  ): Promise<KubeList<T>> {
    const { namespace, ...rest } = query;
    const url = path(resource, { namespace });
    const answer = await this.request("GET", url, { ...options, query: rest });
    return checkList(answer, resource, this.#site("GET", url));
  }

  async create<T extends KubeObject>(
    resource: Resource<T>,
    object: T,
    options: WriteOptions = {},
  ): Promise<T> {
    const { name, namespace } = object.metadata;
    const where = options.subresource === undefined ? { namespace } : { namespace, name };
    return await this.#write("POST", resource, where, object, options);
  }

  /** Replace an object; with its `metadata.resourceVersion`, only that version of it. */
  async update<T extends KubeObject>(
    resource: Resource<T>,
    object: T,
    options: WriteOptions = {},
  ): Promise<T> {
    return await this.#write("PUT", resource, object.metadata, object, options);
  }

  /** Server-side apply: these fields shall be so, and those applied before and not now shall go. */
  async apply<T extends KubeObject>(resource: Resource<T>, object: T, options: ApplyOptions): Promise<T> {
    // JSON is YAML.
    const contentType = "application/apply-patch+yaml";
    const { force } = options;
    return await this.#write("PATCH", resource, object.metadata, object, options, { contentType, force });
  }

  async patch<T extends KubeObject>(
    resource: Resource<T>,
    ref: ObjectRef,
    body: unknown,
    options: PatchOptions,
  ): Promise<T> {
    const contentType = PATCH_TYPE[options.type];
    return await this.#write("PATCH", resource, ref, body, options, { contentType });
  }

  async delete(resource: Resource, ref: ObjectRef, options: DeleteOptions = {}): Promise<void> {
    const { preconditions, propagationPolicy, dryRun, ...call } = options;
    await this.request("DELETE", path(resource, ref), {
      ...call,
      body: {
        apiVersion: "v1",
        kind: "DeleteOptions",
        preconditions,
        propagationPolicy,
        ...(dryRun && { dryRun: ["All"] }),
      },
    });
  }

  /**
   * What changes after `resourceVersion`. Ends when the server ends the watch, when the credentials were swapped, and when
   * nothing came for `idleTimeoutMs`: then watch again from the last resourceVersion seen.
   *
   * Silence is no failure. An API server sends no bookmark that says no more than the last one, and has no more to say
   * where nothing changes and etcd does not tell it how far it is (`--watch-progress-notify-interval`). Whether the server
   * is still there shows when it is asked again.
   */
  async *watch<T extends KubeObject>(
    resource: Resource<T>,
    query: WatchQuery,
    signal: AbortSignal,
  ): AsyncGenerator<WatchEvent<T>> {
    const { namespace, idleTimeoutMs = 0, onOpen, ...rest } = query;
    const url =
      path(resource, { namespace }) + queryString({ ...rest, watch: true, allowWatchBookmarks: true });
    const transport = this.#transport;
    const own = new AbortController();
    const stop = () => own.abort(signal.reason);
    if (signal.aborted) stop();
    for (const each of [signal, transport.retired]) each.addEventListener("abort", stop);
    try {
      const site = this.#site("GET", url);
      const answer = await transport.send({
        method: "GET",
        path: url,
        signal: own.signal,
        headersTimeoutMs: CALL_TIMEOUT_MS,
        silenceMs: idleTimeoutMs,
      });
      if (answer.status !== 200) await readAnswer(answer, site, this.#options.maxResponseBytes);
      onOpen?.();
      yield* readWatch<T>(answer.body, site, this.#options.maxResponseBytes);
    } catch (error) {
      if (signal.aborted || !transport.retired.aborted) throw error;
    } finally {
      for (const each of [signal, transport.retired]) each.removeEventListener("abort", stop);
      own.abort();
    }
  }

  /** Any other call, its answer parsed as JSON. Methods other than GET are writes: the throttle may hold them back. */
  async request(method: string, url: string, options: RequestOptions = {}): Promise<unknown> {
    const { query, body, contentType = "application/json", accept } = options;
    const { urgent, unthrottled, signal, fence, timeoutMs = CALL_TIMEOUT_MS } = options;
    const full = url + queryString(query ?? {});
    const exchange = async () => {
      const answer: Answer = await this.#transport.send({
        method,
        path: full,
        headers: {
          ...(accept !== undefined && { accept }),
          ...(body !== undefined && { "content-type": contentType }),
        },
        ...(body !== undefined && { body: JSON.stringify(body) }),
        signal,
        fence,
        headersTimeoutMs: timeoutMs,
        silenceMs: timeoutMs,
        bodyTimeoutMs: timeoutMs,
      });
      return await readAnswer(answer, this.#site(method, full), this.#options.maxResponseBytes);
    };
    if (method === "GET" || unthrottled) return await exchange();
    return await this.#throttle.run(exchange, { urgent, signal });
  }

  /**
   * Use other credentials from now on, perhaps for another server. Calls under way finish with the old ones, open watches
   * end, then the old connections close.
   */
  swapCredentials(credentials: Credentials): void {
    const old = this.#transport;
    this.#transport = this.#makeTransport({ ...this.#options, credentials });
    this.#server = credentials.server;
    void old.retire();
    for (const listener of this.#swapListeners) listener();
  }

  /** Call `listener` after other credentials were given. The function returned ends that. */
  onSwap(listener: () => void): () => void {
    this.#swapListeners.add(listener);
    return () => this.#swapListeners.delete(listener);
  }

  /** Close the connections; calls and watches under way fail. */
  async close(): Promise<void> {
    await this.#transport.destroy();
  }

  async #write<T extends KubeObject>(
    method: string,
    resource: Resource<T>,
    where: Place,
    body: unknown,
    options: WriteOptions,
    more: { contentType?: string; force?: boolean | undefined } = {},
  ): Promise<T> {
    const { fieldManager, dryRun, subresource, ...call } = options;
    const { contentType, force } = more;
    const url = path(resource, { ...where, subresource });
    const answer = await this.request(method, url, {
      signal: call.signal,
      timeoutMs: call.timeoutMs,
      urgent: call.urgent,
      unthrottled: call.unthrottled,
      fence: call.fence,
      query: { fieldManager, force: force || undefined, dryRun: dryRun ? "All" : undefined },
      body,
      ...(contentType !== undefined && { contentType }),
    });
    return checkObject(answer, resource, this.#site(method, url));
  }

  #site(method: string, url: string): { cluster: string; method: string; path: string } {
    return { cluster: this.cluster, method, path: url };
  }
}
