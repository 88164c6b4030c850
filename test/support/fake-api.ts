import {
  createSecureServer,
  type Http2SecureServer,
  type Http2ServerRequest,
  type Http2ServerResponse,
} from "node:http2";
import { createServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import type { Credentials } from "../../controller/kube/credentials.ts";
import { NAMESPACES, SERVICE_ACCOUNTS } from "../../controller/kube/resource.ts";
import { type Authority, makeAnchor, makeLeaf } from "./certificates.ts";
import { type Fault, Faults } from "./fake-api-faults.ts";
import { answer } from "./fake-api-handlers.ts";
import { collectionOf, FakeObjects, Refusal } from "./fake-api-objects.ts";
import { type FakeRequest, understand } from "./fake-api-request.ts";
import { type Watcher, Watches } from "./fake-api-watches.ts";

export type { FakeRequest, Fault };

export interface FakeApiOptions {
  /** HTTP/1.1 only, as behind some proxies. @default false */
  http1?: boolean;
  /** Namespaces that are there. @default default, kube-system, isthmus */
  namespaces?: string[];
}

/** Name in the server's certificate. */
const SERVER_NAME = "kubernetes.fake";

let authority: Promise<{ anchor: Authority; certificate: string; key: string }> | undefined;

/** Keys take a while to make: once a process. */
async function tls() {
  authority ??= makeAnchor("fake-api").then(async (anchor) => {
    const leaf = await makeLeaf(anchor, { commonName: SERVER_NAME, dns: [SERVER_NAME] });
    return { anchor, certificate: leaf.certificatePem, key: leaf.privateKeyPem };
  });
  return await authority;
}

/**
 * An API server in this process, behind real TLS and HTTP/2 on loopback: enough of Kubernetes for what the controller does,
 * and every way in which a network and a server can fail, on request.
 */
export class FakeApi {
  readonly objects = new FakeObjects();
  readonly watches = new Watches();
  readonly faults = new Faults();
  /** Everything asked so far; `writes()` are those that are no reads. */
  readonly requests: FakeRequest[] = [];
  /** Who may ask, and until when (milliseconds since the epoch). */
  readonly tokens = new Map<string, number>([["fake-token", Number.POSITIVE_INFINITY]]);
  /** A request for which this is true gets 403. */
  forbids: (request: FakeRequest) => boolean = () => false;
  /** What time it is here: when tokens begin and end. */
  now: () => number = Date.now;
  /** Longest life of a token, in seconds, as an admission policy would cap it. */
  maxTokenSeconds = Number.POSITIVE_INFINITY;
  /** TLS connections accepted so far. */
  connections = 0;

  readonly #server: Http2SecureServer;
  readonly #sockets = new Set<Socket>();
  readonly #ca: string;
  #port = 0;
  #tokenNumber = 0;

  private constructor(server: Http2SecureServer, ca: string) {
    this.#server = server;
    this.#ca = ca;
    this.objects.onChange((change) => this.watches.tell(change));
    server.on("secureConnection", () => this.connections++);
    server.on("connection", (socket: Socket) => {
      this.#sockets.add(socket);
      socket.on("error", () => socket.destroy());
      socket.on("close", () => this.#sockets.delete(socket));
    });
    // A client that goes away in the middle of something is none of our errors.
    server.on("sessionError", () => undefined);
    server.on("request", (request, response) => void this.#serve(request, response));
  }

  static async start(options: FakeApiOptions = {}): Promise<FakeApi> {
    const { anchor, certificate, key } = await tls();
    const server = options.http1
      ? (createServer({ cert: certificate, key }) as unknown as Http2SecureServer)
      : createSecureServer({ cert: certificate, key, allowHTTP1: true });
    const api = new FakeApi(server, anchor.pem);
    for (const name of options.namespaces ?? ["default", "kube-system", "isthmus"]) {
      api.objects.create(NAMESPACES, { apiVersion: "v1", kind: "Namespace", metadata: { name } });
    }
    await api.listen();
    return api;
  }

  get url(): string {
    return `https://127.0.0.1:${this.#port}`;
  }

  credentials(token = "fake-token"): Credentials {
    return {
      server: this.url,
      tls: { ca: this.#ca, servername: SERVER_NAME },
      headers: () => Promise.resolve({ authorization: `Bearer ${token}` }),
    };
  }

  /** A token of a ServiceAccount that is good for so many seconds, with the claims of a real one. */
  makeToken(namespace: string, name: string, seconds: number): string {
    const iat = Math.floor(this.now() / 1000);
    const claims = { sub: `system:serviceaccount:${namespace}:${name}`, iat, exp: iat + seconds };
    const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const token = `${part({ alg: "none" })}.${part(claims)}.${part(++this.#tokenNumber)}`;
    this.tokens.set(token, claims.exp * 1000);
    return token;
  }

  /** As it stands in a credentials Secret, before base64. */
  kubeconfig(token = "fake-token"): string {
    const ca = Buffer.from(this.#ca).toString("base64");
    return JSON.stringify({
      apiVersion: "v1",
      kind: "Config",
      clusters: [
        {
          name: "fake",
          cluster: { server: this.url, "certificate-authority-data": ca, "tls-server-name": SERVER_NAME },
        },
      ],
      users: [{ name: "fake", user: { token } }],
      contexts: [{ name: "fake", context: { cluster: "fake", user: "fake" } }],
      "current-context": "fake",
    });
  }

  writes(): FakeRequest[] {
    return this.requests.filter(({ method }) => method !== "GET");
  }

  /** Break every connection. */
  dropConnections(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Nobody is there any more, until `listen`. */
  async unreachable(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
      this.watches.end();
      this.dropConnections();
    });
  }

  /** Be there (again), at the same address. */
  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(this.#port, "127.0.0.1", resolve));
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    if (this.#server.listening) await this.unreachable();
  }

  async #serve(raw: Http2ServerRequest, response: Http2ServerResponse): Promise<void> {
    const body = await readBody(raw);
    if (body === undefined) return;
    const request = understand(raw.method, raw.url, raw.headers, body === "" ? undefined : JSON.parse(body));
    this.requests.push(request);
    const fault = this.faults.take(request);
    if (fault?.kind === "delay") await new Promise((resolve) => setTimeout(resolve, fault.ms));
    if (fault?.kind === "hang") return;
    if (fault?.kind === "drop") return breakOff(raw);
    if (fault?.kind === "stall") {
      response.writeHead(200, { "content-type": "application/json" });
      response.write(fault.body);
      return;
    }
    if (fault?.kind === "body") {
      response.writeHead(fault.status ?? 200, {
        "content-type": fault.type ?? "text/html",
        ...fault.headers,
      });
      response.end(fault.body);
      return;
    }
    try {
      if (fault?.kind === "status") {
        const { status, reason = "InternalError", message = "a fault", retryAfterSeconds } = fault;
        return refuse(response, new Refusal(status, reason, message), retryAfterSeconds);
      }
      this.#authorize(request);
      if (request.watch) return this.#watch(request, raw, response);
      const result =
        request.subresource === "token"
          ? this.#issueToken(request)
          : answer(this.objects, request, fault?.kind === "endless-list");
      if (fault?.kind === "drop-after") return breakOff(raw);
      const created = request.method === "POST";
      response.writeHead(created ? 201 : 200, { "content-type": "application/json" });
      response.end(JSON.stringify(result));
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      refuse(response, error);
    }
  }

  #authorize(request: FakeRequest): void {
    const until = this.tokens.get(request.token ?? "");
    if (until === undefined || until <= this.now()) throw new Refusal(401, "Unauthorized", "Unauthorized");
    if (this.forbids(request)) {
      const { method, resource } = request;
      throw new Refusal(403, "Forbidden", `cannot ${method} ${resource?.plural}`);
    }
  }

  #issueToken(request: FakeRequest): unknown {
    this.objects.get(SERVICE_ACCOUNTS, { namespace: request.namespace, name: request.name ?? "" });
    const { spec } = request.body as { spec?: { expirationSeconds?: number } };
    const { expirationSeconds = 3600 } = spec ?? {};
    if (expirationSeconds > this.maxTokenSeconds) {
      throw new Refusal(422, "Invalid", `may live ${this.maxTokenSeconds} s at most`);
    }
    const until = this.now() + expirationSeconds * 1000;
    const token = this.makeToken(request.namespace ?? "", request.name ?? "", expirationSeconds);
    return {
      apiVersion: "authentication.k8s.io/v1",
      kind: "TokenRequest",
      metadata: { name: request.name, namespace: request.namespace },
      status: { token, expirationTimestamp: new Date(until).toISOString() },
    };
  }

  #watch(request: FakeRequest, raw: Http2ServerRequest, response: Http2ServerResponse): void {
    const { resource, query, namespace } = request;
    if (!resource) throw new Refusal(404, "NotFound", "the server could not find the requested resource");
    const since = Number(query.get("resourceVersion") || 0);
    response.writeHead(200, { "content-type": "application/json" });
    (response as unknown as { flushHeaders?: () => void }).flushHeaders?.();
    const watcher: Watcher = {
      collection: collectionOf(resource),
      kind: resource.kind,
      apiVersion: resource.group === "" ? resource.version : `${resource.group}/${resource.version}`,
      namespace,
      labels: query.get("labelSelector"),
      fields: query.get("fieldSelector"),
      send: (event) => void response.write(`${JSON.stringify(event)}\n`),
      end: () => void response.end(),
      drop: () => breakOff(raw),
    };
    response.on("close", () => this.watches.closed(watcher));
    if (since < this.objects.compactedAt) {
      const status = statusOf(new Refusal(410, "Expired", `too old resource version: ${since}`));
      watcher.send({ type: "ERROR", object: status });
      watcher.end();
      return;
    }
    this.watches.open(
      watcher,
      this.objects.history.filter(({ version }) => version > since),
    );
  }
}

async function readBody(request: Http2ServerRequest): Promise<string | undefined> {
  let body = "";
  try {
    for await (const chunk of request) body += chunk;
  } catch {
    // Whoever asked went away before saying all.
    return undefined;
  }
  return body;
}

/** End the whole connection a request came on, without an answer. */
function breakOff(request: Http2ServerRequest): void {
  const session = (request as { stream?: { session?: { destroy(): void } } }).stream?.session;
  if (session) session.destroy();
  else request.socket.destroy();
}

function refuse(response: Http2ServerResponse, refusal: Refusal, retryAfterSeconds?: number): void {
  response.writeHead(refusal.status, {
    "content-type": "application/json",
    ...(retryAfterSeconds !== undefined && { "retry-after": String(retryAfterSeconds) }),
  });
  response.end(JSON.stringify(statusOf(refusal)));
}

function statusOf({ status, reason, message }: Refusal): unknown {
  return { kind: "Status", apiVersion: "v1", metadata: {}, status: "Failure", reason, message, code: status };
}
