import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";

/**
 * A connection to a target's API server that can be cut: a port here that carries bytes there, for as long as it is told
 * to. What a controller sees when it is cut is what it sees when the API server is stopped.
 */
export class Wire {
  readonly #host: string;
  readonly #port: number;
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;
  #local = 0;
  /** Cut each connection after so many bytes from the far end. */
  #limit = Number.POSITIVE_INFINITY;

  /** @param url of the API server */
  constructor(url: string) {
    const { hostname, port } = new URL(url);
    this.#host = hostname;
    this.#port = Number(port || 443);
  }

  /** `https://127.0.0.1:<port>`, the same each time it is restored. */
  get url(): string {
    return `https://127.0.0.1:${this.#local}`;
  }

  /** Carry bytes; with a limit, only so many of each connection's answers. */
  async restore({ bytes = Number.POSITIVE_INFINITY }: { bytes?: number } = {}): Promise<void> {
    this.#limit = bytes;
    if (this.#server) return;
    this.#server = createServer((near) => this.#carry(near));
    this.#server.listen(this.#local, "127.0.0.1");
    await once(this.#server, "listening");
    const address = this.#server.address();
    if (address !== null && typeof address === "object") this.#local = address.port;
  }

  /** End every connection and take no new ones. */
  async cut(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    for (const socket of this.#sockets) socket.destroy();
    if (server) await new Promise((resolve) => server.close(resolve));
  }

  #carry(near: Socket): void {
    const far = connect(this.#port, this.#host);
    let seen = 0;
    const end = () => {
      near.destroy();
      far.destroy();
    };
    for (const socket of [near, far]) {
      this.#sockets.add(socket);
      socket.on("error", end);
      socket.on("close", () => {
        this.#sockets.delete(socket);
        end();
      });
    }
    near.pipe(far);
    far.on("data", (chunk) => {
      seen += chunk.length;
      if (seen > this.#limit) end();
      else near.write(chunk);
    });
  }
}
