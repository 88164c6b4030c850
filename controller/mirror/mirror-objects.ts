import { type Link, SERVICE_REASON } from "../../contract/index.ts";
import { isAlreadyExists } from "../kube/errors.ts";
import { type EndpointSlice, type KubeObject, keyOf, type ObjectRef, type Service } from "../kube/objects.ts";
import { ENDPOINT_SLICES, SERVICES } from "../kube/resource.ts";
import type { Claims } from "./claims.ts";
import { isRefusal, type Refusal } from "./desired.ts";
import { correctedService, correctedSlice, mustBeRemade } from "./drift.ts";
import { type Backend, desiredSlices, sliceNames } from "./slices.ts";
import { BY_MIRROR, type SourceCluster } from "./source.ts";
import type { Shelf, SourceWriter } from "./writer.ts";

/**
 * The Service and the EndpointSlices of mirrors in the source: makes them so, if they are ours to make so. An object is
 * never written unless the version that is written over was seen to be ours.
 */
export class MirrorObjects {
  readonly #services: Shelf<Service>;
  readonly #slices: Shelf<EndpointSlice>;
  readonly #claims: Claims;
  readonly #writer: SourceWriter;
  /** Objects in the way, by kind and key: looked at before the next try, so that it writes nothing in vain. */
  readonly #foreign = new Set<string>();

  constructor(source: SourceCluster, claims: Claims, writer: SourceWriter) {
    this.#services = { resource: SERVICES, store: source.services };
    this.#slices = { resource: ENDPOINT_SLICES, store: source.slices };
    this.#claims = claims;
    this.#writer = writer;
  }

  /** Make a mirror's Service as desired. A refusal where another object has its name. */
  async ensureService(desired: Service, link: Link, signal: AbortSignal): Promise<Service | Refusal> {
    const actual = await this.#own(this.#services, desired, link, signal);
    if (actual === undefined || isRefusal(actual))
      return actual ?? this.#create(this.#services, desired, link, signal);
    if (mustBeRemade(actual)) {
      await this.#writer.remove(this.#services, actual, { signal });
      return await this.#create(this.#services, desired, link, signal);
    }
    const corrected = correctedService(actual, desired);
    return corrected === undefined
      ? actual
      : await this.#writer.replace(this.#services, corrected, { signal });
  }

  /** Make a mirror's slices as its backend wants them; those that it does not want go. */
  async ensureSlices(
    mirror: Service,
    backend: Backend,
    link: Link,
    signal: AbortSignal,
  ): Promise<Refusal | undefined> {
    const desired = new Map(desiredSlices(mirror, backend).map((slice) => [slice.metadata.name, slice]));
    await this.#removeStrays(mirror.metadata, (owner) => this.#governs(link, owner), signal);
    for (const name of sliceNames(mirror.metadata.name)) {
      const slice = desired.get(name);
      if (slice === undefined) {
        const own = (owner: Link) => this.#governs(link, owner);
        await this.#removeSlice({ namespace: mirror.metadata.namespace, name }, own, signal);
        continue;
      }
      const result = await this.#ensureSlice(slice, link, signal);
      if (isRefusal(result)) return result;
    }
    return undefined;
  }

  /** Remove a mirror and its slices. */
  async remove(ref: ObjectRef, actual: Service | undefined, signal: AbortSignal): Promise<void> {
    if (actual !== undefined && actual.metadata.deletionTimestamp === undefined) {
      await this.#writer.remove(this.#services, actual, { signal });
    }
    const unwanted = (owner: Link) => this.#claims.mayDelete(owner);
    await this.#removeStrays(ref, unwanted, signal);
    for (const name of sliceNames(ref.name)) await this.#removeSlice({ ...ref, name }, unwanted, signal);
  }

