import { randomUUID } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import { type KubeObject, keyOf, type ObjectRef } from "../../controller/kube/objects.ts";
import { apiVersion, type Resource } from "../../controller/kube/resource.ts";
import { applyPatch, type Json } from "./fake-api-patch.ts";

/** What an API server refuses with. */
export class Refusal extends Error {
  readonly status: number;
  readonly reason: string;

  constructor(status: number, reason: string, message: string) {
    super(message);
    this.status = status;
    this.reason = reason;
  }
}

/** One change. `previous` is absent for what is new. */
export interface Change {
  version: number;
  collection: string;
  type: "ADDED" | "MODIFIED" | "DELETED";
  object: KubeObject;
  previous?: KubeObject;
}

export interface Preconditions {
  uid?: string | undefined;
  resourceVersion?: string | undefined;
}

/** What the objects of a fake API server are told from each other by. */
export interface FakeObjectsOptions {
  /** The time, as Kubernetes writes it. @default the system's */
  timestamp?: () => string;
  /** @default random ones */
  uid?: () => string;
}

/** Kinds of which a write to the object leaves the status alone, and the other way round. */
const WITH_STATUS = new Set(["services", "pods", "namespaces", "links"]);

/**
 * The objects of a fake API server, and the rules by which a real one changes them: versions, uids, generations,
 * preconditions, finalizers, namespaces that must exist. A write that changes nothing is no change.
 */
export class FakeObjects {
  readonly #collections = new Map<string, Map<string, KubeObject>>();
  /** What each field manager applied, by collection, key and manager. */
  readonly #applied = new Map<string, Map<string, Json>>();
  readonly #listeners = new Set<(change: Change) => void>();
  #version = 100;
  #clusterIp = 0;
  readonly #timestamp: () => string;
  readonly #uid: () => string;
  /** Changes still known; those from before `compactedAt` are forgotten. */
  history: Change[] = [];
  compactedAt = 0;

  constructor(options: FakeObjectsOptions = {}) {
    this.#timestamp = options.timestamp ?? (() => new Date().toISOString());
    this.#uid = options.uid ?? randomUUID;
  }

  get version(): number {
    return this.#version;
  }

