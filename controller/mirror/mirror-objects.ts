import { SERVICE_REASON } from "../../contract/index.ts";
import { isAlreadyExists } from "../kube/errors.ts";
import { type EndpointSlice, type KubeObject, keyOf, type ObjectRef, type Service } from "../kube/objects.ts";
import { ENDPOINT_SLICES, SERVICES } from "../kube/resource.ts";
import type { Claims } from "./claims.ts";
import { isRefusal, type Refusal } from "./desired.ts";
import { correctedService, correctedSlice, mustBeRemade } from "./drift.ts";
import { sliceNames } from "./slices.ts";
import { BY_MIRROR, type SourceCluster } from "./source.ts";
import type { Shelf, SourceWriter } from "./writer.ts";

/** What is to be there under one name. */
export interface Plan {
  service: Service;
  /** Its slices, which follow from the Service as it then is. */
  slices: (service: Service, existing: readonly EndpointSlice[]) => EndpointSlice[];
  /** Whether an object is one that may be made into what is planned. */
  governs: (object: KubeObject) => boolean;
}

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

  /** Make it so. A refusal where another object has the name of the Service or of a slice. */
  async ensure(plan: Plan, signal: AbortSignal): Promise<Refusal | undefined> {
    const service = await this.#ensureService(plan, signal);
    if (isRefusal(service)) {
      // A Service that is not ours, perhaps a mirror that was taken over by hand: no slice of ours may lead its calls away.
      await this.remove(plan.service.metadata, undefined, signal);
      return service;
    }
    const existing = this.#slicesOf(service.metadata);
    const desired = plan.slices(service, existing);
    const names = new Set(desired.map(({ metadata }) => metadata.name));
    for (const slice of existing) {
      if (!names.has(slice.metadata.name) && plan.governs(slice)) await this.#removeSlice(slice, signal);
    }
    for (const slice of desired) {
      const result = await this.#ensureSlice(slice, plan, signal);
      if (isRefusal(result)) return result;
    }
    return undefined;
  }

  /** Remove a mirror and its slices. */
  async remove(ref: ObjectRef, actual: Service | undefined, signal: AbortSignal): Promise<void> {
    if (actual !== undefined && actual.metadata.deletionTimestamp === undefined) {
      await this.#writer.remove(this.#services, actual, { signal });
    }
    for (const slice of this.#slicesOf(ref)) {
      if (this.#claims.mayRemove(slice)) await this.#removeSlice(slice, signal);
    }
  }

  async #ensureService(plan: Plan, signal: AbortSignal): Promise<Service | Refusal> {
    const desired = plan.service;
    const actual = await this.#own(this.#services, desired, plan, signal);
    if (actual === undefined || isRefusal(actual))
      return actual ?? this.#create(this.#services, desired, plan, signal);
    if (mustBeRemade(actual, desired)) {
      await this.#writer.remove(this.#services, actual, { signal });
      return await this.#create(this.#services, desired, plan, signal);
    }
    const corrected = correctedService(actual, desired);
    return corrected === undefined
      ? actual
      : await this.#writer.replace(this.#services, corrected, { signal });
  }

  async #ensureSlice(
    desired: EndpointSlice,
    plan: Plan,
    signal: AbortSignal,
  ): Promise<EndpointSlice | Refusal> {
    const actual = await this.#own(this.#slices, desired, plan, signal);
    if (actual === undefined || isRefusal(actual))
      return actual ?? this.#create(this.#slices, desired, plan, signal);
    if (actual.addressType !== desired.addressType) {
      await this.#writer.remove(this.#slices, actual, { signal });
      return await this.#create(this.#slices, desired, plan, signal);
    }
    const corrected = correctedSlice(actual, desired);
    if (corrected === undefined) return actual;
    // An address that is gone swallows calls: taking it out goes before everything else.
    return await this.#writer.replace(this.#slices, corrected, { signal, urgent: loses(actual, corrected) });
  }

  /**
   * All slices that are a mirror's by their label, their owner or their name. Kubernetes makes another, with the mirror's
   * labels, for a mirror that was given a selector, and leaves it, with its dead addresses, when the selector is taken away.
   */
  #slicesOf({ namespace, name }: ObjectRef): EndpointSlice[] {
    const { store } = this.#slices;
    const slices = new Map(
      store.by(BY_MIRROR, `${namespace}/${name}`).map((slice) => [slice.metadata.name, slice]),
    );
    for (const each of sliceNames(name)) {
      const slice = store.get(`${namespace}/${each}`);
      if (slice !== undefined) slices.set(each, slice);
    }
    return [...slices.values()];
  }

  async #removeSlice(slice: EndpointSlice, signal: AbortSignal): Promise<void> {
    await this.#writer.remove(this.#slices, slice, { signal, urgent: (slice.endpoints ?? []).length > 0 });
  }

  /**
   * The object that has the name of `desired`, if the plan governs it; `undefined` if there is none. What was made under
   * that name for another goes first, if it is known not to be needed: `claims` decided whose the name is.
   */
  async #own<T extends KubeObject>(
    shelf: Shelf<T>,
    desired: T,
    plan: Plan,
    signal: AbortSignal,
  ): Promise<T | Refusal | undefined> {
    const actual = shelf.store.get(keyOf(desired)) ?? (await this.#recheck(shelf, desired, signal));
    if (actual === undefined || plan.governs(actual)) return actual;
    if (!this.#claims.mayRemove(actual)) return this.#taken(shelf, actual);
    await this.#writer.remove(shelf, actual, { signal });
    return undefined;
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
    plan: Plan,
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
      if (!plan.governs(actual) && !this.#claims.mayRemove(actual)) return this.#taken(shelf, actual);
      shelf.store.read(actual);
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
