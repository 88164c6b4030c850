import type { KubeObject } from "../../controller/kube/objects.ts";
import type { Change } from "./fake-api-objects.ts";
import { selects } from "./fake-api-selectors.ts";

export interface WireEvent {
  type: string;
  object: unknown;
}

/** One open watch. */
export interface Watcher {
  collection: string;
  kind: string;
  apiVersion: string;
  namespace: string | undefined;
  labels: string | null;
  fields: string | null;
  send(event: WireEvent): void;
  /** End it as a server does. */
  end(): void;
  /** Break it off. */
  drop(): void;
}

/** Tells open watches what changes. */
export class Watches {
  readonly #open = new Set<Watcher>();
  /**
   * Lets a test repeat, hold back or reorder what is sent to a watch: returns what is to be sent instead of the event.
   */
  mangle: (event: WireEvent, watcher: Watcher) => WireEvent[] = (event) => [event];

  get size(): number {
    return this.#open.size;
  }

  open(watcher: Watcher, missed: readonly Change[]): void {
    for (const change of missed) this.#send(watcher, change);
    this.#open.add(watcher);
  }

  closed(watcher: Watcher): void {
    this.#open.delete(watcher);
  }

  tell(change: Change): void {
    for (const watcher of this.#open) this.#send(watcher, change);
  }

  /** As API servers do every minute. */
  bookmark(version: number): void {
    for (const watcher of this.#open) {
      const { kind, apiVersion } = watcher;
      const metadata = { resourceVersion: String(version), creationTimestamp: null };
      watcher.send({ type: "BOOKMARK", object: { kind, apiVersion, metadata } });
    }
  }

  /** An error within the stream: `status` is a Status. */
  fail(status: unknown): void {
    for (const watcher of [...this.#open]) {
      watcher.send({ type: "ERROR", object: status });
      watcher.end();
    }
  }

  end(): void {
    for (const watcher of [...this.#open]) watcher.end();
  }

  drop(): void {
    for (const watcher of [...this.#open]) watcher.drop();
  }

  #send(watcher: Watcher, change: Change): void {
    const event = eventFor(watcher, change);
    if (event) for (const each of this.mangle(event, watcher)) watcher.send(each);
  }
}

/** What a change is to a watch with selectors: an object that is selected no longer is deleted, to it. */
function eventFor(watcher: Watcher, change: Change): WireEvent | undefined {
  if (change.collection !== watcher.collection) return undefined;
  const selected = (object: KubeObject | undefined) =>
    object !== undefined &&
    (watcher.namespace === undefined || object.metadata.namespace === watcher.namespace) &&
    selects(object, watcher);
  const was = selected(change.previous);
  const is = change.type !== "DELETED" && selected(change.object);
  if (is) return { type: was ? "MODIFIED" : "ADDED", object: change.object };
  if (!was) return undefined;
  // The state that was selected, at the version at which it went.
  const { resourceVersion } = change.object.metadata;
  const last = change.previous as KubeObject;
  return { type: "DELETED", object: { ...last, metadata: { ...last.metadata, resourceVersion } } };
}
