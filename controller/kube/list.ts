import type { KubeClient, Selection } from "./client.ts";
import { type Clock, systemClock } from "./clock.ts";
import {
  type CallSite,
  isGone,
  isTooLong,
  LimitError,
  UNREACHABLE_REASON,
  UnreachableError,
} from "./errors.ts";
import { type KubeObject, keyOf } from "./objects.ts";
import { path, type Resource } from "./resource.ts";
import { weigh } from "./weigh.ts";

export interface ListAllOptions<T extends KubeObject> {
  signal?: AbortSignal | undefined;
  /** Objects a page. @default 500 */
  pageSize?: number | undefined;
  /** Most objects taken. @default any number */
  capacity?: number | undefined;
  /** Most bytes of what is kept, as `weigh` counts them; a few times as many may be sent. @default any number */
  maxBytes?: number | undefined;
  /** How long all pages together may take. @default five minutes: no API server keeps the place to continue from for longer */
  limitMs?: number | undefined;
  /** What is kept of an object, `undefined` for nothing; applied page by page, so that the whole is never held. */
  transform?: (object: T) => T | undefined;
  clock?: Clock | undefined;
}

export interface CompleteList<T> {
  items: T[];
  /** Where to watch from. */
  resourceVersion: string;
}

const LIMIT_MS = 300_000;
/** Pages may be empty where a selector leaves nothing of them, but not many in a row: servers go on by themselves. */
const MAX_EMPTY_PAGES = 20;
/** What is sent may be so many times more than what is kept of it: the rest costs time, and in that others wait. */
const SENT_FOR_KEPT = 4;
/** A page that is too long is asked for again with so many times fewer objects. */
const SHRINK = 8;

/**
 * A whole list, page by page. When the server forgets the place to continue from, the list is taken once more in one piece:
 * on a server that is too busy to keep it for the time of all pages, more pages would not help. A page that is longer than
 * the client takes is asked for again in smaller ones. Throws `LimitError` for a list that is larger than it may be.
 */
export async function listAll<T extends KubeObject>(
  client: KubeClient,
  resource: Resource<T>,
  selection: Selection,
  options: ListAllOptions<T> = {},
): Promise<CompleteList<T>> {
  try {
    return await new Listing(client, resource, selection, options).take(options.pageSize ?? 500);
  } catch (error) {
    if (!isGone(error)) throw error;
    return await new Listing(client, resource, selection, options).take(undefined);
  }
}

/** One list on its way. The server may be anything: whatever it sends, this comes to an end. */
class Listing<T extends KubeObject> {
  readonly #client: KubeClient;
  readonly #resource: Resource<T>;
  readonly #selection: Selection;
  readonly #options: ListAllOptions<T>;
  readonly #clock: Clock;
  readonly #startedAt: number;
  readonly #items: T[] = [];
  readonly #keys = new Set<string>();
  #bytes = 0;
  #sentBytes = 0;
  #emptyPages = 0;

  constructor(client: KubeClient, resource: Resource<T>, selection: Selection, options: ListAllOptions<T>) {
    this.#client = client;
    this.#resource = resource;
    this.#selection = selection;
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#startedAt = this.#clock.monotonic();
  }

  async take(pageSize: number | undefined): Promise<CompleteList<T>> {
    let limit = pageSize;
    let next: string | undefined;
    for (;;) {
      let page: Awaited<ReturnType<KubeClient["list"]>>;
      try {
        page = await this.#page(limit, next);
      } catch (error) {
        if (!isTooLong(error) || limit === undefined || limit === 1) throw error;
        limit = Math.max(1, Math.floor(limit / SHRINK));
        continue;
      }
      this.#add(page.items as T[]);
      const { resourceVersion, continue: token } = page.metadata;
      if (!token) {
        if (!resourceVersion) throw this.#contradiction("has no resourceVersion: it cannot be watched");
        return { items: this.#items, resourceVersion };
      }
      this.#checkProgress(page.items.length, token === next);
      next = token;
    }
  }

  #page(limit: number | undefined, next: string | undefined) {
    const { signal } = this.#options;
    return this.#client.list(this.#resource, { ...this.#selection, limit, continue: next }, { signal });
  }

  #add(objects: readonly T[]): void {
    const { capacity, maxBytes, transform = (object) => object } = this.#options;
    for (const object of objects) {
      const key = keyOf(object);
      if (this.#keys.has(key)) throw this.#contradiction(`names ${JSON.stringify(key)} twice`);
      this.#keys.add(key);
      if (maxBytes !== undefined && Number.isFinite(maxBytes)) this.#sentBytes += weigh(object);
      const kept = transform(object);
      if (kept === undefined) continue;
      this.#items.push(kept);
      if (maxBytes !== undefined && Number.isFinite(maxBytes)) this.#bytes += weigh(kept);
    }
    if (capacity !== undefined && this.#keys.size > capacity) {
      throw this.#tooLarge(`more than ${capacity} objects`);
    }
    if (maxBytes === undefined) return;
    if (this.#bytes > maxBytes) throw this.#tooLarge(`more than ${maxBytes} bytes`);
    if (this.#sentBytes > SENT_FOR_KEPT * maxBytes)
      throw this.#tooLarge(`more than ${SENT_FOR_KEPT * maxBytes} bytes as it is sent`);
  }

  #checkProgress(objects: number, samePlace: boolean): void {
    this.#emptyPages = objects === 0 ? this.#emptyPages + 1 : 0;
    if (samePlace || this.#emptyPages > MAX_EMPTY_PAGES) throw this.#contradiction("has no end");
    const limitMs = this.#options.limitMs ?? LIMIT_MS;
    if (this.#clock.monotonic() - this.#startedAt < limitMs) return;
    throw this.#unusable(UNREACHABLE_REASON.timeout, `takes longer than ${limitMs / 1000} s`);
  }

  #contradiction(what: string): UnreachableError {
    return this.#unusable(UNREACHABLE_REASON.answer, what);
  }

  #unusable(reason: typeof UNREACHABLE_REASON.answer | typeof UNREACHABLE_REASON.timeout, what: string) {
    const { namespace } = this.#selection;
    const url = path(this.#resource, { namespace });
    const site: CallSite = { cluster: this.#client.cluster, method: "GET", path: url };
    return new UnreachableError(site, reason, `the list of ${this.#resource.plural} ${what}`);
  }

  #tooLarge(what: string): LimitError {
    return new LimitError(
      `cluster ${this.#client.cluster}: the list of ${this.#resource.plural} has ${what}: it is not taken`,
    );
  }
}
