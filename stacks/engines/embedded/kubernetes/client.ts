/** Talking to one API server, with whatever credentials its kubeconfig names. */
import * as http from "node:http";
import * as https from "node:https";
import { homedir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { KubeConfig } from "@kubernetes/client-node";
import { ApiError, Unreachable } from "./errors.ts";

export interface KubeObject {
  apiVersion?: string;
  kind?: string;
  metadata?: {
    name?: string;
    namespace?: string;
    uid?: string;
    resourceVersion?: string;
    generation?: number;
    deletionTimestamp?: string;
    finalizers?: string[];
    annotations?: Record<string, string>;
    managedFields?: ManagedFields[];
    [key: string]: unknown;
  };
  [key: string]: unknown;
}

export interface ManagedFields {
  manager?: string;
  operation?: string;
  subresource?: string;
  fieldsV1?: Record<string, unknown>;
}

export interface Request {
  method: "GET" | "PATCH" | "DELETE";
  path: string;
  query?: Record<string, string>;
  body?: unknown;
  signal?: AbortSignal;
}

/** Milliseconds without a byte after which a request counts as lost. */
const SILENCE = 60_000;
const ATTEMPTS = 5;

export class Client {
  /** What users call the cluster: the context's name. */
  readonly name: string;
  readonly server: string;
  /** The namespace of objects that name none. */
  readonly namespace: string;
  readonly #config: KubeConfig;
  readonly #agent: http.Agent;

  /**
   * @param kubeconfig A file's path or a kubeconfig itself. Empty: KUBECONFIG, then `~/.kube/config`, then the pod's own.
   * @throws Error naming the context that the kubeconfig lacks
   */
  constructor(kubeconfig: string, context: string, namespace: string) {
    const config = new KubeConfig();
    if (kubeconfig === "") config.loadFromDefault();
    else if (/[\n{]/.test(kubeconfig)) config.loadFromString(kubeconfig);
    else config.loadFromFile(kubeconfig.startsWith("~/") ? join(homedir(), kubeconfig.slice(2)) : kubeconfig);
    if (context !== "") config.setCurrentContext(context);
    const cluster = config.getCurrentCluster();
    if (cluster === null) {
      const known = config.getContexts().map((each) => each.name);
      throw new Error(
        `the kubeconfig has no context "${config.getCurrentContext()}" with a cluster; it has ${known.join(", ") || "none"}`,
      );
    }
    this.name = config.getCurrentContext();
    this.server = cluster.server.replace(/\/$/, "");
    this.namespace = namespace || config.getContextObject(this.name)?.namespace || "default";
    this.#config = config;
    const agentOptions = { keepAlive: true, keepAliveMsecs: 30_000 };
    this.#agent = this.server.startsWith("https:")
      ? new https.Agent(agentOptions)
      : new http.Agent(agentOptions);
  }

  /** @param onWarning is told the warnings that the API server sends along. @throws ApiError, Unreachable */
  async request(request: Request, onWarning?: (text: string) => void): Promise<KubeObject> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#once(request, onWarning);
      } catch (error) {
        const pause = attempt < ATTEMPTS ? pauseAfter(error, attempt) : undefined;
        if (pause === undefined) throw error;
        await delay(pause, undefined, { signal: request.signal });
      }
    }
  }

  async #once(request: Request, onWarning?: (text: string) => void): Promise<KubeObject> {
    const response = await this.#send(request);
    const text = await this.#text(response);
    for (const warning of warningsOf(response)) onWarning?.(warning);
    const status = response.statusCode ?? 0;
    if (status < 200 || status > 299) {
      throw new ApiError(status, text, this.name, Number(response.headers["retry-after"]) || undefined);
    }
    return JSON.parse(text) as KubeObject;
  }

  /** Events as the API server sends them, until it ends the stream or `signal` is aborted. @throws ApiError, Unreachable */
  async *watch(
    path: string,
    query: Record<string, string>,
    signal: AbortSignal,
  ): AsyncGenerator<{ type: string; object: KubeObject }> {
    const response = await this.#send({ method: "GET", path, query: { ...query, watch: "true" }, signal });
    if (response.statusCode !== 200) {
      throw new ApiError(response.statusCode ?? 0, await this.#text(response), this.name);
    }
    const lines = createInterface(response);
    const close = () => response.destroy();
    signal.addEventListener("abort", close, { once: true });
    // A stream that breaks, or is broken off, ends: whoever watches looks again. Without this the lines never would.
    response.on("error", () => lines.close());
    response.on("close", () => lines.close());
    try {
      for await (const line of lines) yield JSON.parse(line);
    } finally {
      signal.removeEventListener("abort", close);
      close();
    }
  }

  async #send({ method, path, query, body, signal }: Request): Promise<http.IncomingMessage> {
    const url = new URL(this.server + path);
    for (const [name, value] of Object.entries(query ?? {})) url.searchParams.set(name, value);
    const options: https.RequestOptions = {
      method,
      timeout: SILENCE,
      headers: { accept: "application/json" },
    };
    if (signal !== undefined) options.signal = signal;
    try {
      await this.#config.applyToHTTPSOptions(options);
    } catch (error) {
      throw new Unreachable(
        this.name,
        this.server,
        `its credentials cannot be had: ${(error as Error).message}`,
      );
    }
    if (this.#config.getCurrentCluster()?.proxyUrl === undefined) options.agent = this.#agent;
    const content = body === undefined ? undefined : JSON.stringify(body);
    if (content !== undefined) {
      const type = method === "PATCH" ? "application/apply-patch+yaml" : "application/json";
      options.headers = {
        ...options.headers,
        "content-type": type,
        "content-length": Buffer.byteLength(content),
      };
    }
    const send = url.protocol === "https:" ? https.request : http.request;
    return new Promise((resolve, reject) => {
      const outgoing = send(url, options, resolve);
      outgoing.on("error", (error: NodeJS.ErrnoException) => {
        if (signal?.aborted === true) reject(signal.reason);
        else
          reject(
            new Unreachable(this.name, this.server, error.message || (error.code ?? "no answer"), error.code),
          );
      });
      outgoing.on("timeout", () => outgoing.destroy(new Error(`no answer in ${SILENCE / 1000} s`)));
      outgoing.end(content);
    });
  }

  async #text(response: http.IncomingMessage): Promise<string> {
    try {
      const chunks: Buffer[] = [];
      for await (const chunk of response) chunks.push(chunk as Buffer);
      return Buffer.concat(chunks).toString("utf8");
    } catch (error) {
      throw new Unreachable(
        this.name,
        this.server,
        (error as Error).message,
        (error as NodeJS.ErrnoException).code,
      );
    }
  }
}

/** Every request here may be sent twice: applying, deleting and reading have the same effect the second time. */
function pauseAfter(error: unknown, attempt: number): number | undefined {
  if (error instanceof Unreachable) {
    return error.code === "ECONNRESET" || error.code === "EPIPE" ? 100 * attempt : undefined;
  }
  if (error instanceof ApiError && (error.status === 429 || error.status === 503 || error.status === 504)) {
    return (error.retryAfter ?? attempt) * 1000;
  }
  return undefined;
}

/** `299 - "text"`, several joined by commas. */
function warningsOf(response: http.IncomingMessage): string[] {
  const header = response.headers.warning;
  if (header === undefined) return [];
  return [...header.matchAll(/299 [^"]*"((?:[^"\\]|\\.)*)"/g)].map((match) =>
    (match[1] ?? "").replace(/\\(.)/g, "$1"),
  );
}
