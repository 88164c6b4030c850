import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

/** The way to an API server, which can be cut: a port of this machine that carries bytes there. */
export class Line {
  readonly #far: URL;
  readonly #sockets = new Set<Socket>();
  readonly #server: Server;
  #cut = false;
  /** Connections tried so far, also while it was cut. */
  connections = 0;

  private constructor(server: string) {
    this.#far = new URL(server);
    this.#server = createServer((near) => this.#carry(near));
  }

  /** @param server URL of the API server */
  static async open(server: string): Promise<Line> {
    const line = new Line(server);
    line.#server.listen(0, "127.0.0.1");
    await once(line.#server, "listening");
    return line;
  }

  get url(): string {
    return `https://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Break every connection, and each new one at once. */
  cut(): void {
    this.#cut = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  restore(): void {
    this.#cut = false;
  }

  async close(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #carry(near: Socket): void {
    this.connections++;
    if (this.#cut) {
      near.destroy();
      return;
    }
    const far = connect(Number(this.#far.port || 443), this.#far.hostname);
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
    near.pipe(far).pipe(near);
  }
}
