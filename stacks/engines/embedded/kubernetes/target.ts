/** One object in one cluster: everything that is needed to read, apply, await and delete it. */
import { createHash } from "node:crypto";
import type { Path } from "../paths.ts";
import type { Work } from "../provider.ts";
import type { Client, KubeObject } from "./client.ts";
import { pathOf, type Resource } from "./discovery.ts";
import { ApiError, conflictMessage } from "./errors.ts";
import { idOf, type Manifest } from "./manifest.ts";
import { leaveToOthers } from "./ownership.ts";
import { getObject, type Place, waitUntil } from "./wait.ts";

/** Field manager of whole objects. Patches get one each, so that giving one up leaves the others alone. */
export const FIELD_MANAGER = "isthmus-embedded";

export interface ApplyOptions {
  dryRun?: boolean;
  force?: boolean;
  /** Applied only to the very object with this uid: never creates one. */
  uid?: string | undefined;
}

export class Target {
  readonly client: Client;
  readonly manifest: Manifest;
  readonly resource: Resource;
  readonly id: string;
  readonly place: Place;
  readonly manager: string;
  readonly #work: Work;

  constructor(client: Client, manifest: Manifest, resource: Resource, urn: string, work: Work) {
    const namespace = manifest.namespace ?? client.namespace;
    this.client = client;
    this.manifest = manifest;
    this.resource = resource;
    this.id = idOf(manifest, resource.namespaced, client.namespace);
    this.place = { collection: pathOf(manifest.apiVersion, resource, namespace), name: manifest.name };
    this.manager = manifest.directives.fieldManager ?? (manifest.isPatch ? patchManager(urn) : FIELD_MANAGER);
    this.#work = work;
  }

  /** For people: `Service default/backend in cluster east`. */
  toString(): string {
    return `${this.manifest.kind} ${this.id} in cluster ${this.client.name}`;
  }

  /** Why a patch of an object that is not there is refused. */
  missing(): string {
    return `it does not exist, and this only adds to what someone else made. Create the ${this.manifest.kind} first`;
  }

  get(): Promise<KubeObject | undefined> {
    return getObject(this.client, this.place);
  }

  /** The manifest as it is applied, what `ignored` leaves to others taken out. */
  applied(live: KubeObject | undefined, ignored: readonly Path[]): KubeObject {
    const object = this.withNamespace(this.manifest.object);
    return live === undefined || ignored.length === 0
      ? object
      : leaveToOthers(object, live, this.manager, alsoEncoded(ignored));
  }

  withNamespace(object: KubeObject): KubeObject {
    if (!this.resource.namespaced || object.metadata?.namespace !== undefined) return object;
    return { ...object, metadata: { ...object.metadata, namespace: this.client.namespace } };
  }

  async apply(object: KubeObject, options: ApplyOptions = {}): Promise<KubeObject> {
    const body =
      options.uid === undefined ? object : { ...object, metadata: { ...object.metadata, uid: options.uid } };
    return this.client.request(
      {
        method: "PATCH",
        path: `${this.place.collection}/${encodeURIComponent(this.place.name)}`,
        query: {
          fieldManager: this.manager,
          force: String(options.force ?? this.manifest.directives.force),
          fieldValidation: "Strict",
          ...(options.dryRun === true && { dryRun: "All" }),
        },
        body,
      },
      options.dryRun === true ? undefined : (text) => this.#work.log("warning", `${this}: ${text}`),
    );
  }

  /**
   * Applies over what is there. Fields that were ours after the last run and that someone else has changed since are
   * taken back; fields that are new in the program and in another manager's hands are not.
   * @throws Error naming the fields and their managers
   */
  async applyOver(object: KubeObject, before: KubeObject, options: ApplyOptions = {}): Promise<KubeObject> {
    try {
      return await this.apply(object, options);
    } catch (error) {
      const conflicts = error instanceof ApiError ? error.conflicts : [];
      if (conflicts.length === 0) throw error;
      const ours = new Set((await this.#conflictsOf(before, options.uid)).map(({ field }) => field));
      const foreign = conflicts.filter(({ field }) => !ours.has(field));
      if (foreign.length > 0) throw new Error(conflictMessage(foreign), { cause: error });
      const names = conflicts.map(({ field, manager }) => `${field} from ${manager}`).join(", ");
      if (options.dryRun !== true) this.#work.log("warning", `${this}: took back ${names}`);
      return this.apply(object, { ...options, force: true });
    }
  }

  async #conflictsOf(before: KubeObject, uid: string | undefined) {
    try {
      await this.apply(before, { dryRun: true, force: false, uid });
      return [];
    } catch (error) {
      if (error instanceof ApiError) return error.conflicts;
      throw error;
    }
  }

  /** @throws NotReady */
  async gone(uid: string | undefined, limit: number): Promise<void> {
    await waitUntil(
      this.client,
      this.place,
      (object) => {
        if (object === undefined || (uid !== undefined && object.metadata?.uid !== uid))
          return { state: "ready" };
        const finalizers = object.metadata?.finalizers ?? [];
        const why =
          finalizers.length > 0
            ? `its finalizers are still at work: ${finalizers.join(", ")}`
            : "it is still there";
        return { state: "waiting", why };
      },
      limit,
      this.#work.signal,
    );
  }
}

function patchManager(urn: string): string {
  return `${FIELD_MANAGER}-${createHash("sha256").update(urn).digest("hex").slice(0, 10)}`;
}

/** What the program calls `stringData` is `data` by the time it is applied. */
function alsoEncoded(ignored: readonly Path[]): Path[] {
  return ignored.flatMap((path) => (path[0] === "stringData" ? [path, ["data", ...path.slice(1)]] : [path]));
}
