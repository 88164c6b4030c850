import { type KubeObject, keyOf } from "./objects.ts";
import type { Sink } from "./sink.ts";
import type { Store } from "./store.ts";
import { compareVersions } from "./version.ts";

/** What one of the parts has seen. */
interface Part<T> {
  objects: Map<string, T>;
  listed: boolean;
}

/**
 * A store that several reflectors fill, each with another selection of one resource: a label selector knows no "or". An
 * object is there as long as one of them sees it.
 *
 * When the selections change, what is known stays until each of the new ones has been listed completely: only then is it
 * known what is no longer there.
 */
export class Union<T extends KubeObject> {
  readonly #store: Store<T>;
  #parts: Part<T>[] = [];

  constructor(store: Store<T>) {
    this.#store = store;
  }

  /** Whether every part has been listed. */
  get listed(): boolean {
    return this.#parts.length > 0 && this.#parts.every(({ listed }) => listed);
  }

  /** Start over with so many selections; the sinks of those before are dead. */
  begin(count: number): Sink<T>[] {
    this.#parts = Array.from({ length: count }, () => ({ objects: new Map(), listed: false }));
    return this.#parts.map((part) => this.#sink(part));
  }

  #sink(part: Part<T>): Sink<T> {
    const alive = () => this.#parts.includes(part);
    return {
      capacity: this.#store.capacity,
      apply: (object) => {
        if (!alive()) return;
        part.objects.set(keyOf(object), object);
        if (!this.#isOutdated(object)) this.#store.apply(object);
      },
      delete: (object) => {
        const key = keyOf(object);
        part.objects.delete(key);
        // Another selection may have it, or may turn out to have it once it is listed.
        if (!alive() || !this.listed || this.#parts.some((each) => each.objects.has(key))) return;
        this.#store.delete(object);
      },
      reset: (objects, resourceVersion) => {
        if (!alive()) return;
        part.objects = new Map(objects.map((object) => [keyOf(object), object]));
        part.listed = true;
        if (this.listed) this.#store.reset(this.#all(), resourceVersion);
        else for (const object of objects) if (!this.#isOutdated(object)) this.#store.apply(object);
      },
    };
  }

  /** Each object once, as the part that saw it last saw it. */
  #all(): T[] {
    const all = new Map<string, T>();
    for (const part of this.#parts) {
      for (const [key, object] of part.objects) {
        const other = all.get(key);
        if (other === undefined || !isOlder(object, other)) all.set(key, object);
      }
    }
    return [...all.values()];
  }

  /** Whether another part has told of a later state of the same object. */
  #isOutdated(object: T): boolean {
    const key = keyOf(object);
    return this.#parts.some((part) => {
      const other = part.objects.get(key);
      return other !== undefined && isOlder(object, other);
    });
  }
}

function isOlder(a: KubeObject, b: KubeObject): boolean {
  const order = compareVersions(a.metadata.resourceVersion, b.metadata.resourceVersion);
  return order !== undefined && order < 0;
}
