import { MANAGER } from "../../contract/index.ts";
import type { Fence, KubeClient } from "../kube/client.ts";
import { isNotFound } from "../kube/errors.ts";
import { listAll } from "../kube/list.ts";
import { type KubeObject, type ObjectRef, refOf } from "../kube/objects.ts";
import type { Resource } from "../kube/resource.ts";
import type { Store } from "../kube/store.ts";

/** Whom the fields of mirrors and of Links' statuses belong to. */
export const FIELD_MANAGER = `${MANAGER}-mirror`;

/** A kind of object in the source, and what is known of it. */
export interface Shelf<T extends KubeObject> {
  resource: Resource<T>;
  store: Store<T>;
}

export interface WriteContext {
  signal: AbortSignal;
  /** Before all other writes. */
  urgent?: boolean;
}

export type Verb = "create" | "update" | "delete" | "patch";

/**
 * Writes to the source. What the API server answers goes into the store at once: a reconcile that follows must not do it
 * again only because the watch is slower.
 */
export class SourceWriter {
  readonly #client: KubeClient;
  readonly #onWrite: (verb: Verb, plural: string) => void;
  readonly #fence: Fence;

  /** @param fence of the term in which this writes */
  constructor(client: KubeClient, onWrite: (verb: Verb, plural: string) => void, fence: Fence) {
    this.#client = client;
    this.#onWrite = onWrite;
    this.#fence = fence;
  }

  /** Ask the API server itself; `undefined` where there is no such object. */
  async read<T extends KubeObject>(
    shelf: Shelf<T>,
    ref: ObjectRef,
    signal: AbortSignal,
  ): Promise<T | undefined> {
    try {
      return await this.#client.get(shelf.resource, ref, { signal });
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }

  /** Ask the API server itself for all objects with these labels; what was not known of is known then. */
  async refresh<T extends KubeObject>(
    shelf: Shelf<T>,
    labelSelector: string,
    signal: AbortSignal,
  ): Promise<T[]> {
    const { items } = await listAll(this.#client, shelf.resource, { labelSelector }, { signal });
    for (const item of items) shelf.store.read(item);
    return items;
  }

  /** Make an object; never touches one that is there (409). */
  async create<T extends KubeObject>(shelf: Shelf<T>, object: T, context: WriteContext): Promise<T> {
    this.#onWrite("create", shelf.resource.plural);
    const made = await this.#client.create(shelf.resource, object, {
      ...context,
      fence: this.#fence,
      fieldManager: FIELD_MANAGER,
    });
    shelf.store.wrote(made);
    return made;
  }

  /** Replace the version of an object that `object` was made from; another version is left alone (409). */
  async replace<T extends KubeObject>(shelf: Shelf<T>, object: T, context: WriteContext): Promise<T> {
    this.#onWrite("update", shelf.resource.plural);
    const replaced = await this.#client.update(shelf.resource, object, {
      ...context,
      fence: this.#fence,
      fieldManager: FIELD_MANAGER,
    });
    shelf.store.wrote(replaced);
    return replaced;
  }

  /** Delete this version of an object: one whose labels were changed meanwhile may no longer be ours (409). */
  async remove<T extends KubeObject>(shelf: Shelf<T>, object: T, context: WriteContext): Promise<void> {
    const { namespace, name, uid, resourceVersion } = object.metadata;
    this.#onWrite("delete", shelf.resource.plural);
    try {
      await this.#client.delete(
        shelf.resource,
        { namespace, name },
        { ...context, fence: this.#fence, preconditions: { uid, resourceVersion } },
      );
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
    shelf.store.removed(object);
  }

  /** Merge `body` into an object of this key. */
  async patch<T extends KubeObject>(
    shelf: Shelf<T>,
    key: string,
    body: unknown,
    context: WriteContext & { subresource?: string; type?: "merge" | "strategic" },
  ): Promise<T> {
    this.#onWrite("patch", shelf.resource.plural);
    const { type = "merge", ...rest } = context;
    const patched = await this.#client.patch(shelf.resource, refOf(key), body, {
      ...rest,
      type,
      fence: this.#fence,
      fieldManager: FIELD_MANAGER,
    });
    shelf.store.wrote(patched);
    return patched;
  }
}
