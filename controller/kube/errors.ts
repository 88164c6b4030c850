/** The object by which an API server says what went wrong (`kind: Status`). */
export interface Status {
  kind?: string;
  status?: string;
  code?: number;
  reason?: string;
  message?: string;
  details?: { retryAfterSeconds?: number; causes?: { reason?: string; message?: string; field?: string }[] };
}

/** Where a call went: part of every error's message. */
export interface CallSite {
  /** Name of the cluster, as the mesh calls it. */
  cluster: string;
  method: string;
  path: string;
}

/** An API server answered, and the answer is an error. */
export class KubeError extends Error {
  override readonly name = "KubeError";
  /** HTTP status code. */
  readonly status: number;
  /** The server's word for it, e.g. `NotFound`, `AlreadyExists`, `Expired`. */
  readonly reason: string;
  /** How long the server asked to be left alone. */
  readonly retryAfterMs: number | undefined;
  readonly cluster: string;
  readonly method: string;
  readonly path: string;
  /** What the server said, without our words around it: fit for a condition on an object. */
  readonly detail: string;

  constructor(site: CallSite, status: number, body: Status, retryAfterMs?: number) {
    const reason = body.reason ?? "";
    const detail = clip(body.message ?? (reason || `HTTP status ${status}`));
    super(`cluster ${site.cluster}: ${site.method} ${site.path}: ${status} ${reason}: ${detail}`);
    this.status = status;
    this.reason = reason;
    this.detail = detail;
    this.retryAfterMs = retryAfterMs;
    this.cluster = site.cluster;
    this.method = site.method;
    this.path = site.path;
  }
}

/** Why no usable answer came. */
export const UNREACHABLE_REASON = {
  /** Nothing listens there. */
  refused: "refused",
  /** No such host name. */
  name: "name",
  /** The server's certificate is not one that the credentials trust, or the server refused ours. */
  certificate: "certificate",
  /** Nothing came back in time. */
  timeout: "timeout",
  /** An answer began, and then nothing more of it came. */
  silent: "silent",
  /** The connection broke. */
  disconnected: "disconnected",
  /** Something answered that is no API server, or one that does not keep to the rules. */
  answer: "answer",
  /** The answer, or an event of a watch, was longer than what we take, and was not read to its end. */
  tooLong: "tooLong",
  /** The credentials could not be had (a token file, a login program). */
  credentials: "credentials",
} as const;
export type UnreachableReason = (typeof UNREACHABLE_REASON)[keyof typeof UNREACHABLE_REASON];

/** An API server could not be asked, or gave no answer that can be understood. Whether a write took place is unknown. */
export class UnreachableError extends Error {
  override readonly name = "UnreachableError";
  readonly reason: UnreachableReason;
  readonly cluster: string;
  readonly method: string;
  readonly path: string;
  /** What happened, without where: fit for a condition on an object. */
  readonly detail: string;

  constructor(site: CallSite, reason: UnreachableReason, detail: string, cause?: unknown) {
    super(`cluster ${site.cluster}: ${site.method} ${site.path}: ${detail}`, { cause });
    this.reason = reason;
    this.detail = detail;
    this.cluster = site.cluster;
    this.method = site.method;
    this.path = site.path;
  }
}

/** A write was not sent: the time in which its writer may write had run out before the first byte of it was gone. */
export class FencedError extends Error {
  override readonly name = "FencedError";
}

/** There is more of something than we take. */
export class LimitError extends Error {
  override readonly name = "LimitError";
}

/** The server's answers contradict each other: only a new list can tell what is true. */
export class HistoryError extends Error {
  override readonly name = "HistoryError";
}

/** The object, or its kind, does not exist. */
export const isNotFound = (error: unknown): error is KubeError => has(error, 404);
/** The object changed since it was read, or a precondition does not hold. */
export const isConflict = (error: unknown): error is KubeError =>
  has(error, 409) && error.reason !== "AlreadyExists";
/** An object of that name exists. */
export const isAlreadyExists = (error: unknown): error is KubeError =>
  has(error, 409) && error.reason === "AlreadyExists";
/** The resourceVersion, or the page to continue from, is no longer known: list again. */
export const isGone = (error: unknown): error is KubeError =>
  error instanceof KubeError && (error.status === 410 || error.reason === "Expired");
/** The credentials are not known or have expired. */
export const isUnauthorized = (error: unknown): error is KubeError => has(error, 401);
/** The credentials are known and may not do this. */
export const isForbidden = (error: unknown): error is KubeError => has(error, 403);
/** The server asks for fewer calls; `retryAfterMs` says for how long. */
export const isTooManyRequests = (error: unknown): error is KubeError => has(error, 429);
/** The object is not one the server takes, now or later: trying it again unchanged is no use. */
export const isInvalid = (error: unknown): error is KubeError =>
  error instanceof KubeError && (error.status === 422 || error.status === 400);
/** No answer: the network, TLS, or something that is no API server. */
export const isUnreachable = (error: unknown): error is UnreachableError => error instanceof UnreachableError;
/** An answer that was longer than what we take: of a list, a smaller page may not be. */
export const isTooLong = (error: unknown): error is UnreachableError =>
  isUnreachable(error) && error.reason === UNREACHABLE_REASON.tooLong;

/** An answer that began and of which nothing more came. */
export const isSilent = (error: unknown): error is UnreachableError =>
  isUnreachable(error) && error.reason === UNREACHABLE_REASON.silent;

/** How long the server asked to be left alone, where `error` says so. */
export function retryAfterMs(error: unknown): number | undefined {
  return error instanceof KubeError ? error.retryAfterMs : undefined;
}

function has(error: unknown, status: number): error is KubeError {
  return error instanceof KubeError && error.status === status;
}

/** A server that is not trusted must not fill our logs and conditions. */
function clip(text: string): string {
  return text.length <= 1024 ? text : `${text.slice(0, 1024)}…`;
}
