import { subscribe } from "node:diagnostics_channel";
import type { EventEmitter } from "node:events";
import { DecoratorHandler, type Dispatcher, Pool } from "undici";
import type { Fence } from "./calls.ts";
import type { Credentials } from "./credentials.ts";
import { type CallSite, FencedError, UNREACHABLE_REASON, UnreachableError } from "./errors.ts";
import { explainFailure } from "./unreachable.ts";

const CONNECT_TIMEOUT_MS = 10_000;
/** A connection that died without a word is noticed by the kernel after this and a few probes. */
const TCP_KEEPALIVE_MS = 15_000;

/**
 * When the answer to a call begins just after the call was given up, Node makes a stream for it that nobody asked for and
 * nobody listens to. The error that it emits when its connection breaks would end the process. The channel is the
 * process's, so where this module is loaded several times, as Jest does, one listener is enough.
 */
subscribe("http2.client.stream.created", (message) => {
  const { stream } = message as { stream: EventEmitter };
  if (stream.listenerCount("error") === 0) stream.on("error", () => undefined);
});

export interface TransportOptions {
  cluster: string;
  credentials: Credentials;
  userAgent: string;
  maxResponseBytes: number;
  connections: number;
}

export interface Call {
  method: string;
  /** Path and query, without what stands before `/api` in the server's URL. */
  path: string;
  headers?: Record<string, string>;
  body?: string | undefined;
  signal?: AbortSignal | undefined;
  fence?: Fence | undefined;
  /** How long the server may take to begin its answer. */
  headersTimeoutMs: number;
  /** How long it may then say nothing in the middle of it; 0 is for ever. */
  silenceMs: number;
  /** How long it may take from the beginning of its answer to the end. @default for ever */
  bodyTimeoutMs?: number | undefined;
}

export interface Answer {
  status: number;
  headers: Dispatcher.ResponseData["headers"];
  body: AsyncIterable<Buffer>;
}

/** What carries the calls to one API server under one set of credentials. */
export interface Carrier {
  /** Aborted when other credentials have taken over: watches then move, calls under way finish here. */
  readonly retired: AbortSignal;
  /**
   * Send a call and wait for the beginning of its answer, whatever its status. The body must be read to its end or its
   * iteration be left. Throws `UnreachableError`, or the reason of `call.signal`.
   */
  send(call: Call): Promise<Answer>;
  /** Let what is under way finish, except watches, then close. */
  retire(): Promise<void>;
  /** Close now; calls under way fail. */
  destroy(): Promise<void>;
}

/**
 * The connections to one API server under one set of credentials. A server that speaks HTTP/2, as all API servers do,
 * gets a single connection for everything, watches included; behind a proxy that does not, a bounded number.
 */
export class Transport implements Carrier {
  readonly #cluster: string;
  readonly #credentials: Credentials;
  readonly #userAgent: string;
  readonly #pool: Pool;
  /** The pool for calls that may still be called off while they wait in it. */
  readonly #writes: Dispatcher;
  readonly #host: string;
  readonly #prefix: string;
  readonly #retired = new AbortController();

