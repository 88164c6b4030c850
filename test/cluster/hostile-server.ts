import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { makeAnchor, makeLeaf } from "../support/certificates.ts";

const SERVER_NAME = "hostile.test";

export interface HostileCall {
  /** Plural name of what is asked for. */
  resource: string;
  /** It is a watch, not a list. */
  watch: boolean;
  query: URLSearchParams;
  response: ServerResponse;
  /** How often this behaviour was asked before. */
  before: number;
}

/** What a target says instead of what it should. */
export type Behaviour = (call: HostileCall) => void | Promise<void>;

/** Something that answers in a target's stead, behind TLS that is in order: many behaviours, each under a path of its own. */
export class HostileServer {
  readonly #behaviours: Readonly<Record<string, Behaviour>>;
  readonly #server: Server;
  readonly #ca: string;
  readonly #sockets = new Set<Socket>();
  /** Calls so far, by behaviour. */
  readonly calls = new Map<string, number>();

  private constructor(behaviours: Readonly<Record<string, Behaviour>>, server: Server, ca: string) {
    this.#behaviours = behaviours;
    this.#server = server;
    this.#ca = ca;
    server.on("request", (request, response) => void this.#answer(request, response));
    server.on("connection", (socket: Socket) => {
      this.#sockets.add(socket);
      socket.on("error", () => socket.destroy());
      socket.on("close", () => this.#sockets.delete(socket));
    });
    server.on("tlsClientError", () => undefined);
  }

  static async start(behaviours: Readonly<Record<string, Behaviour>>): Promise<HostileServer> {
    const anchor = await makeAnchor("hostile");
    const leaf = await makeLeaf(anchor, { commonName: SERVER_NAME, dns: [SERVER_NAME] });
    const server = createServer({ cert: leaf.certificatePem, key: leaf.privateKeyPem });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return new HostileServer(behaviours, server, anchor.pem);
  }

  /** A kubeconfig that leads to a behaviour. */
  kubeconfig(behaviour: string): string {
    const { port } = this.#server.address() as AddressInfo;
    const cluster = {
      server: `https://127.0.0.1:${port}/${behaviour}`,
      "tls-server-name": SERVER_NAME,
      "certificate-authority-data": Buffer.from(this.#ca).toString("base64"),
    };
    return JSON.stringify({
      apiVersion: "v1",
      kind: "Config",
      "current-context": "remote",
      contexts: [{ name: "remote", context: { cluster: "remote", user: "reader" } }],
      clusters: [{ name: "remote", cluster }],
      users: [{ name: "reader", user: { token: "token" } }],
    });
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "/", "https://hostile");
    const [, name = "", ...rest] = url.pathname.split("/");
    const resource = rest.at(-1) ?? "";
    const before = this.calls.get(name) ?? 0;
    this.calls.set(name, before + 1);
    const query = url.searchParams;
    response.on("error", () => undefined);
    await this.#behaviours[name]?.({
      resource,
      watch: query.get("watch") === "true",
      query,
      response,
      before,
    });
  }
}

/** Send `chunk` over and over until so many bytes are gone, or whoever asked is. */
export async function pour(response: ServerResponse, chunk: string, bytes: number): Promise<void> {
  for (let sent = 0; sent < bytes && !response.destroyed; sent += chunk.length) {
    if (response.write(chunk)) continue;
    const over = new AbortController();
    const { signal } = over;
    // Aborted below: then nobody waits for it any more.
    const either = ["drain", "close"].map((event) =>
      once(response, event, { signal }).catch(() => undefined),
    );
    await Promise.race(either);
    over.abort();
  }
}