  onChange(listener: (change: Change) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Forget what happened until now: watches from before get 410, and so do half-read lists. */
  compact(): void {
    this.#version++;
    this.compactedAt = this.#version;
    this.history = [];
  }

  list<T extends KubeObject>(resource: Resource<T>, namespace?: string): T[] {
    const all = [...this.#collection(collectionOf(resource)).values()] as T[];
    const selected =
      namespace === undefined ? all : all.filter((each) => each.metadata.namespace === namespace);
    return selected.sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
  }

  find<T extends KubeObject>(resource: Resource<T>, ref: ObjectRef): T | undefined {
    return this.#collection(collectionOf(resource)).get(keyOf({ metadata: ref })) as T | undefined;
  }

  get<T extends KubeObject>(resource: Resource<T>, ref: ObjectRef): T {
    const found = this.find(resource, ref);
    if (!found) throw new Refusal(404, "NotFound", `${resource.plural} "${ref.name}" not found`);
    return found;
  }

  create<T extends KubeObject>(resource: Resource<T>, given: T): T {
    const { namespace, name } = given.metadata;
    if (this.find(resource, { namespace, name })) {
      throw new Refusal(409, "AlreadyExists", `${resource.plural} "${name}" already exists`);
    }
    const home = this.#collection("namespaces").get(namespace ?? "");
    if (resource.namespaced && home === undefined) {
      throw new Refusal(404, "NotFound", `namespaces "${namespace}" not found`);
    }
    if (resource.namespaced && home?.metadata.deletionTimestamp !== undefined) {
      const message = `unable to create new content in namespace ${namespace} because it is being terminated`;
      throw new Refusal(403, "Forbidden", `${resource.plural} "${name}" is forbidden: ${message}`);
    }
    const object = structuredClone(given);
    object.apiVersion = apiVersion(resource);
    object.kind = resource.kind;
    delete object.metadata.resourceVersion;
    delete object.metadata.deletionTimestamp;
    object.metadata.uid = this.#uid();
    object.metadata.creationTimestamp = this.#timestamp();
    if (resource.plural === "links") object.metadata.generation = 1;
    if (resource.plural === "services") this.#giveClusterIp(object);
    if (WITH_STATUS.has(resource.plural)) delete (object as { status?: unknown }).status;
    return this.#store(resource, object, undefined);
  }

  /** Replace an object, or with `subresource` its status. */
  update<T extends KubeObject>(resource: Resource<T>, given: T, subresource?: string): T {
    const current = this.get(resource, given.metadata);
    const { resourceVersion, uid } = given.metadata;
    if (resourceVersion !== undefined && resourceVersion !== current.metadata.resourceVersion) {
      throw new Refusal(409, "Conflict", `the object has been modified: ${keyOf(current)}`);
    }
    if (uid !== undefined && uid !== current.metadata.uid) {
      throw new Refusal(409, "Conflict", `the uid in the precondition does not match: ${keyOf(current)}`);
    }
    return this.#replace(resource, current, given, subresource);
  }

  /** Change an object by `change`, at its latest version. */
  modify<T extends KubeObject>(
    resource: Resource<T>,
    ref: ObjectRef,
    change: (object: T) => T | undefined,
    subresource?: string,
  ): T {
    const current = this.get(resource, ref);
    const copy = structuredClone(current);
    return this.#replace(resource, current, change(copy) ?? copy, subresource);
  }

  apply<T extends KubeObject>(
    resource: Resource<T>,
    given: T,
    manager: string,
    force: boolean,
    subresource?: string,
  ): T {
    const current = this.find(resource, given.metadata);
    const place = `${collectionOf(resource)} ${keyOf(given)} ${subresource ?? ""}`;
    const managers = this.#applied.get(place) ?? new Map<string, Json>();
    const applied = structuredClone(given) as unknown as Json;
    let stored: T;
    if (!current) stored = this.create(resource, given);
    else {
      const others = [...managers].filter(([name]) => name !== manager).map(([, fields]) => fields);
      const { result, conflicts } = applyPatch(
        current as unknown as Json,
        managers.get(manager),
        applied,
        others,
      );
      if (conflicts.length > 0 && !force) {
        throw new Refusal(
          409,
          "Conflict",
          `Apply failed with ${conflicts.length} conflicts: ${conflicts.join(", ")}`,
        );
      }
      stored = this.#replace(resource, current, result as unknown as T, subresource);
    }
    this.#applied.set(place, managers.set(manager, applied));
    return stored;
  }

  delete(resource: Resource, ref: ObjectRef, preconditions: Preconditions = {}): KubeObject {
    const current = this.get(resource, ref);
    for (const key of ["uid", "resourceVersion"] as const) {
      const wanted = preconditions[key];
      if (wanted !== undefined && wanted !== current.metadata[key]) {
        throw new Refusal(
          409,
          "Conflict",
          `the ${key} in the precondition (${wanted}) does not match: ${keyOf(current)}`,
        );
      }
    }
    if ((current.metadata.finalizers ?? []).length > 0) {
      const going = structuredClone(current);
      going.metadata.deletionTimestamp ??= this.#timestamp();
      return this.#replace(resource, current, going);
    }
    if (resource.plural === "namespaces") this.#empty(ref.name);
    return this.#remove(collectionOf(resource), current);
  }

  #replace<T extends KubeObject>(resource: Resource<T>, current: T, given: T, subresource?: string): T {
    const now = current as unknown as Json;
    const wanted = given as unknown as Json;
    let next: Json;
    if (subresource === "status") next = { ...now, status: wanted.status };
    else if (WITH_STATUS.has(resource.plural)) next = { ...wanted, status: now.status };
    else next = { ...wanted };
    if (next.status === undefined) delete next.status;
    const object = structuredClone(next) as unknown as T;
    const { uid, resourceVersion, creationTimestamp, generation, deletionTimestamp } = current.metadata;
    Object.assign(object.metadata, { uid, resourceVersion, creationTimestamp });
    if (deletionTimestamp !== undefined) object.metadata.deletionTimestamp = deletionTimestamp;
    if (generation !== undefined) {
      object.metadata.generation = isDeepStrictEqual(now.spec, next.spec) ? generation : generation + 1;
    }
    if (resource.plural === "services") this.#keepClusterIp(object, current);
    if (object.metadata.deletionTimestamp && (object.metadata.finalizers ?? []).length === 0) {
      return this.#remove(collectionOf(resource), object) as T;
    }
    return isDeepStrictEqual(object, current) ? current : this.#store(resource, object, current);
  }

  #store<T extends KubeObject>(resource: Resource<T>, object: T, previous: T | undefined): T {
    object.metadata.resourceVersion = String(++this.#version);
    const collection = collectionOf(resource);
    this.#collection(collection).set(keyOf(object), object);
    this.#tell({
      version: this.#version,
      collection,
      type: previous ? "MODIFIED" : "ADDED",
      object,
      ...(previous && { previous }),
    });
    return object;
  }

  #remove(collection: string, object: KubeObject): KubeObject {
    const last = structuredClone(object);
    last.metadata.resourceVersion = String(++this.#version);
    this.#collection(collection).delete(keyOf(object));
    for (const place of this.#applied.keys()) {
      if (place.startsWith(`${collection} ${keyOf(object)} `)) this.#applied.delete(place);
    }
    this.#tell({ version: this.#version, collection, type: "DELETED", object: last, previous: object });
    return last;
  }

  #empty(namespace: string): void {
    for (const [collection, objects] of this.#collections) {
      for (const object of [...objects.values()]) {
        if (object.metadata.namespace === namespace) this.#remove(collection, object);
      }
    }
  }

  #tell(change: Change): void {
    this.history.push(change);
    for (const listener of this.#listeners) listener(change);
  }

  #collection(name: string): Map<string, KubeObject> {
    const known = this.#collections.get(name);
    if (known) return known;
    const created = new Map<string, KubeObject>();
    this.#collections.set(name, created);
    return created;
  }

  #giveClusterIp(service: KubeObject): void {
    const holder = service as { spec?: Json };
    holder.spec ??= {};
    if (holder.spec.type === "ExternalName") return;
    this.#clusterIp++;
    holder.spec.type ??= "ClusterIP";
    holder.spec.clusterIP ??= `10.96.${this.#clusterIp >> 8}.${this.#clusterIp & 255}`;
    holder.spec.clusterIPs ??= [holder.spec.clusterIP];
  }

  #keepClusterIp(service: KubeObject, current: KubeObject): void {
    const before = (current as { spec?: Json }).spec ?? {};
    const holder = service as { spec?: Json };
    holder.spec = {
      type: before.type,
      clusterIP: before.clusterIP,
      clusterIPs: before.clusterIPs,
      ...holder.spec,
    };
  }
}

/** Where a resource's objects are kept: two versions of one group would share it. */
export function collectionOf(resource: { group: string; plural: string }): string {
  return resource.group === "" ? resource.plural : `${resource.plural}.${resource.group}`;
}
