import { Agent, request } from "node:https";
import { ClusterError, messageOf } from "./errors.ts";
import { readKubeconfig } from "./kubeconfig.ts";

/** An answer of an API server. */
export interface ApiAnswer {
  status: number;
  /** The body, parsed where it is JSON. */
  body: unknown;
}

/** Talks to one cluster's API server as its administrator. */
export class ApiClient {
  readonly #server: string;
  readonly #agent: Agent;
  /** Why the last request got no answer; empty when it got one. */
  lastFailure = "";

  private constructor(server: string, agent: Agent) {
    this.#server = server;
    this.#agent = agent;
  }

  /** @param kubeconfig path of the kubeconfig of that one cluster. */
  static async connect(kubeconfig: string): Promise<ApiClient> {
    const config = await readKubeconfig(kubeconfig);
    const cluster = config?.clusters[0]?.cluster;
    const user = config?.users[0]?.user;
    if (!cluster || !user) throw new ClusterError(`${kubeconfig} names no cluster and user`);
    const decode = (text: string) => Buffer.from(text, "base64");
    return new ApiClient(
      cluster.server,
      new Agent({
        ca: decode(cluster["certificate-authority-data"]),
        cert: decode(user["client-certificate-data"]),
        key: decode(user["client-key-data"]),
      }),
    );
  }

  /** GET; undefined when the server gives no answer, which `lastFailure` tells of. */
  async get(path: string): Promise<ApiAnswer | undefined> {
    try {
      const answer = await this.#send("GET", path);
      this.lastFailure = "";
      return answer;
    } catch (error) {
      this.lastFailure = messageOf(error);
      return undefined;
    }
  }

  /** Create or change an object by server-side apply. @throws ClusterError when the server refuses it. */
  async apply(path: string, object: object): Promise<void> {
    const query = "?fieldManager=isthmus-clusters&force=true";
    const answer = await this.#send("PATCH", path + query, object).catch((error) => {
      throw new ClusterError(`${this.#server}${path} could not be written: ${messageOf(error)}`);
    });
    if (answer.status >= 300) {
      throw new ClusterError(`${this.#server}${path} was refused: ${JSON.stringify(answer.body)}`);
    }
  }

  #send(method: string, path: string, body?: object): Promise<ApiAnswer> {
    return new Promise((resolve, reject) => {
      const headers = body ? { "content-type": "application/apply-patch+yaml" } : {};
      const outgoing = request(
        this.#server + path,
        { method, headers, agent: this.#agent, timeout: 5000 },
        (response) => {
          const chunks: Buffer[] = [];
          response.on("data", (chunk) => chunks.push(chunk));
          response.on("error", reject);
          response.on("end", () => {
            const text = Buffer.concat(chunks).toString();
            const json = response.headers["content-type"]?.startsWith("application/json");
            resolve({ status: response.statusCode ?? 0, body: json ? JSON.parse(text) : text });
          });
        },
      );
      outgoing.on("timeout", () => outgoing.destroy(new Error("no answer in 5 s")));
      outgoing.on("error", reject);
      outgoing.end(body && JSON.stringify(body));
    });
  }
}
