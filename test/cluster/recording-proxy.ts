import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { Agent, createServer, request, type Server } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import type { Credentials } from "../../controller/kube/credentials.ts";
import { makeAnchor, makeLeaf } from "../support/certificates.ts";

const SERVER_NAME = "proxy.test";

/** A call as it came through a proxy; those of all proxies that share a record are in the order of their arrival. */
export interface RecordedCall {
  /** Whose proxy it came through. */
  writer: string;
  method: string;
  path: string;
  /** Of a write of a Lease: the holder that it names. */
  holder?: string;
  /** Place in the record at which its answer came, and what it was; absent while there is none. */
  answered?: { after: number; status: number };
}

let authority: Promise<{ ca: string; cert: string; key: string }> | undefined;

async function tls() {
  authority ??= makeAnchor("proxy").then(async (anchor) => {
    const leaf = await makeLeaf(anchor, { commonName: SERVER_NAME, dns: [SERVER_NAME] });
    return { ca: anchor.pem, cert: leaf.certificatePem, key: leaf.privateKeyPem };
  });
  return await authority;
}

/**
 * One client's way to an API server, for a client that is a program of its own: whatever it asks for goes through here, is
 * put down, and can be cut off. It asks with the API server's own credentials.
 */
export class RecordingProxy {
  readonly writer: string;
  readonly #record: RecordedCall[];
  readonly #credentials: Credentials;
  readonly #agent: Agent;
  readonly #sockets = new Set<Socket>();
  readonly #ca: string;
  readonly #server: Server;
  #port = 0;
  #cut = false;
  #held: Promise<void> = Promise.resolve();
  /** How long each answer is kept back: there is always something under way then. */
  delayMs = 0;
  /** Answers a call in the API server's stead; where it gives none, the API server does. */
  instead: (call: RecordedCall) => ((outgoing: ServerResponse) => void) | undefined = () => undefined;
  /** Connections tried, also while it was cut. */
  connections = 0;

  private constructor(
    writer: string,
    record: RecordedCall[],
    credentials: Credentials,
    material: Awaited<ReturnType<typeof tls>>,
  ) {
    this.writer = writer;
    this.#record = record;
    this.#credentials = credentials;
    this.#agent = new Agent({ keepAlive: true, ...credentials.tls });
    this.#ca = material.ca;
    this.#server = createServer(
      { cert: material.cert, key: material.key },
      (incoming, outgoing) => void this.#carry(incoming, outgoing),
    );
    this.#server.on("connection", (socket: Socket) => {
      this.connections++;
      if (this.#cut) {
        socket.destroy();
        return;
      }
      this.#sockets.add(socket);
      socket.on("error", () => socket.destroy());
      socket.on("close", () => this.#sockets.delete(socket));
    });
    this.#server.on("tlsClientError", () => undefined);
  }

  static async open(
    writer: string,
    record: RecordedCall[],
    credentials: Credentials,
  ): Promise<RecordingProxy> {
    const proxy = new RecordingProxy(writer, record, credentials, await tls());
    proxy.#server.listen(0, "127.0.0.1");
    await once(proxy.#server, "listening");
    proxy.#port = (proxy.#server.address() as AddressInfo).port;
    return proxy;
  }

  /** For those who come this way. */
  kubeconfig(): string {
    const authority = Buffer.from(this.#ca).toString("base64");
    const cluster = {
      server: `https://127.0.0.1:${this.#port}`,
      "tls-server-name": SERVER_NAME,
      "certificate-authority-data": authority,
    };
    return JSON.stringify({
      apiVersion: "v1",
      kind: "Config",
      "current-context": "source",
      contexts: [{ name: "source", context: { cluster: "source", user: "nobody" } }],
      clusters: [{ name: "source", cluster }],
      users: [{ name: "nobody", user: { token: "of-no-importance" } }],
    });
  }

  /** As `kubeconfig`, for clients in this process. */
  credentials(): Credentials {
    return {
      server: `https://127.0.0.1:${this.#port}`,
      tls: { ca: this.#ca, servername: SERVER_NAME },
      headers: () => Promise.resolve({}),
    };
  }

  /** Break all connections, and each new one as soon as it is tried. */
  cut(): void {
    this.#cut = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  restore(): void {
    this.#cut = false;
  }

  /** Keep the answers to writes back, but for those on the Lease, until the function returned is called. */
  holdWrites(): () => void {
    let release: () => void = () => undefined;
    this.#held = new Promise((resolve) => {
      release = resolve;
    });
    return release;
  }

  async close(): Promise<void> {
    this.cut();
    this.#agent.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #carry(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const { method = "GET", url = "/" } = incoming;
    const call: RecordedCall = { writer: this.writer, method, path: url };
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of incoming) chunks.push(chunk as Buffer);
    } catch {
      // Whoever asked has broken off before all was said: that is no call.
      return;
    }
    const body = Buffer.concat(chunks);
    if (method !== "GET" && url.includes("/leases")) call.holder = holderIn(body);
    this.#record.push(call);
    const other = this.instead(call);
    if (other !== undefined) return other(outgoing);
    const onward = request(
      new URL(url, this.#credentials.server),
      {
        method,
        agent: this.#agent,
        headers: {
          ...(incoming.headers["content-type"] && { "content-type": incoming.headers["content-type"] }),
          ...(body.length > 0 && { "content-length": body.length }),
          accept: "application/json",
          ...(await this.#credentials.headers()),
        },
      },
      async (answer) => {
        await delay(this.delayMs);
        if (isWrite(call)) await this.#held;
        call.answered = { after: this.#record.length, status: answer.statusCode ?? 0 };
        outgoing.writeHead(answer.statusCode ?? 502, { "content-type": "application/json" });
        outgoing.flushHeaders();
        answer.pipe(outgoing);
        answer.on("error", () => outgoing.destroy());
      },
    );
    onward.on("error", () => outgoing.destroy());
    outgoing.on("close", () => onward.destroy());
    onward.end(body);
  }
}

/** Calls that write, but for those on the Lease. */
export function writesOf(record: readonly RecordedCall[]): RecordedCall[] {
  return record.filter(isWrite);
}

function isWrite({ method, path }: RecordedCall): boolean {
  return method !== "GET" && !path.includes("/leases");
}

/** Writes by another than the one who held the Lease when they came: there must be none. */
export function foreignWrites(record: readonly RecordedCall[]): string[] {
  const taken = record
    .filter(
      ({ holder, answered }) => holder !== undefined && holder !== "" && (answered?.status ?? 500) < 300,
    )
    .map(({ writer, answered }) => ({ writer, after: answered?.after ?? 0 }))
    .sort((a, b) => a.after - b.after);
  return record.flatMap((call, place) => {
    if (!isWrite(call)) return [];
    const holder = taken.findLast(({ after }) => after <= place)?.writer;
    return holder === call.writer
      ? []
      : [`${call.writer} wrote ${call.method} ${call.path} while ${holder ?? "nobody"} led`];
  });
}

function holderIn(body: Buffer): string {
  const lease = JSON.parse(body.toString("utf8")) as { spec?: { holderIdentity?: string } };
  return lease.spec?.holderIdentity ?? "";
}
