import { EMPTINESS_QUOTA, STANDARD_CONFIG_MAPS, STANDARD_SERVICE_ACCOUNTS } from "../../../contract/index.ts";
import type { KubeClient } from "../../kube/client.ts";
import { isNotFound } from "../../kube/errors.ts";
import type { ResourceQuota } from "../../kube/objects.ts";
import { CONFIG_MAPS, RESOURCE_QUOTAS, SERVICE_ACCOUNTS } from "../../kube/resource.ts";
import { Store } from "../../kube/store.ts";
import type { Shelf, SourceWriter } from "../writer.ts";
import { type ApiTypes, readApiTypes } from "./api-types.ts";
import { closedQuota, isOurQuota, lastQuota, openQuota, type StandardCounts } from "./quota.ts";

/** The quotas that count what is in a namespace: how they are read and written. `quota.ts` says what they say. */
export class EmptinessQuotas {
  readonly #client: KubeClient;
  readonly #writer: SourceWriter;
  readonly #isthmus: string;

  constructor(client: KubeClient, writer: SourceWriter, isthmus: string) {
    this.#client = client;
    this.#writer = writer;
    this.#isthmus = isthmus;
  }

  read(namespace: string, signal: AbortSignal): Promise<ResourceQuota | undefined> {
    return this.#writer.read(shelf(), { namespace, name: EMPTINESS_QUOTA }, signal);
  }

  isOurs(quota: ResourceQuota): boolean {
    return isOurQuota(quota, this.#isthmus);
  }

  /** What an API server can hold in a namespace now. */
  types(signal: AbortSignal): Promise<ApiTypes> {
    return readApiTypes(this.#client, signal);
  }

  async open(namespace: string, types: readonly string[], signal: AbortSignal): Promise<void> {
    await this.#writer.create(shelf(), openQuota(namespace, this.#isthmus, types), { signal });
  }

  async close(seen: ResourceQuota, standard: StandardCounts, signal: AbortSignal): Promise<void> {
    await this.#writer.replace(shelf(), closedQuota(seen, standard), { signal });
  }

  /** Have all counted once more, the namespace being closed. */
  async countAgain(seen: ResourceQuota, signal: AbortSignal): Promise<void> {
    await this.#writer.replace(shelf(), lastQuota(seen), { signal });
  }

  /** Only the uid of it counts: Kubernetes writes its status at any time. */
  async remove(quota: ResourceQuota, signal: AbortSignal): Promise<void> {
    const { resourceVersion: _, ...metadata } = quota.metadata;
    await this.#writer.remove(shelf(), { ...quota, metadata }, { signal });
  }

  /** Which of the objects that every namespace has are there. */
  async standard(namespace: string, signal: AbortSignal): Promise<StandardCounts> {
    const count = async (resource: typeof CONFIG_MAPS, names: readonly string[]) => {
      const found = await Promise.all(
        names.map((name) => this.#exists(resource, { namespace, name }, signal)),
      );
      return found.filter((each) => each).length;
    };
    return {
      configmaps: await count(CONFIG_MAPS, STANDARD_CONFIG_MAPS),
      serviceaccounts: await count(SERVICE_ACCOUNTS, STANDARD_SERVICE_ACCOUNTS),
    };
  }

  async #exists(
    resource: typeof CONFIG_MAPS,
    ref: { namespace: string; name: string },
    signal: AbortSignal,
  ): Promise<boolean> {
    try {
      await this.#client.get(resource, ref, { signal });
      return true;
    } catch (error) {
      if (isNotFound(error)) return false;
      throw error;
    }
  }
}

/** Quotas live for seconds and are not watched: each is asked for when it matters, and not remembered. */
function shelf(): Shelf<ResourceQuota> {
  return { resource: RESOURCE_QUOTAS, store: new Store() };
}
