import { connect, createServer, type Server, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import type { CertificateAndKey } from "../../controller/identity/leaf.ts";
import { eventually } from "./wait.ts";

/** Connections to gateways, and what they lead to. */

/** Sends back what it gets, and ends when the other side does. */
export async function startEcho(): Promise<{ port: number; server: Server; stop: () => Promise<void> }> {
  const open = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    open.add(socket);
    socket.on("close", () => open.delete(socket));
    socket.on("error", () => socket.destroy());
    socket.pipe(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const stop = () =>
    new Promise<void>((resolve) => {
      for (const socket of open) socket.destroy();
      server.close(() => resolve());
    });
  return { port: (server.address() as { port: number }).port, server, stop };
}

/** A connection that is kept, so that a test can see what becomes of it. */
export class OpenCall {
  /** Resolves when the other side has taken the connection. */
  readonly connected: Promise<unknown>;
  readonly #socket: Socket;
  #received = "";
  #ended = false;
  #error: NodeJS.ErrnoException | undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    this.connected = new Promise((resolve) => socket.once("connect", resolve));
    socket.setEncoding("utf8");
    socket.on("data", (chunk) => {
      this.#received += chunk;
    });
    socket.on("error", (error) => {
      this.#error = error;
    });
    socket.on("end", () => {
      this.#ended = true;
    });
    socket.on("close", () => {
      this.#ended = true;
    });
  }

  /** Send `text` and wait for it to come back. `closed` when the connection ends instead, and the reason where one came. */
  async echo(text: string): Promise<string> {
    const before = this.#received.length;
    this.#socket.write(text);
    await eventually(() => this.#ended || this.#received.length >= before + text.length);
    return this.#received.length >= before + text.length ? this.#received.slice(before) : this.outcome;
  }

  /** `open`, `closed`, or `refused: …` when the other side refused our certificate or we refused theirs. */
  get outcome(): string {
    if (this.#error?.message.includes("alert"))
      return `refused: ${/alert ([a-z ]+)/.exec(this.#error.message)?.[1]}`;
    return this.#ended ? "closed" : "open";
  }

  get isClosed(): boolean {
    return this.#ended;
  }

  close(): void {
    this.#socket.destroy();
  }
}

/** A client of an ingress that may lie about anything. */
export function callIngress(
  port: number,
  client: {
    certificate?: CertificateAndKey;
    serverName: string;
    /** Take up this TLS session instead of a full handshake. */
    session?: Buffer;
    /** Called with every session that the ingress offers to take up again. */
    onSession?: (session: Buffer) => void;
  },
): OpenCall {
  const { certificate, serverName, session, onSession } = client;
  const socket = connectTls({
    host: "127.0.0.1",
    port,
    servername: serverName,
    // What the server proves is the matter of other tests.
    rejectUnauthorized: false,
    ...(certificate && { cert: certificate.certificatePem, key: certificate.privateKeyPem }),
    ...(session && { session }),
  });
  if (onSession) socket.on("session", onSession);
  return new OpenCall(socket);
}

/** A plain client, of an egress' port for instance. */
export function callPlain(port: number): OpenCall {
  return new OpenCall(connect({ host: "127.0.0.1", port }));
}

const taken = new Set<number>();

/** First of `count` neighbouring ports, below the ephemeral range, that nobody listens on. */
export async function freePorts(count: number): Promise<number> {
  for (;;) {
    const first = 20_000 + Math.floor(Math.random() * 8_000);
    const ports = Array.from({ length: count }, (_, index) => first + index);
    if (ports.some((port) => taken.has(port))) continue;
    if ((await Promise.all(ports.map(isFree))).every(Boolean)) {
      for (const port of ports) taken.add(port);
      return first;
    }
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "0.0.0.0", () => server.close(() => resolve(true)));
  });
}
