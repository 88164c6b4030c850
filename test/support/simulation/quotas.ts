import { isDeepStrictEqual } from "node:util";
import type { ResourceQuota } from "../../../controller/kube/objects.ts";
import { RESOURCE_QUOTAS, type Resource } from "../../../controller/kube/resource.ts";
import { type Change, collectionOf, type FakeObjects, Refusal } from "../fake-api-objects.ts";
import type { Random } from "./random.ts";
import type { VirtualTime } from "./virtual-time.ts";

/** What is counted is so old at most. */
const LATE_MS = 400;

export interface QuotasOptions {
  time: VirtualTime;
  objects: FakeObjects;
  random: Random;
  /** Whether counts may be so late that nobody waits for them. */
  isDisturbed: () => boolean;
}

interface Move {
  at: number;
  place: string;
  by: 1 | -1;
}

/**
 * Counts objects for ResourceQuotas, as Kubernetes does: an API server adds one to the count for each that it lets in, and
 * lets none in beyond the limit that was last counted for. A controller of its own counts all anew a little later, when the
 * limits have changed or something went, and what it knows may be of a moment ago.
 */
export class Quotas {
  readonly #options: QuotasOptions;
  readonly #time: VirtualTime;
  readonly #objects: FakeObjects;
  readonly #random: Random;
  /** Objects by namespace and type. */
  readonly #counts = new Map<string, number>();
  /** What came and went of late. */
  #moves: Move[] = [];

  constructor(options: QuotasOptions) {
    const { time, objects, random } = options;
    this.#options = options;
    this.#time = time;
    this.#objects = objects;
    this.#random = random;
    objects.onChange((change) => this.#changed(change));
  }

  /** Let an object be made in a namespace, or throw the `Refusal`. */
  admit(resource: Resource, namespace: string): void {
    const limit = `count/${collectionOf(resource)}`;
    for (const quota of this.#objects.list(RESOURCE_QUOTAS, namespace)) {
      const { hard = {}, used = {} } = quota.status ?? {};
      if (hard[limit] === undefined) continue;
      const next = Number(used[limit]) + 1;
      if (next > Number(hard[limit])) {
        const { name } = quota.metadata;
        throw new Refusal(403, "Forbidden", `exceeded quota: ${name}, limited: ${limit}=${hard[limit]}`);
      }
      this.#objects.modify(RESOURCE_QUOTAS, quota.metadata, (each) => ({
        ...each,
        status: { hard, used: { ...used, [limit]: String(next) } },
      }));
    }
  }

  #changed({ collection, type, object }: Change): void {
    const { namespace } = object.metadata;
    if (namespace === undefined) return;
    if (collection === "resourcequotas" && type !== "DELETED") {
      const { spec, status } = object as ResourceQuota;
      if (!isDeepStrictEqual(spec?.hard, status?.hard)) this.#countSoon(namespace);
    }
    if (type === "MODIFIED") return;
    const place = `${namespace} ${collection}`;
    const by = type === "ADDED" ? 1 : -1;
    this.#counts.set(place, (this.#counts.get(place) ?? 0) + by);
    this.#moves = this.#moves.filter(({ at }) => at >= this.#time.now - LATE_MS);
    this.#moves.push({ at: this.#time.now, place, by });
    if (type === "DELETED" && this.#objects.list(RESOURCE_QUOTAS, namespace).length > 0)
      this.#countSoon(namespace);
  }

  #countSoon(namespace: string): void {
    const ms = this.#random.weighted([
      [8, this.#random.between(5, 200)],
      [2, this.#random.between(200, 1_500)],
      [this.#options.isDisturbed() ? 0.5 : 0, 25_000],
    ]);
    this.#time.after(ms, () => this.#count(namespace));
  }

  #count(namespace: string): void {
    const asOf = this.#time.now - (this.#random.chance(0.4) ? this.#random.between(0, LATE_MS) : 0);
    for (const { metadata } of this.#objects.list(RESOURCE_QUOTAS, namespace)) {
      this.#objects.modify(RESOURCE_QUOTAS, metadata, (quota) => {
        const { hard = {} } = quota.spec ?? {};
        const used = Object.keys(hard).map((limit) => {
          const place = `${namespace} ${limit.slice("count/".length)}`;
          return [limit, String(this.#countedAt(place, asOf))];
        });
        return { ...quota, status: { hard, used: Object.fromEntries(used) } };
      });
    }
  }

  #countedAt(place: string, asOf: number): number {
    const since = this.#moves.filter((move) => move.place === place && move.at > asOf);
    return since.reduce((count, { by }) => count - by, this.#counts.get(place) ?? 0);
  }
}
