import type { KubeObject } from "./objects.ts";

/** Where a reflector delivers what it sees: nothing behind it knows of lists and watches. */
export interface Sink<T extends KubeObject> {
  /** Most objects it takes; a longer list is refused before it is read to its end. @default any number */
  readonly capacity?: number;
  /** Most bytes of all objects together, as `weigh` counts them. @default any number */
  readonly maxBytes?: number;
  /** This object exists, like this. */
  apply(object: T): void;
  /** This object exists no longer; `object` is its last state. */
  delete(object: T): void;
  /** These objects exist and no others: only ever called with a complete list, as it was at `resourceVersion`. */
  reset(objects: T[], resourceVersion?: string): void;
}
