import { type CallSite, KubeError, type Status, UNREACHABLE_REASON, UnreachableError } from "./errors.ts";
import type { KubeList, KubeObject } from "./objects.ts";
import { apiVersion, type Resource } from "./resource.ts";
import type { Answer } from "./transport.ts";

/** Read an answer to its end. Throws `KubeError` when it is an error, `UnreachableError` when it is no JSON or too long. */
export async function readAnswer(answer: Answer, site: CallSite, maxBytes: number): Promise<unknown> {
  const text = await readText(answer.body, site, maxBytes);
  const value = parseJson(text);
  if (answer.status >= 400) {
    const retryAfter = retryAfterHeader(answer.headers["retry-after"]);
    throw statusError(site, answer.status, value ?? { message: excerpt(text) }, retryAfter);
  }
  if (answer.status < 200 || answer.status >= 300) {
    const where = answer.headers.location === undefined ? "" : ` to ${String(answer.headers.location)}`;
    throw notAnApiServer(
      site,
      `the answer is a redirection (${answer.status})${where}, which is not followed`,
    );
  }
  if (value === undefined) throw notAnApiServer(site, `the answer is no JSON but ${excerpt(text)}`);
  return value;
}

/** No server is left alone for longer at a time, whatever it asks for: one that asks for a day would be lost for a day. */
const MAX_RETRY_AFTER_MS = 60_000;

/** The error that a `Status` stands for, whether it is an answer's body or an event of a watch. */
export function statusError(site: CallSite, code: number, body: unknown, retryAfterMs?: number): KubeError {
  const status: Status = isRecord(body) ? body : {};
  const seconds = status.details?.retryAfterSeconds;
  return new KubeError(
    site,
    code,
    {
      ...(typeof status.reason === "string" && { reason: status.reason }),
      ...(typeof status.message === "string" && { message: status.message }),
    },
    pause(retryAfterMs ?? (typeof seconds === "number" && seconds > 0 ? seconds * 1000 : undefined)),
  );
}

/** `value`, if it can be an object of this resource. */
export function checkObject<T extends KubeObject>(value: unknown, resource: Resource<T>, site: CallSite): T {
  if (!hasName(value)) throw notAnApiServer(site, `the answer is no ${resource.kind}`);
  return value as unknown as T;
}

/** `value`, if it can be a list of this resource; its items get the `apiVersion` and `kind` that servers leave out. */
export function checkList<T extends KubeObject>(
  value: unknown,
  resource: Resource<T>,
  site: CallSite,
): KubeList<T> {
  // An empty list is written `null` by some servers.
  const items = isRecord(value) && isRecord(value.metadata) ? (value.items ?? []) : undefined;
  if (!Array.isArray(items) || !items.every(hasName)) {
    throw notAnApiServer(site, `the answer is no list of ${resource.plural}`);
  }
  const type = { apiVersion: apiVersion(resource), kind: resource.kind };
  return { ...(value as KubeList<T>), items: items.map((item) => ({ ...type, ...item }) as unknown as T) };
}

export function notAnApiServer(site: CallSite, detail: string): UnreachableError {
  return new UnreachableError(site, UNREACHABLE_REASON.answer, detail);
}

/** Of an answer, or an event of a watch, that is not read to its end. */
export function tooLong(site: CallSite, what: string, maxBytes: number): UnreachableError {
  return new UnreachableError(site, UNREACHABLE_REASON.tooLong, `${what} is longer than ${maxBytes} bytes`);
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function hasName(value: unknown): value is Record<string, unknown> {
  if (!isRecord(value) || !isRecord(value.metadata)) return false;
  return typeof value.metadata.name === "string" && value.metadata.name !== "";
}

/** `undefined` where `text` is no JSON. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The beginning of what was sent instead of what was expected, for an error's message. */
export function excerpt(text: string): string {
  return text.trim() === "" ? "nothing" : JSON.stringify(text.trim().slice(0, 120));
}

function pause(ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : Math.min(ms, MAX_RETRY_AFTER_MS);
}

async function readText(body: AsyncIterable<Buffer>, site: CallSite, maxBytes: number): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of body) {
    length += chunk.length;
    if (length > maxBytes) throw tooLong(site, "the answer", maxBytes);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** The seconds of a `Retry-After`, as milliseconds; its other form, a date, API servers do not use. */
function retryAfterHeader(value: string | string[] | undefined): number | undefined {
  return typeof value === "string" && /^\d{1,6}$/.test(value) ? Number(value) * 1000 : undefined;
}
