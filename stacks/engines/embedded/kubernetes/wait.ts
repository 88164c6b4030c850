/** Waiting for one object, by watching it. */
import { setTimeout as delay } from "node:timers/promises";
import type { Client, KubeObject } from "./client.ts";
import { ApiError, Unreachable } from "./errors.ts";
import type { Readiness } from "./readiness.ts";

/** Milliseconds before an object is read again when watching it has told nothing. */
const PAUSE = 250;

/** One object: the path of its collection, and its name there. */
export interface Place {
  collection: string;
  name: string;
}

export class NotReady extends Error {
  override readonly name = "NotReady";
  /** As it was last seen. */
  readonly object: KubeObject | undefined;

  constructor(message: string, object: KubeObject | undefined) {
    super(message);
    this.object = object;
  }
}

/**
 * Returns the object as soon as `check` finds it ready; `undefined` stands for an object that is not there.
 * @throws NotReady when it fails, when time is up, or when `signal` is aborted
 */
export async function waitUntil(
  client: Client,
  place: Place,
  check: (object: KubeObject | undefined) => Readiness,
  limit: number,
  signal: AbortSignal,
): Promise<KubeObject | undefined> {
  const timeout = AbortSignal.timeout(limit);
  const both = AbortSignal.any([signal, timeout]);
  let seen: KubeObject | undefined;
  let why = "nothing was seen of it";
  const isDone = (object: KubeObject | undefined): boolean => {
    seen = object;
    const readiness = check(object);
    if (readiness.state === "failed") throw new NotReady(readiness.why, object);
    if (readiness.state === "waiting") why = readiness.why;
    return readiness.state === "ready";
  };
  try {
    for (;;) {
      let seenSince = false;
      try {
        const object = await getObject(client, place, both);
        if (isDone(object)) return object;
        const query = { fieldSelector: `metadata.name=${place.name}`, ...since(object) };
        for await (const event of client.watch(place.collection, { ...query, timeoutSeconds: "60" }, both)) {
          seenSince = true;
          // An error in the stream (too old a version, say) ends it: look again.
          if (event.type === "ERROR") break;
          const now = event.type === "DELETED" ? undefined : event.object;
          if (isDone(now)) return now;
        }
      } catch (error) {
        if (!passes(error)) throw error;
        why = (error as Error).message;
      }
      if (!seenSince) await delay(PAUSE, undefined, { signal: both });
      both.throwIfAborted();
    }
  } catch (error) {
    if (error instanceof NotReady || !both.aborted) throw error;
    const end =
      timeout.aborted && !signal.aborted ? `not ready after ${limit / 1000} s` : "interrupted while waiting";
    throw new NotReady(`${end}: ${why}`, seen);
  }
}

export async function getObject(
  client: Client,
  place: Place,
  signal?: AbortSignal,
): Promise<KubeObject | undefined> {
  try {
    const path = `${place.collection}/${encodeURIComponent(place.name)}`;
    return await client.request({ method: "GET", path, ...(signal !== undefined && { signal }) });
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return undefined;
    throw error;
  }
}

function since(object: KubeObject | undefined): Record<string, string> {
  const version = object?.metadata?.resourceVersion;
  return version === undefined ? {} : { resourceVersion: version };
}

/** An API server that restarts, or has forgotten a version, is one to ask again for as long as there is time. */
function passes(error: unknown): boolean {
  if (error instanceof ApiError) return error.status === 410 || error.status === 429 || error.status >= 500;
  return error instanceof Unreachable && error.code !== undefined;
}
