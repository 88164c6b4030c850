/**
 * The least of an API server that the embedded engine's programs need: ConfigMaps and Namespaces by server-side apply, and
 * failures on request. Everything about how Kubernetes really behaves is tested against real API servers.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import type { KubeObject } from "../../stacks/engines/embedded/kubernetes/client.ts";

const KINDS = [
  { name: "configmaps", kind: "ConfigMap", namespaced: true },
  { name: "namespaces", kind: "Namespace", namespaced: false },
];

export interface Call {
  method: string;
  path: string;
  query: URLSearchParams;
  body: KubeObject | undefined;
}

/** What to answer instead; undefined: as usual. */
export type Answer = { status: number; body: object; headers?: Record<string, string> } | undefined;

export class StackApi {
  readonly objects = new Map<string, KubeObject>();
  readonly calls: Call[] = [];
  /** Called before each answer; it may hold it back, or give another one. */
  before: (call: Call) => Answer | Promise<Answer> = () => undefined;
  readonly #server: Server;
  #version = 0;

  static async start(): Promise<StackApi> {
    const api = new StackApi();
    await new Promise<void>((resolve) => api.#server.listen(0, "127.0.0.1", resolve));
    return api;
  }

  private constructor() {
    this.#server = createServer((request, response) => void this.#serve(request, response));
  }

  get kubeconfig(): string {
    const { port } = this.#server.address() as AddressInfo;
    return JSON.stringify({
      apiVersion: "v1",
      kind: "Config",
      clusters: [
        { name: "c", cluster: { server: `http://127.0.0.1:${port}`, "insecure-skip-tls-verify": true } },
      ],
      users: [{ name: "u", user: { token: "t" } }],
      contexts: [{ name: "east", context: { cluster: "c", user: "u" } }],
      "current-context": "east",
    });
  }

  /** Paths of the calls that write, dry runs left out: `PATCH /api/v1/…`. */
  get writes(): string[] {
    return this.calls
      .filter(({ method, query }) => method !== "GET" && !query.has("dryRun"))
      .map(({ method, path }) => `${method} ${path}`);
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "/", "http://localhost");
    const content = await text(request);
    const call: Call = {
      method: request.method ?? "",
      path: url.pathname,
      query: url.searchParams,
      body: content === "" ? undefined : JSON.parse(content),
    };
    this.calls.push(call);
    const answer = (await this.before(call)) ?? this.#answer(call);
    response.writeHead(answer.status, { "content-type": "application/json", ...answer.headers });
    response.end(JSON.stringify(answer.body));
  }

  #answer({ method, path, query, body }: Call): NonNullable<Answer> {
    if (path === "/api/v1") return { status: 200, body: { resources: KINDS } };
    const existing = this.objects.get(path);
    if (method === "PATCH") {
      const metadata = { uid: path, ...body?.metadata, resourceVersion: String(++this.#version) };
      const object = {
        ...existing,
        ...body,
        metadata,
        ...(body?.kind === "Namespace" && { status: { phase: "Active" } }),
      };
      if (!query.has("dryRun")) this.objects.set(path, object);
      return { status: 200, body: object };
    }
    if (existing === undefined) {
      return {
        status: 404,
        body: { kind: "Status", message: `${path} not found`, reason: "NotFound", details: {} },
      };
    }
    if (method === "DELETE") this.objects.delete(path);
    return { status: 200, body: existing };
  }
}
