import { LimitError } from "./errors.ts";
import { type KubeObject, keyOf } from "./objects.ts";
import type { Sink } from "./sink.ts";
import { compareVersions } from "./version.ts";
import { weigh } from "./weigh.ts";

/**
 * Told of every difference: `current` is absent for what is gone, `previous` for what is new. `own` where it is the answer
 * to a write of ours: whoever wrote knows.
 */
export type StoreListener<T> = (
  key: string,
  current: T | undefined,
  previous: T | undefined,
  own: boolean,
) => void;

export interface StoreOptions {
  /** Most objects held; one more is an error. For what comes from clusters that are not ours. @default any number */
  capacity?: number;
  /** Most bytes of all objects together, as `weigh` counts them; one that goes beyond is an error. @default any number */
  maxBytes?: number;
}

/** Our own last write of a key, until a watch has caught up with it. */
interface OwnWrite {
  uid: string | undefined;
  version: string | undefined;
  /** It was a delete. */
  removed: boolean;
}

interface Index<T> {
  values: (object: T) => readonly string[];
  keys: Map<string, Set<string>>;
}

/**
 * The objects of one resource as last seen, by key (`namespace/name`). Filled by a reflector; read by reconciles. Those who
 * write put the answer in with `wrote`, so that their next look is never at a state from before their own write.
 */
export class Store<T extends KubeObject> implements Sink<T> {
  readonly capacity: number;
  readonly maxBytes: number;
  /** Of all objects, where there is a limit. */
  #bytes = 0;
  readonly #objects = new Map<string, T>();
  readonly #own = new Map<string, OwnWrite>();
  readonly #indexes = new Map<string, Index<T>>();
  readonly #listeners = new Set<StoreListener<T>>();
  /** The latest resourceVersion that a watch or list brought: everything up to it has been told. */
  #told: string | undefined;

  constructor(options: StoreOptions = {}) {
    this.capacity = options.capacity ?? Number.POSITIVE_INFINITY;
    this.maxBytes = options.maxBytes ?? Number.POSITIVE_INFINITY;
  }

  get(key: string): T | undefined {
    return this.#objects.get(key);
  }

  has(key: string): boolean {
    return this.#objects.has(key);
  }

