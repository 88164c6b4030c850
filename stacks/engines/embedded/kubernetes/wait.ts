/** Waiting for one object, by watching it. */
import type { Client, KubeObject } from "./client.ts";
import { ApiError, Unreachable } from "./errors.ts";
import type { Readiness } from "./readiness.ts";

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
      const object = await getObject(client, place, both);
      if (isDone(object)) return object;
      const query = { fieldSelector: `metadata.name=${place.name}`, ...since(object) };
      for await (const event of watchFor(client, place.collection, query, both)) {
        // An error in the stream (too old a version, say) ends it: look again.
        if (event.type === "ERROR") break;
        const now = event.type === "DELETED" ? undefined : event.object;
        if (isDone(now)) return now;
      }
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

/** A watch that may not be had, or is lost, is an empty one: the loop above reads the object again. */
async function* watchFor(client: Client, path: string, query: Record<string, string>, signal: AbortSignal) {
  try {
    yield* client.watch(path, { ...query, timeoutSeconds: "60" }, signal);
  } catch (error) {
    const lost =
      error instanceof ApiError
        ? error.status === 410
        : error instanceof Unreachable && error.code !== undefined;
    if (!lost && !signal.aborted) throw error;
  }
}
