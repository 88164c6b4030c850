import type { KubeClient, Selection } from "./client.ts";
import { isGone } from "./errors.ts";
import type { KubeObject } from "./objects.ts";
import type { Resource } from "./resource.ts";

export interface ListAllOptions<T extends KubeObject> {
  signal?: AbortSignal | undefined;
  /** Objects a page. @default 500 */
  pageSize?: number | undefined;
  /** Most objects taken. @default any number */
  capacity?: number | undefined;
  /** What is kept of an object, `undefined` for nothing; applied page by page, so that the whole is never held. */
  transform?: (object: T) => T | undefined;
}

export interface CompleteList<T> {
  items: T[];
  /** Where to watch from. */
  resourceVersion: string;
}

/**
 * A whole list, page by page. When the server forgets the place to continue from, the list is taken once more in one piece:
 * on a server that is too busy to keep it for the time of all pages, more pages would not help.
 */
export async function listAll<T extends KubeObject>(
  client: KubeClient,
  resource: Resource<T>,
  selection: Selection,
  options: ListAllOptions<T> = {},
): Promise<CompleteList<T>> {
  try {
    return await pages(client, resource, selection, options, options.pageSize ?? 500);
  } catch (error) {
    if (!isGone(error)) throw error;
    return await pages(client, resource, selection, options, undefined);
  }
}

async function pages<T extends KubeObject>(
  client: KubeClient,
  resource: Resource<T>,
  selection: Selection,
  { signal, capacity = Number.POSITIVE_INFINITY, transform = (object) => object }: ListAllOptions<T>,
  limit: number | undefined,
): Promise<CompleteList<T>> {
  const items: T[] = [];
  let seen = 0;
  let next: string | undefined;
  const site = `cluster ${client.cluster}: the list of ${resource.plural}`;
  for (;;) {
    const page = await client.list(resource, { ...selection, limit, continue: next }, { signal });
    for (const item of page.items) {
      const kept = transform(item);
      if (kept !== undefined) items.push(kept);
    }
    seen += page.items.length;
    if (seen > capacity) throw new Error(`${site} has more than ${capacity} objects: it is not taken`);
    if (!page.metadata.continue) {
      const { resourceVersion } = page.metadata;
      if (!resourceVersion) throw new Error(`${site} has no resourceVersion: it cannot be watched`);
      return { items, resourceVersion };
    }
    if (page.items.length === 0 || page.metadata.continue === next) throw new Error(`${site} has no end`);
    next = page.metadata.continue;
  }
}
