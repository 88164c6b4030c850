/** From API version and kind to the path of an object, as the API server itself tells it. */
import type { Client, KubeObject } from "./client.ts";
import { ApiError } from "./errors.ts";

export interface Resource {
  /** Plural name in the path. */
  plural: string;
  namespaced: boolean;
}

interface ApiResource {
  name: string;
  kind: string;
  namespaced: boolean;
}

export class Discovery {
  readonly #client: Client;
  readonly #known = new Map<string, Promise<ApiResource[]>>();

  constructor(client: Client) {
    this.#client = client;
  }

  /** @returns undefined when the cluster has no such kind (now: a definition may bring it later). */
  async find(apiVersion: string, kind: string): Promise<Resource | undefined> {
    const cached = this.#known.get(apiVersion);
    if (cached !== undefined) {
      const found = pick(await cached, kind);
      if (found !== undefined) return found;
    }
    const fresh = this.#list(apiVersion);
    this.#known.set(apiVersion, fresh);
    try {
      return pick(await fresh, kind);
    } catch (error) {
      this.#known.delete(apiVersion);
      throw error;
    }
  }

  async #list(apiVersion: string): Promise<ApiResource[]> {
    const path = apiVersion.includes("/") ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
    try {
      const list: KubeObject = await this.#client.request({ method: "GET", path });
      return list.resources as ApiResource[];
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) return [];
      throw error;
    }
  }
}

function pick(resources: ApiResource[], kind: string): Resource | undefined {
  const found = resources.find((resource) => resource.kind === kind && !resource.name.includes("/"));
  return found === undefined ? undefined : { plural: found.name, namespaced: found.namespaced };
}

/** Path of all objects of a kind (in a namespace), or of one object. */
export function pathOf(apiVersion: string, resource: Resource, namespace: string, name?: string): string {
  const root = apiVersion.includes("/") ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
  const within = resource.namespaced ? `/namespaces/${encodeURIComponent(namespace)}` : "";
  return `${root}${within}/${resource.plural}${name === undefined ? "" : `/${encodeURIComponent(name)}`}`;
}
