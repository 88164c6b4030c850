import type { KubeObject, ObjectRef } from "../../../controller/kube/objects.ts";
import { NAMESPACES, type Resource } from "../../../controller/kube/resource.ts";
import { answer } from "../fake-api-handlers.ts";
import { collectionOf, FakeObjects, Refusal } from "../fake-api-objects.ts";
import type { FakeRequest } from "../fake-api-request.ts";
import { selects } from "../fake-api-selectors.ts";
import { type Watcher, Watches } from "../fake-api-watches.ts";
import { discover } from "./discovery.ts";
import type { VirtualTime } from "./virtual-time.ts";

/** What an API server says to one request. */
export interface Served {
  status: number;
  headers: Record<string, string>;
  body: unknown;
  /** The last page of a list: what was there at this time is known now, and all of it. */
  completeAsOf?: number;
}

/** A write as the API server saw it. */
export interface Write {
  at: number;
  /** When whoever asked sent it. */
  sentAt: number;
  process: string;
  request: FakeRequest;
  verb: "create" | "update" | "patch" | "delete";
  collection: string;
  before: KubeObject | undefined;
  after: KubeObject | undefined;
}

/** Who asks, and when it was sent. */
export interface Origin {
  process: string;
  sentAt: number;
}

interface Snapshot {
  items: KubeObject[];
  version: number;
  at: number;
}

/** An API server in memory, without a network before it. It answers at once; `Network` says when and whether that arrives. */
export class SimulatedApi {
  readonly name: string;
  readonly objects: FakeObjects;
  readonly watches = new Watches();
  /** Tokens that are accepted. */
  readonly tokens = new Set(["good"]);
  /** Most objects of one page, whatever is asked for. */
  pageSize = Number.POSITIVE_INFINITY;
  /**
   * Whether a watch is sent a bookmark every minute even when nothing changes. An API server sends none that says no more
   * than the last one, and without word from etcd of how far it is (`--watch-progress-notify-interval`) it has no more to say.
   */
  bookmarks = true;
  /** Who is changing things at the moment; absent: people and the cluster itself. */
  actor: Origin | undefined;
  /** Told of every write of a controller that was accepted. */
  onWrite: (write: Write) => void = () => undefined;
  /** What an object goes through before it is made: changed, or refused by throwing the `Refusal`. */
  admit: (resource: Resource, object: KubeObject, namespace: string | undefined) => void = () => undefined;

  readonly #time: VirtualTime;
  readonly #snapshots = new Map<string, Snapshot>();
  #snapshotNumber = 0;

