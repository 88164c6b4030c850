import type { Credentials } from "./credentials.ts";
import type { KubeList, KubeObject, ObjectRef } from "./objects.ts";
import type { Resource } from "./resource.ts";
import type { Throttle } from "./throttle.ts";

export interface KubeClientOptions {
  /** Name of the cluster, as the mesh calls it: for errors. */
  cluster: string;
  credentials: Credentials;
  /** @default "isthmus-controller" */
  userAgent?: string;
  /** Most bytes taken of one answer, and of one watch event. @default 64 MiB */
  maxResponseBytes?: number;
  /** Most connections at a time, where the server speaks HTTP/1.1 only; with HTTP/2 there is one. @default 16 */
  connections?: number;
  /** Finds how many writes at a time the server takes. @default no limit */
  throttle?: Throttle;
}

export interface CallOptions {
  signal?: AbortSignal | undefined;
  /** @default 30000 */
  timeoutMs?: number | undefined;
}

export interface WriteOptions extends CallOptions {
  /** Who the fields written belong to. Must be given for `apply`. */
  fieldManager?: string | undefined;
  /** Let the server check everything and store nothing. */
  dryRun?: boolean | undefined;
  /** `status`, for instance. */
  subresource?: string | undefined;
  /** Ahead of other writes where the throttle holds some back. */
  urgent?: boolean | undefined;
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
  timeoutSeconds?: number | undefined;
  /** Give the watch up after so long without a byte. @default 75000: longer than a minute, in which a bookmark comes */
  idleTimeoutMs?: number | undefined;
}

export type WatchEvent<T extends KubeObject> =
  | { type: "ADDED" | "MODIFIED" | "DELETED"; object: T }
  /** Nothing changed up to this resourceVersion. */
  | { type: "BOOKMARK"; object: { metadata: { resourceVersion: string } } };

export interface RequestOptions extends CallOptions {
  query?: Record<string, string | number | boolean | undefined>;
  body?: unknown;
  /** @default "application/json" */
  contentType?: string;
  urgent?: boolean | undefined;
}

export declare class KubeClient {
  readonly cluster: string;
  constructor(options: KubeClientOptions);
  get<T extends KubeObject>(resource: Resource<T>, ref: ObjectRef, options?: CallOptions): Promise<T>;
  list<T extends KubeObject>(
    resource: Resource<T>,
    query?: ListQuery,
    options?: CallOptions,
  ): Promise<KubeList<T>>;
  create<T extends KubeObject>(resource: Resource<T>, object: T, options?: WriteOptions): Promise<T>;
  update<T extends KubeObject>(resource: Resource<T>, object: T, options?: WriteOptions): Promise<T>;
  apply<T extends KubeObject>(resource: Resource<T>, object: T, options: ApplyOptions): Promise<T>;
  patch<T extends KubeObject>(
    resource: Resource<T>,
    ref: ObjectRef,
    body: unknown,
    options: PatchOptions,
  ): Promise<T>;
  delete(resource: Resource, ref: ObjectRef, options?: DeleteOptions): Promise<void>;
  watch<T extends KubeObject>(
    resource: Resource<T>,
    query: WatchQuery,
    signal: AbortSignal,
  ): AsyncIterable<WatchEvent<T>>;
  request<R = unknown>(method: string, path: string, options?: RequestOptions): Promise<R>;
  swapCredentials(credentials: Credentials): void;
  close(): Promise<void>;
}