  constructor(options: TransportOptions) {
    this.#cluster = options.cluster;
    this.#credentials = options.credentials;
    this.#userAgent = options.userAgent;
    const url = new URL(options.credentials.server);
    this.#host = url.host;
    this.#prefix = url.pathname.replace(/\/+$/, "");
    this.#pool = new Pool(url.origin, {
      allowH2: true,
      connections: options.connections,
      connectTimeout: CONNECT_TIMEOUT_MS,
      keepAliveTimeout: 60_000,
      connect: {
        ...options.credentials.tls,
        preferH2: true,
        keepAlive: true,
        keepAliveInitialDelay: TCP_KEEPALIVE_MS,
      },
    });
    this.#writes = this.#pool.compose(callableOff);
  }

  get retired(): AbortSignal {
    return this.#retired.signal;
  }

  async send(call: Call): Promise<Answer> {
    const site: CallSite = { cluster: this.#cluster, method: call.method, path: call.path };
    const guard = new Guard(call.signal);
    try {
      // undici's own limit ends only this call and asks a silent connection for a sign of life; ours also covers the
      // time spent waiting for a connection.
      guard.limit(CONNECT_TIMEOUT_MS + call.headersTimeoutMs);
      const authentication = await this.#authentication(site, guard.signal);
      const response = await this.#request(call, guard, {
        method: call.method as Dispatcher.HttpMethod,
        path: this.#prefix + call.path,
        headers: {
          accept: "application/json",
          "user-agent": this.#userAgent,
          ...call.headers,
          ...authentication,
        },
        body: call.body ?? null,
        bodyTimeout: call.silenceMs,
      });
      guard.limit(call.bodyTimeoutMs);
      return {
        status: response.statusCode,
        headers: response.headers,
        body: this.#read(response.body, guard, site),
      };
    } catch (error) {
      guard.release();
      throw this.#failure(error, guard, site);
    }
  }

  /**
   * A call with a body that is being sent is given up without telling undici: Node 22 loops for ever, in native code, over
   * an HTTP/2 stream that is closed while some of its body still waits to be sent. Its answer, should one come, is thrown
   * away. One that still waits for a connection is never sent: nobody could say any more whether it should be.
   */
  async #request(
    call: Call,
    guard: Guard,
    options: Dispatcher.RequestOptions,
  ): Promise<Dispatcher.ResponseData> {
    if (call.body === undefined) {
      return await this.#pool.request({
        ...options,
        signal: guard.signal,
        headersTimeout: call.headersTimeoutMs,
      });
    }
    const fenced: FencedOptions = {
      ...options,
      headersTimeout: 0,
      beforeSending: () => {
        guard.signal.throwIfAborted();
        call.fence?.();
      },
    };
    const exchange = this.#writes.request(fenced);
    const response = await guard.race(exchange, (late) => late.body.destroy());
    guard.onAbort(() => response.body.destroy(guard.signal.reason));
    return response;
  }

  async retire(): Promise<void> {
    this.#retired.abort();
    await this.#pool.close();
  }

  async destroy(): Promise<void> {
    this.#retired.abort();
    await this.#pool.destroy();
  }

  async #authentication(site: CallSite, signal: AbortSignal): Promise<Record<string, string>> {
    try {
      return await this.#credentials.headers(signal);
    } catch (error) {
      signal.throwIfAborted();
      const detail = error instanceof Error ? error.message : String(error);
      throw new UnreachableError(site, UNREACHABLE_REASON.credentials, detail, error);
    }
  }

  async *#read(body: AsyncIterable<Buffer>, guard: Guard, site: CallSite): AsyncGenerator<Buffer> {
    try {
      yield* body;
    } catch (error) {
      throw this.#failure(error, guard, site);
    } finally {
      guard.release();
    }
  }

  #failure(error: unknown, guard: Guard, site: CallSite): unknown {
    if (error instanceof UnreachableError || error instanceof FencedError) return error;
    if (guard.expired) {
      return new UnreachableError(
        site,
        UNREACHABLE_REASON.timeout,
        `no answer from ${this.#host} in time`,
        error,
      );
    }
    if (guard.signal.aborted) return guard.signal.reason;
    const { reason, detail } = explainFailure(error, this.#host);
    return new UnreachableError(site, reason, detail, error);
  }
}

interface FencedOptions extends Dispatcher.RequestOptions {
  /** What it throws, the call rejects with, unsent. */
  beforeSending: () => void;
}

/** Ask `beforeSending` of each call when undici has a connection for it and is about to write its first byte. */
const callableOff: Dispatcher.DispatcherComposeInterceptor = (dispatch) => (options, handler) =>
  dispatch(options, new LastLook(handler, (options as unknown as FencedOptions).beforeSending));

class LastLook extends DecoratorHandler {
  readonly #handler: Dispatcher.DispatchHandler;
  readonly #look: () => void;

  constructor(handler: Dispatcher.DispatchHandler, look: () => void) {
    super(handler);
    this.#handler = handler;
    this.#look = look;
  }

  onRequestStart(controller: Dispatcher.DispatchController, context: unknown): void {
    this.#look();
    this.#handler.onRequestStart?.(controller, context);
  }
}

/**
 * One call's own signal: follows its caller's, and a time limit that can be set anew. `AbortSignal.any` would leave
 * something behind on a signal that lives as long as the process, for every call.
 */
class Guard {
  readonly #controller = new AbortController();
  readonly #parent: AbortSignal | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** The limit has passed. */
  expired = false;

  constructor(parent: AbortSignal | undefined) {
    this.#parent = parent;
    if (parent?.aborted) this.#follow();
    else parent?.addEventListener("abort", this.#follow, { once: true });
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  limit(ms: number | undefined): void {
    clearTimeout(this.#timer);
    if (ms === undefined) return;
    this.#timer = setTimeout(() => {
      this.expired = true;
      this.#controller.abort();
    }, ms);
  }

  /** What `pending` comes to, or the signal's reason when that is aborted first: `abandon` then gets what comes late. */
  async race<T>(pending: Promise<T>, abandon: (late: T) => void): Promise<T> {
    return await new Promise<T>((resolve, reject) => {
      this.onAbort(() => {
        reject(this.signal.reason);
        pending.then(abandon, () => undefined);
      });
      pending.then(resolve, reject);
    });
  }

  /** Call `listener` when the signal is aborted; at once if it is. */
  onAbort(listener: () => void): void {
    if (this.signal.aborted) listener();
    else this.signal.addEventListener("abort", listener, { once: true });
  }

  release(): void {
    clearTimeout(this.#timer);
    this.#parent?.removeEventListener("abort", this.#follow);
  }

  readonly #follow = () => this.#controller.abort(this.#parent?.reason);
}
