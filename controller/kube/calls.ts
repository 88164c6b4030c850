/** What can be said with a call to an API server; the calls themselves are those of `KubeClient`. */

export interface CallOptions {
  signal?: AbortSignal | undefined;
  /** How long the server may take to begin its answer, and again to finish it. @default 30000 */
  timeoutMs?: number | undefined;
}

/**
 * Called at the moment at which a write is about to be sent, after it has waited for its turn and for a connection. What it
 * throws, the write rejects with, and nothing of it has been sent.
 */
export type Fence = () => void;

export interface WriteOptions extends CallOptions {
  /** Who the fields written belong to. Must be given for `apply`. */
  fieldManager?: string | undefined;
  /** Let the server check everything and store nothing. */
  dryRun?: boolean | undefined;
  /** `status`, for instance. */
  subresource?: string | undefined;
  /** Ahead of other writes where the throttle holds some back. */
  urgent?: boolean | undefined;
  /** Never held back: for what must not wait even while the server asks for fewer calls. */
  unthrottled?: boolean | undefined;
  /** @default none: whoever calls may write */
  fence?: Fence | undefined;
}

export interface ApplyOptions extends WriteOptions {
  fieldManager: string;
  /** Take over fields that another manager owns. */
  force?: boolean | undefined;
}

export interface PatchOptions extends WriteOptions {
  type: "merge" | "json" | "strategic";
}

export interface DeleteOptions extends CallOptions {
  /** Delete only this very object: another of the same name, or a newer version, is a conflict (409). */
  preconditions?: { uid?: string | undefined; resourceVersion?: string | undefined } | undefined;
  propagationPolicy?: "Orphan" | "Background" | "Foreground" | undefined;
  dryRun?: boolean | undefined;
  urgent?: boolean | undefined;
  fence?: Fence | undefined;
}

export interface Selection {
  /** Absent: all namespaces. */
  namespace?: string | undefined;
  labelSelector?: string | undefined;
  fieldSelector?: string | undefined;
}

export interface ListQuery extends Selection {
  limit?: number | undefined;
  continue?: string | undefined;
  resourceVersion?: string | undefined;
}

export interface WatchQuery extends Selection {
  resourceVersion: string;
  /** When the server ends the watch. @default the server's choice */
  timeoutSeconds?: number | undefined;
  /** End the watch after so long without a byte. @default 0: never */
  idleTimeoutMs?: number | undefined;
  /** The server has accepted the watch; events may be long in coming. */
  onOpen?: (() => void) | undefined;
}

export interface RequestOptions extends CallOptions {
  query?: Record<string, string | number | boolean | undefined>;
  /** Sent as JSON. */
  body?: unknown;
  /** @default "application/json" */
  contentType?: string;
  /** Which forms of the answer are taken. @default "application/json" */
  accept?: string;
  urgent?: boolean | undefined;
  unthrottled?: boolean | undefined;
  fence?: Fence | undefined;
}
