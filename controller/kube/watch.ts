import { excerpt, hasName, isRecord, notAnApiServer, parseJson, statusError, tooLong } from "./answer.ts";
import { type CallSite, isSilent, UNREACHABLE_REASON, UnreachableError } from "./errors.ts";
import type { KubeObject } from "./objects.ts";

export type WatchEvent<T extends KubeObject> =
  | { type: "ADDED" | "MODIFIED" | "DELETED"; object: T }
  /** Nothing changed up to this resourceVersion. */
  | { type: "BOOKMARK"; object: { metadata: { resourceVersion: string } } };

/**
 * The events of an open watch, one JSON object a line. Ends when the server ends the watch, or says nothing for too long.
 * An `ERROR` event is thrown as the `KubeError` that it stands for (410 means: list again); a line that is no event, as an
 * `UnreachableError`.
 */
export async function* readWatch<T extends KubeObject>(
  body: AsyncIterable<Buffer>,
  site: CallSite,
  maxLineBytes: number,
): AsyncGenerator<WatchEvent<T>> {
  for await (const line of readLines(body, site, maxLineBytes)) {
    const event = parseJson(line);
    if (!isRecord(event) || !isRecord(event.object)) {
      throw notAnApiServer(site, `the watch sent no event but ${excerpt(line)}`);
    }
    if (event.type === "ERROR") {
      const code = typeof event.object.code === "number" ? event.object.code : 500;
      throw statusError(site, code, event.object);
    }
    if (!isEvent<T>(event)) throw notAnApiServer(site, `the watch sent no event but ${excerpt(line)}`);
    yield event;
  }
}

function isEvent<T extends KubeObject>(event: Record<string, unknown>): event is WatchEvent<T> {
  switch (event.type) {
    case "ADDED":
    case "MODIFIED":
    case "DELETED":
      return hasName(event.object);
    case "BOOKMARK": {
      const { metadata } = event.object as Record<string, unknown>;
      return isRecord(metadata) && typeof metadata.resourceVersion === "string";
    }
    default:
      return false;
  }
}

/** A server that has nothing to say is silent between two events; one that stops within an event is not well. */
async function* untilSilent(
  body: AsyncIterable<Buffer>,
  site: CallSite,
  isWithinEvent: () => boolean,
): AsyncGenerator<Buffer> {
  try {
    yield* body;
  } catch (error) {
    if (!isSilent(error)) throw error;
    if (isWithinEvent()) throw new UnreachableError(site, UNREACHABLE_REASON.timeout, error.detail, error);
  }
}

/** The lines of a stream; what follows the last line break was cut off, and is dropped. */
async function* readLines(
  body: AsyncIterable<Buffer>,
  site: CallSite,
  maxBytes: number,
): AsyncGenerator<string> {
  let parts: Buffer[] = [];
  let held = 0;
  for await (const chunk of untilSilent(body, site, () => held > 0)) {
    let start = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
      const rest = chunk.subarray(start, end);
      const line = parts.length === 0 ? rest : Buffer.concat([...parts, rest]);
      parts = [];
      held = 0;
      start = end + 1;
      if (line.length > 0) yield line.toString("utf8");
    }
    if (start < chunk.length) {
      parts.push(chunk.subarray(start));
      held += chunk.length - start;
    }
    if (held > maxBytes) throw tooLong(site, "an event of the watch", maxBytes);
  }
}