  constructor(name: string, time: VirtualTime, namespaces: readonly string[]) {
    this.name = name;
    this.#time = time;
    let uids = 0;
    this.objects = new FakeObjects({
      timestamp: () => time.timestamp(),
      uid: () => `${name}-${++uids}`,
    });
    this.objects.onChange((change) => this.watches.tell(change));
    for (const namespace of namespaces) {
      this.objects.create(NAMESPACES, { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } });
    }
  }

  get url(): string {
    return `https://${this.name}.simulated:6443`;
  }

  /** Forget what happened until now: watches and lists that were left off before get 410. */
  compact(): void {
    this.objects.compact();
    this.#snapshots.clear();
  }

  /** Answer a request that is no watch. Throws `Refusal`. */
  serve(request: FakeRequest, origin: Origin): Served {
    this.#authorize(request);
    const { resource, method } = request;
    if (method === "GET" && resource !== undefined && request.name === undefined) return this.#list(request);
    if (request.path === "/api" || request.path === "/apis")
      return { status: 200, headers: {}, body: discover(request.path) };
    const before = resource && request.name ? this.objects.find(resource, refOf(request)) : undefined;
    if (method === "POST" && resource !== undefined) this.#admit(resource, request);
    this.actor = origin;
    let body: unknown;
    try {
      body = answer(this.objects, request, false);
    } finally {
      this.actor = undefined;
    }
    if (method !== "GET" && resource !== undefined) {
      const name = request.name ?? (request.body as KubeObject).metadata.name;
      const after = this.objects.find(resource, { ...refOf(request), name });
      this.onWrite({
        ...origin,
        at: this.#time.now,
        request,
        verb: VERBS[method] ?? "update",
        collection: collectionOf(resource),
        before,
        after,
      });
    }
    return { status: method === "POST" ? 201 : 200, headers: {}, body };
  }

  /** Open a watch, or throw the `Refusal` that is its answer. */
  watch(request: FakeRequest, watcher: Pick<Watcher, "send" | "end" | "drop">): Watcher {
    this.#authorize(request);
    const { resource, query, namespace } = request;
    if (!resource) throw new Refusal(404, "NotFound", "the server could not find the requested resource");
    const full: Watcher = {
      ...watcher,
      collection: collectionOf(resource),
      kind: resource.kind,
      apiVersion: resource.group === "" ? resource.version : `${resource.group}/${resource.version}`,
      namespace,
      labels: query.get("labelSelector"),
      fields: query.get("fieldSelector"),
    };
    const since = Number(query.get("resourceVersion") || 0);
    if (since < this.objects.compactedAt) {
      const refusal = new Refusal(410, "Expired", `too old resource version: ${since}`);
      watcher.send({ type: "ERROR", object: statusOf(refusal) });
      watcher.end();
    } else {
      this.watches.open(
        full,
        this.objects.history.filter(({ version }) => version > since),
      );
    }
    return full;
  }

  #authorize({ token }: FakeRequest): void {
    if (!this.tokens.has(token ?? "")) throw new Refusal(401, "Unauthorized", "Unauthorized");
  }

  /** What cannot be made anyway is refused for that. */
  #admit(resource: Resource, request: FakeRequest): void {
    const object = request.body as KubeObject;
    const { namespace } = request;
    const home = namespace === undefined ? undefined : this.objects.find(NAMESPACES, { name: namespace });
    if (resource.namespaced && (home === undefined || home.metadata.deletionTimestamp)) return;
    if (this.objects.find(resource, { ...refOf(request), name: object.metadata.name })) return;
    this.admit(resource, object, namespace);
  }

  /** As a real server lists: every page is of the state at the first. */
  #list(request: FakeRequest): Served {
    const { resource, query } = request;
    if (!resource) throw new Refusal(404, "NotFound", "the server could not find the requested resource");
    const token = query.get("continue");
    const snapshot = token ? this.#snapshots.get(token.split(" ")[0]!) : this.#snapshot(request);
    if (snapshot === undefined)
      throw new Refusal(410, "Expired", "The provided continue parameter is too old");
    const from = token ? Number(token.split(" ")[1]) : 0;
    const limit = Math.min(Number(query.get("limit") ?? 0) || Number.POSITIVE_INFINITY, this.pageSize);
    const to = from + limit;
    let next: string | undefined;
    if (to < snapshot.items.length) {
      const id = token?.split(" ")[0] ?? `${++this.#snapshotNumber}`;
      this.#snapshots.set(id, snapshot);
      next = `${id} ${to}`;
    }
    const body = {
      kind: `${resource.kind}List`,
      metadata: { resourceVersion: String(snapshot.version), ...(next !== undefined && { continue: next }) },
      items: snapshot.items.slice(from, to).map(({ apiVersion: _, kind: __, ...item }) => item),
    };
    return { status: 200, headers: {}, body, ...(next === undefined && { completeAsOf: snapshot.at }) };
  }

  #snapshot({ resource, namespace, query }: FakeRequest): Snapshot {
    const selectors = { labels: query.get("labelSelector"), fields: query.get("fieldSelector") };
    const items = this.objects.list(resource!, namespace).filter((object) => selects(object, selectors));
    return { items, version: this.objects.version, at: this.#time.now };
  }
}

const VERBS: Record<string, Write["verb"]> = {
  POST: "create",
  PUT: "update",
  PATCH: "patch",
  DELETE: "delete",
};

function refOf({ namespace, name }: FakeRequest): ObjectRef {
  return { namespace, name: name ?? "" };
}

export function statusOf({ status, reason, message }: Refusal): unknown {
  return { kind: "Status", apiVersion: "v1", metadata: {}, status: "Failure", reason, message, code: status };
}
