import type { KubeObject } from "./objects.ts";
import type { Sink } from "./reflector.ts";

export type StoreListener<T> = (key: string, current: T | undefined, previous: T | undefined) => void;

export declare class Store<T extends KubeObject> implements Sink<T> {
  get(key: string): T | undefined;
  has(key: string): boolean;
  list(): T[];
  keys(): string[];
  readonly size: number;
  /** Keep an index: `values` says under which values an object is found by `by`. */
  index(name: string, values: (object: T) => readonly string[]): this;
  by(name: string, value: string): T[];
  /** Called after every difference. The function returned unsubscribes. */
  onChange(listener: StoreListener<T>): () => void;
  apply(object: T): void;
  delete(object: T): void;
  reset(objects: T[]): void;
  /** The answer to our own write, known before the watch tells it: older states that come later are ignored. */
  wrote(object: T): void;
  /** Our own delete succeeded: `object` is what was deleted. */
  removed(object: T): void;
}
