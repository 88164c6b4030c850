import type { Clock } from "./clock.ts";
import { type KubeObject, keyOf } from "./objects.ts";
import type { Sink } from "./sink.ts";
import type { Store } from "./store.ts";
import { compareVersions } from "./version.ts";

/**
 * An object whose labels change from what one selection asks for to what another does leaves the one and enters the other,
 * on two watches of which either can be first. For so long it is not taken to be gone.
 */
const MOVING_MS = 250;

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
  readonly #clock: Clock;
  #parts: Part<T>[] = [];

  constructor(store: Store<T>, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
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
      maxBytes: this.#store.maxBytes,
      apply: (object) => {
        if (!alive()) return;
        part.objects.set(keyOf(object), object);
        if (!this.#isOutdated(object)) this.#store.apply(object);
      },
      delete: (object) => {
        part.objects.delete(keyOf(object));
        if (this.#parts.length === 1) this.#gone(part, object);
        else this.#clock.after(MOVING_MS, () => this.#gone(part, object));
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

  /** One part sees an object no longer. Another may have it, or may turn out to have it once it is listed. */
  #gone(part: Part<T>, object: T): void {
    const key = keyOf(object);
    if (!this.#parts.includes(part) || !this.listed || this.#parts.some((each) => each.objects.has(key)))
      return;
    this.#store.delete(object);
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