  list(): T[] {
    return [...this.#objects.values()];
  }

  keys(): string[] {
    return [...this.#objects.keys()];
  }

  get size(): number {
    return this.#objects.size;
  }

  /** Keep an index: `values` says under which values `by` finds an object. */
  index(name: string, values: (object: T) => readonly string[]): this {
    if (this.#indexes.has(name)) throw new Error(`there is an index ${JSON.stringify(name)} already`);
    const index: Index<T> = { values, keys: new Map() };
    this.#indexes.set(name, index);
    for (const [key, object] of this.#objects) enter(index, key, object);
    return this;
  }

  /** The objects that the index has under `value`. */
  by(name: string, value: string): T[] {
    const index = this.#indexes.get(name);
    if (!index) throw new Error(`there is no index ${JSON.stringify(name)}`);
    return [...(index.keys.get(value) ?? [])].map((key) => this.#objects.get(key) as T);
  }

  /** Call `listener` after every difference. The function returned ends that. */
  onChange(listener: StoreListener<T>): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  apply(object: T): void {
    const key = keyOf(object);
    this.#wasTold(object);
    if (this.#isBeforeOwnWrite(key, object)) return;
    this.#own.delete(key);
    this.#set(key, object);
  }

  delete(object: T): void {
    const key = keyOf(object);
    this.#wasTold(object);
    const uid = object.metadata.uid;
    // The end of an object that stood there before ours says nothing about ours.
    if (this.#own.get(key)?.uid === uid) this.#own.delete(key);
    if (sameUid(this.#objects.get(key), uid)) this.#unset(key);
  }

  reset(objects: T[], resourceVersion?: string): void {
    if (objects.length > this.capacity) throw this.#full();
    if (objects.reduce((sum, object) => sum + this.#weigh(object), 0) > this.maxBytes) throw this.#tooHeavy();
    const listed = new Set<string>();
    const failures: unknown[] = [];
    for (const object of objects) {
      const key = keyOf(object);
      listed.add(key);
      if (!this.#isBeforeOwnWrite(key, object))
        attempt(failures, () => this.#set(key, object, { fits: true }));
    }
    for (const key of this.#objects.keys()) {
      if (listed.has(key)) continue;
      const own = this.#own.get(key);
      // Written after the list was made: the watch that follows will tell.
      if (own && isOlder(resourceVersion, own.version)) continue;
      attempt(failures, () => this.#unset(key));
    }
    // Whatever was not confirmed by now need not outlive another list.
    this.#own.clear();
    this.#told = resourceVersion;
    if (failures.length > 0) throw listenersFailed(failures);
  }

  /** The answer to our own write. States from before it, which a watch may still bring, are ignored. */
  wrote(object: T): void {
    this.#answered(object, true);
  }

  /** What the server answered when it was asked for this object. States from before are ignored as after a write. */
  read(object: T): void {
    this.#answered(object, false);
  }

  #answered(object: T, own: boolean): void {
    const key = keyOf(object);
    const { uid, resourceVersion } = object.metadata;
    // The answer was slower than the watch, which may have told of the object's end since.
    if (isOlder(resourceVersion, this.#told) || resourceVersion === this.#told) return;
    this.#own.set(key, { uid, version: resourceVersion, removed: false });
    // As a reflector brings objects: who wrote which field is of no use here.
    delete object.metadata.managedFields;
    this.#set(key, object, { own });
  }

  /** Our own delete succeeded: `object` is gone, or going. */
  removed(object: T): void {
    const key = keyOf(object);
    const { uid, resourceVersion } = object.metadata;
    const known = this.#objects.get(key);
    if (!sameUid(known, uid)) return;
    // The watch was faster, and told that it is going: so it is there until the watch tells of its end.
    const going = known?.metadata.deletionTimestamp !== undefined;
    if (going && isOlder(resourceVersion, known.metadata.resourceVersion)) return;
    this.#own.set(key, { uid, version: resourceVersion, removed: true });
    this.#unset(key, true);
  }

  #wasTold({ metadata: { resourceVersion } }: T): void {
    if (!isOlder(resourceVersion, this.#told)) this.#told = resourceVersion;
  }

  #isBeforeOwnWrite(key: string, object: T): boolean {
    const own = this.#own.get(key);
    const { uid, resourceVersion, deletionTimestamp } = object.metadata;
    if (own === undefined) return false;
    if (isOlder(resourceVersion, own.version)) return true;
    // What we deleted can only come back as something that is being deleted, or as another object.
    return own.removed && own.uid === uid && deletionTimestamp === undefined;
  }

  /** @param fits as part of a list that fits as a whole: what it replaces goes only afterwards */
  #set(key: string, object: T, { fits = false, own = false } = {}): void {
    const previous = this.#objects.get(key);
    if (previous && isSameState(previous, object)) return;
    if (!fits && !previous && this.#objects.size >= this.capacity) throw this.#full();
    const bytes = this.#bytes + this.#weigh(object) - this.#weigh(previous);
    if (!fits && bytes > this.maxBytes && bytes > this.#bytes) throw this.#tooHeavy();
    this.#bytes = bytes;
    this.#objects.set(key, object);
    for (const index of this.#indexes.values()) {
      if (previous) leave(index, key, previous);
      enter(index, key, object);
    }
    this.#tell(key, object, previous, own);
  }

  #unset(key: string, own = false): void {
    const previous = this.#objects.get(key);
    if (!previous) return;
    this.#bytes -= this.#weigh(previous);
    this.#objects.delete(key);
    for (const index of this.#indexes.values()) leave(index, key, previous);
    this.#tell(key, undefined, previous, own);
  }

  /** A listener that throws does not keep the others from hearing. */
  #tell(key: string, current: T | undefined, previous: T | undefined, own: boolean): void {
    const failures: unknown[] = [];
    for (const listener of this.#listeners) attempt(failures, () => listener(key, current, previous, own));
    if (failures.length > 0) throw listenersFailed(failures);
  }

  #weigh(object: T | undefined): number {
    return object === undefined || this.maxBytes === Number.POSITIVE_INFINITY ? 0 : weigh(object);
  }

  #full(): Error {
    return new LimitError(`more than ${this.capacity} objects`);
  }

  #tooHeavy(): Error {
    return new LimitError(`more than ${this.maxBytes} bytes of objects`);
  }
}

/** Each of them has been heard; the first is told. */
function listenersFailed(failures: unknown[]): Error {
  const [first] = failures;
  const message = first instanceof Error ? first.message : String(first);
  return new AggregateError(failures, `a listener failed: ${message}`, { cause: first });
}

function attempt(failures: unknown[], action: () => void): void {
  try {
    action();
  } catch (error) {
    failures.push(error);
  }
}

function enter<T>(index: Index<T>, key: string, object: T): void {
  for (const value of index.values(object)) {
    const keys = index.keys.get(value);
    if (keys) keys.add(key);
    else index.keys.set(value, new Set([key]));
  }
}

function leave<T>(index: Index<T>, key: string, object: T): void {
  for (const value of index.values(object)) {
    const keys = index.keys.get(value);
    keys?.delete(key);
    if (keys?.size === 0) index.keys.delete(value);
  }
}

function sameUid(object: KubeObject | undefined, uid: string | undefined): boolean {
  return object !== undefined && (uid === undefined || object.metadata.uid === uid);
}

function isSameState(a: KubeObject, b: KubeObject): boolean {
  const version = b.metadata.resourceVersion;
  return version !== undefined && a.metadata.resourceVersion === version && a.metadata.uid === b.metadata.uid;
}

function isOlder(version: string | undefined, than: string | undefined): boolean {
  const order = compareVersions(version, than);
  return order !== undefined && order < 0;
}
