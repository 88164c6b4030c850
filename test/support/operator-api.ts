import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

/** What an API server answers to one request: a body, and a status other than 200. */
export interface Answer {
  status?: number;
  body: unknown;
}

/** API servers that answer from a table, and a kubeconfig with a context for each: all that an operator's calls need. */
export class OperatorApi {
  /** Path of the kubeconfig. */
  readonly kubeconfig: string;
  /** Every request so far, as `<context> <method> <path>`. */
  readonly requests: string[] = [];
  /** Bodies of the requests that had one, as text. */
  readonly bodies: string[] = [];
  readonly #servers: Server[];

  private constructor(kubeconfig: string, servers: Server[]) {
    this.kubeconfig = kubeconfig;
    this.#servers = servers;
  }

  /** @param answers by context, then by `<method> <path>`; what is not there is answered with 404 */
  static async start(answers: Record<string, Record<string, Answer | unknown>>): Promise<OperatorApi> {
    const path = join(mkdtempSync(join(tmpdir(), "isthmus-operator-")), "kubeconfig");
    const servers: Server[] = [];
    const api = new OperatorApi(path, servers);
    const names = Object.keys(answers);
    const addresses: string[] = [];
    for (const context of names) {
      const server = createServer((request, response) => {
        const url = new URL(request.url ?? "/", "http://api");
        const key = `${request.method} ${url.pathname}`;
        api.requests.push(`${context} ${key}`);
        let text = "";
        request.on("data", (chunk) => {
          text += chunk;
        });
        request.on("end", () => {
          if (text !== "") api.bodies.push(text);
          const answer = answers[context]?.[key];
          response.setHeader("content-type", "application/json");
          response.statusCode = answer === undefined ? 404 : 200;
          response.end(
            JSON.stringify(answer ?? { kind: "Status", code: 404, message: `${url.pathname} not found` }),
          );
        });
      });
      await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
      servers.push(server);
      addresses.push(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    }
    writeFileSync(
      path,
      JSON.stringify({
        contexts: names.map((name) => ({ name, context: { cluster: name, user: name } })),
        clusters: names.map((name, index) => ({
          name,
          cluster: { server: addresses[index], "insecure-skip-tls-verify": true },
        })),
        users: names.map((name) => ({ name, user: { token: "operator" } })),
      }),
    );
    return api;
  }

  async stop(): Promise<void> {
    for (const server of this.#servers) {
      server.closeAllConnections();
      await new Promise((closed) => server.close(closed));
    }
    rmSync(dirname(this.kubeconfig), { recursive: true });
  }
}
