import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Registry } from "prom-client";
import type { Initialized } from "./initialized.ts";
import type { Log } from "./log.ts";

export interface AdminOptions {
  /** `:9990`, `127.0.0.1:9990`, `[::1]:9990`; port 0 takes a free one. */
  address: string;
  registry: Registry;
  /** `/ready` answers 200 once these handles are done. */
  initialized: Initialized;
  /** More that is asked at every `/ready`: what is not ready, in words. @default nothing */
  notReady?: () => string[];
  log: Log;
}

/** Answers a path of its own. */
export type AdminRoute = (signal: AbortSignal) => Promise<{ status: number; body: string }>;

interface Reply {
  status: number;
  type: string;
  body: string;
}

/**
 * What people and machines ask a running process: `/live` (it answers), `/ready`, `/metrics` (Prometheus) and `/state`, a
 * picture of every watch, queue and lease in JSON, without secrets.
 */
export class AdminServer {
  readonly #options: AdminOptions;
  readonly #states = new Map<string, () => unknown>();
  readonly #routes = new Map<string, AdminRoute>();
  readonly #server: Server;

  constructor(options: AdminOptions) {
    this.#options = options;
    this.#server = createServer((request, response) => void this.#answer(request, response));
    // Those who ask are not trusted with our sockets.
    this.#server.requestTimeout = 10_000;
    this.#server.maxConnections = 100;
  }

  /** Add a part to `/state`. */
  state(name: string, provider: () => unknown): void {
    if (this.#states.has(name)) throw new Error(`there is a state ${JSON.stringify(name)} already`);
    this.#states.set(name, provider);
  }

  /**
   * Answer another path. The handler may take its time (a kubelet's `preStop` call waits for it); its signal is aborted
   * when the one who asked goes away.
   */
  route(path: string, handler: AdminRoute): void {
    if (this.#routes.has(path)) throw new Error(`there is a route ${path} already`);
    this.#routes.set(path, handler);
  }

  /** Listen; resolves with the port. Rejects where the address cannot be had. */
  async listen(): Promise<number> {
    const { host, port } = parseAddress(this.#options.address);
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", (error) =>
        reject(new Error(`--admin-address ${this.#options.address}: ${error.message}`, { cause: error })),
      );
      this.#server.listen(port, host, resolve);
    });
    return (this.#server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = (request.url ?? "/").split("?")[0] ?? "/";
    let reply: Reply;
    try {
      reply =
        request.method === "GET" || request.method === "HEAD"
          ? await this.#reply(path, response)
          : text(405, "only GET is answered here");
    } catch (error) {
      this.#options.log.error("admin request failed", { path, error });
      reply = text(500, "failed; the log says why");
    }
    response.writeHead(reply.status, { "content-type": reply.type });
    response.end(request.method === "HEAD" ? undefined : reply.body);
  }

  async #reply(path: string, response: ServerResponse): Promise<Reply> {
    switch (path) {
      case "/live":
        return text(200, "live");
      case "/ready": {
        const { initialized, notReady } = this.#options;
        const waiting = [...initialized.waitingFor(), ...(notReady?.() ?? [])];
        if (waiting.length === 0) return text(200, "ready");
        return text(503, ["not ready:", ...waiting.map((name) => `- ${name}`)].join("\n"));
      }
      case "/metrics": {
        const { registry } = this.#options;
        return { status: 200, type: registry.contentType, body: await registry.metrics() };
      }
      case "/state": {
        const state = Object.fromEntries([...this.#states].map(([name, provider]) => [name, provider()]));
        return { status: 200, type: "application/json", body: `${JSON.stringify(state, undefined, 2)}\n` };
      }
      default: {
        const route = this.#routes.get(path);
        if (!route) return text(404, "ask for /live, /ready, /metrics or /state");
        const gone = new AbortController();
        response.once("close", () => gone.abort());
        const { status, body } = await route(gone.signal);
        return text(status, body.replace(/\n$/, ""));
      }
    }
  }
}

/** Read `--admin-address`: `[host]:port`, without a host every address. */
export function parseAddress(address: string): { host: string | undefined; port: number } {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]*)):(\d{1,5})$/.exec(address);
  const port = Number(match?.[3]);
  if (!match || port > 65_535) {
    throw new Error(`${JSON.stringify(address)} is no address to listen on: write :9990 or 127.0.0.1:9990`);
  }
  return { host: match[1] || match[2] || undefined, port };
}

function text(status: number, body: string): Reply {
  return { status, type: "text/plain; charset=utf-8", body: `${body}\n` };
}