  async #ensureSlice(
    desired: EndpointSlice,
    link: Link,
    signal: AbortSignal,
  ): Promise<EndpointSlice | Refusal> {
    const actual = await this.#own(this.#slices, desired, link, signal);
    if (actual === undefined || isRefusal(actual))
      return actual ?? this.#create(this.#slices, desired, link, signal);
    if (actual.addressType !== desired.addressType) {
      await this.#writer.remove(this.#slices, actual, { signal });
      return await this.#create(this.#slices, desired, link, signal);
    }
    const corrected = correctedSlice(actual, desired);
    if (corrected === undefined) return actual;
    // An address that is gone swallows calls: taking it out goes before everything else.
    return await this.#writer.replace(this.#slices, corrected, { signal, urgent: loses(actual, corrected) });
  }

  /**
   * Slices of a mirror by other names: Kubernetes makes one, with the mirror's labels, for a mirror that was given a
   * selector, and leaves it, with its dead addresses, when the selector is taken away again.
   */
  async #removeStrays(mirror: ObjectRef, may: (owner: Link) => boolean, signal: AbortSignal): Promise<void> {
    const names = sliceNames(mirror.name);
    const key = `${mirror.namespace}/${mirror.name}`;
    for (const { metadata } of this.#slices.store.by(BY_MIRROR, key)) {
      if (!names.includes(metadata.name)) await this.#removeSlice(metadata, may, signal);
    }
  }

  async #removeSlice(ref: ObjectRef, may: (owner: Link) => boolean, signal: AbortSignal): Promise<void> {
    const slice = this.#slices.store.get(`${ref.namespace}/${ref.name}`);
    const owner = slice === undefined ? undefined : this.#claims.ownerOf(slice);
    if (slice === undefined || owner === undefined || !may(owner)) return;
    await this.#writer.remove(this.#slices, slice, { signal, urgent: (slice.endpoints ?? []).length > 0 });
  }

  /**
   * The object that has the name of `desired`, if it is this link's; `undefined` if there is none. What a younger Link
   * has made under that name goes first, if its target is known not to need it: `claims` decided whose the name is.
   */
  async #own<T extends KubeObject>(
    shelf: Shelf<T>,
    desired: T,
    link: Link,
    signal: AbortSignal,
  ): Promise<T | Refusal | undefined> {
    const actual = shelf.store.get(keyOf(desired)) ?? (await this.#recheck(shelf, desired, signal));
    if (actual === undefined) return undefined;
    const owner = this.#claims.ownerOf(actual);
    if (owner === undefined) return this.#taken(shelf, actual);
    if (this.#governs(link, owner)) return actual;
    if (!this.#claims.mayDelete(owner)) return this.#taken(shelf, actual);
    await this.#writer.remove(shelf, actual, { signal });
    return undefined;
  }

  /** Whether what was made for `owner` is `link`'s: its own, or that of another Link to its target, which it stands for. */
  #governs(link: Link, owner: Link): boolean {
    return (
      keyOf(owner) === keyOf(link) || this.#claims.activeFor(owner)?.metadata.name === link.metadata.name
    );
  }

  /** What was in the way before is asked for, since it is not watched. */
  async #recheck<T extends KubeObject>(
    shelf: Shelf<T>,
    desired: T,
    signal: AbortSignal,
  ): Promise<T | undefined> {
    if (!this.#foreign.has(foreignKey(shelf.resource.plural, desired))) return undefined;
    const { namespace, name } = desired.metadata;
    const actual = await this.#writer.read(shelf, { namespace, name }, signal);
    if (actual === undefined) this.#foreign.delete(foreignKey(shelf.resource.plural, desired));
    return actual;
  }

  async #create<T extends KubeObject>(
    shelf: Shelf<T>,
    desired: T,
    link: Link,
    signal: AbortSignal,
  ): Promise<T | Refusal> {
    try {
      return await this.#writer.create(shelf, desired, { signal });
    } catch (error) {
      if (!isAlreadyExists(error)) throw error;
      const { namespace, name } = desired.metadata;
      const actual = await this.#writer.read(shelf, { namespace, name }, signal);
      // Gone again, or ours and only new to the watch: what the queue tries next sees it as it is.
      if (actual === undefined) throw error;
      const owner = this.#claims.ownerOf(actual);
      if (owner === undefined || owner.metadata.name !== link.metadata.name)
        return this.#taken(shelf, actual);
      shelf.store.wrote(actual);
      throw error;
    }
  }

  #taken<T extends KubeObject>(shelf: Shelf<T>, actual: T): Refusal {
    this.#foreign.add(foreignKey(shelf.resource.plural, actual));
    return {
      reason: SERVICE_REASON.nameConflict,
      message: `there is a ${shelf.resource.kind} ${keyOf(actual)} that was not made for this Link; rename or delete it, or rename the exported service`,
    };
  }
}

function foreignKey(plural: string, object: KubeObject): string {
  return `${plural}/${keyOf(object)}`;
}

function loses(actual: EndpointSlice, corrected: EndpointSlice): boolean {
  const kept = new Set(corrected.endpoints?.flatMap(({ addresses }) => addresses));
  return (actual.endpoints ?? []).some(({ addresses }) => addresses.some((address) => !kept.has(address)));
}
