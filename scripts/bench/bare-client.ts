import { Pool } from "undici";
import type { Credentials } from "../../controller/kube/credentials.ts";
import type { KubeObject, ObjectRef } from "../../controller/kube/objects.ts";
import { path, type Resource } from "../../controller/kube/resource.ts";

/**
 * The least that a client can be: connections, a method, a path, JSON. It checks nothing and adapts to nothing, and is
 * what everything of ours is measured against.
 */
export class BareClient {
  readonly #pool: Pool;
  readonly #credentials: Credentials;

  /** @param connections one call at a time on each, over HTTP/1.1 */
  constructor(credentials: Credentials, connections: number) {
    this.#credentials = credentials;
    this.#pool = new Pool(credentials.server, { connections, connect: { ...credentials.tls } });
  }

  async create<T extends KubeObject>(resource: Resource<T>, object: T): Promise<T> {
    const { namespace } = object.metadata;
    return JSON.parse(await this.#call("POST", path(resource, { namespace }), object)) as T;
  }

  /** Delete an object, which may be gone already. */
  async delete(resource: Resource, ref: ObjectRef): Promise<void> {
    await this.#call("DELETE", path(resource, ref), undefined, [404]);
  }

  /** What the server has at `url`, whatever it is. */
  async text(url: string): Promise<string> {
    return await this.#call("GET", url);
  }

  async close(): Promise<void> {
    await this.#pool.close();
  }

  async #call(
    method: "GET" | "POST" | "DELETE",
    url: string,
    body?: unknown,
    allowed: number[] = [],
  ): Promise<string> {
    const answer = await this.#pool.request({
      method,
      path: url,
      headers: { "content-type": "application/json", ...(await this.#credentials.headers()) },
      body: body === undefined ? null : JSON.stringify(body),
    });
    const text = await answer.body.text();
    if (answer.statusCode >= 300 && !allowed.includes(answer.statusCode)) {
      throw new Error(`${method} ${url}: ${answer.statusCode} ${text.slice(0, 300)}`);
    }
    return text;
  }
}

/** Do `work` on all items, so many at a time. The first failure ends it. */
export async function forAll<T>(
  items: readonly T[],
  atATime: number,
  work: (item: T) => Promise<unknown>,
): Promise<void> {
  let next = 0;
  const lane = async () => {
    while (next < items.length) await work(items[next++] as T);
  };
  await Promise.all(Array.from({ length: atATime }, lane));
}
