import { HEADLESS_MIRROR_LABEL, LINK_LABEL, type Link } from "../../contract/index.ts";
import { type EndpointSlice, keyOf, refOf, type Service } from "../kube/objects.ts";
import type { WorkQueue } from "../kube/queue.ts";
import { memberEntries } from "./federated.ts";
import { mirrorsOfSlice } from "./ownership.ts";
import { LOOK_EVERY_MS } from "./reporter.ts";
import { egressAddresses } from "./slices.ts";
import { BY_LINK, BY_MIRROR, BY_TARGET, type SourceCluster } from "./source.ts";
import {
  BY_NAMESPACE,
  federatedKey,
  mirrorKey,
  outcomeKey,
  podMirrorKeys,
  serviceKeyOf,
  type Target,
} from "./target/target.ts";

type Adds = Pick<WorkQueue, "add">;

/** The mirror of a headless service is looked at once for several of its pods. */
const PODS_TOGETHER_MS = 50;

export interface TriggersOptions {
  source: SourceCluster;
  targets: ReadonlyMap<string, Target>;
  /** Keys of mirrors. */
  mirrors: Pick<WorkQueue, "add" | "addAfter">;
  /** Keys of Links. */
  links: Adds;
  /** Keys of Links whose status may have to be written. */
  statuses: Pick<WorkQueue, "add" | "addAfter">;
  /** Whether something is remembered of a federated Service, by its key: it may be being made, or wait for its namespace. */
  isRemembered: (federated: string) => boolean;
  /** Some slice or egress pod changed. */
  onSlices: () => void;
  /** An exported service changed, by the key of its mirror. */
  onRemoteChange: (mirror: string, target: Target) => void;
}

/** Which change makes which key worth a look. Nothing is decided here: a key too many costs a look and writes nothing. */
export class Triggers {
  readonly #options: TriggersOptions;
  #addresses: string[];

  constructor(options: TriggersOptions) {
    this.#options = options;
    this.#addresses = egressAddresses(options.source.pods.list());
  }

  /** Listen to the stores of the source; the function returned ends that. */
  listen(): () => void {
    const { source } = this.#options;
    const ends = [
      source.links.onChange((_, current, previous) => this.#linkChanged(current, previous)),
      source.credentials.onChange((key) => this.#secretChanged(key)),
      source.services.onChange((key, current, previous, own) => {
        // Whoever wrote it is still at work on it.
        if (!own) this.#options.mirrors.add(key);
        for (const service of [current, previous]) this.#mirrorChanged(service);
      }),
      source.localMembers.onChange((_, current, previous) => {
        const member = current ?? previous;
        if (member !== undefined) this.#options.mirrors.add(federatedKey(member));
      }),
      source.localSlices.onChange((_, current, previous) => {
        const member = source.localMembers.get(serviceKeyOf((current ?? previous)!));
        if (member !== undefined) this.#options.mirrors.add(federatedKey(member));
      }),
      source.slices.onChange((_, current, previous, own) => {
        const mirrors = new Set([current, previous].flatMap((slice) => (slice ? mirrorsOfSlice(slice) : [])));
        // As above; but of one that is two mirrors' by its labels and owners, only one of them knows.
        if (!own || mirrors.size > 1) for (const mirror of mirrors) this.#options.mirrors.add(mirror);
        this.#wakeOwner((current ?? previous)?.metadata.labels?.[LINK_LABEL]);
        this.#options.onSlices();
      }),
      source.namespaces.onChange((name) => this.addMirrorsIn(name)),
      source.pods.onChange(() => this.#podsChanged()),
    ];
    return () => {
      for (const end of ends) end();
    };
  }

  /** Listen to a target's exported services for as long as it lives. */
  listenTo(target: Target): void {
    target.services.onChange((_, current, previous) => {
      const service = (current ?? previous)!;
      const wanted = current === undefined ? [] : target.mirrorsOf(current);
      for (const mirror of this.#standIns(service, target)) {
        const { name } = refOf(mirror);
        if (!wanted.includes(name)) target.outcomes.delete(outcomeKey(service, name));
        this.#options.onRemoteChange(mirror, target);
        this.#options.mirrors.add(mirror);
      }
      // What a headless service is like, the mirrors of its pods are like.
      for (const slice of target.slicesOf(service)) this.#addPodsOf(slice, target);
      this.#options.statuses.addAfter(keyOf({ metadata: target.link }), LOOK_EVERY_MS);
    });
    target.slices.onChange((_, current, previous) => {
      for (const slice of [current, previous]) {
        if (slice === undefined) continue;
        const service = target.services.get(serviceKeyOf(slice));
        for (const mirror of service === undefined ? [] : this.#standIns(service, target))
          this.#options.mirrors.add(mirror);
        this.#addPodsOf(slice, target);
      }
    });
  }

  /** A pod of a headless service got or lost its mirror. */
  podChanged(mirror: string): void {
    this.#options.mirrors.addAfter(mirror, PODS_TOGETHER_MS);
  }

  /** All mirrors that were made for a Link, or that its target asks for. */
  addMirrorsOf(link: Link, target: Target | undefined, urgent = false): void {
    const { source, mirrors } = this.#options;
    const cluster = link.spec.targetClusterName;
    for (const mirror of [...source.mirrorsOf(link.metadata), ...source.federatedWith(cluster)])
      mirrors.add(keyOf(mirror), { urgent });
    for (const slice of source.slicesOf(link.metadata))
      for (const key of mirrorsOfSlice(slice)) mirrors.add(key, { urgent });
    if (target !== undefined) this.#addWantedBy(target, urgent);
  }

  /** All mirrors that targets ask for in a namespace. */
  addMirrorsIn(namespace: string): void {
    const { targets, mirrors } = this.#options;
    for (const target of targets.values()) {
      for (const service of target.services.by(BY_NAMESPACE, namespace)) {
        for (const key of this.#standIns(service, target)) mirrors.add(key);
        for (const slice of target.slicesOf(service)) this.#addPodsOf(slice, target);
      }
    }
  }

  /** Everything. */
  addAll(urgent = false): void {
    const { source, targets, links, statuses } = this.#options;
    this.#addMirrors(urgent);
    for (const key of [...source.links.keys(), ...targets.keys()]) {
      links.add(key);
      statuses.add(key);
    }
  }

  #addMirrors(urgent: boolean): void {
    const { source, targets, mirrors } = this.#options;
    for (const key of source.services.keys()) mirrors.add(key, { urgent });
    for (const slice of source.slices.list())
      for (const key of mirrorsOfSlice(slice)) mirrors.add(key, { urgent });
    for (const member of source.localMembers.list()) mirrors.add(federatedKey(member), { urgent });
    for (const target of targets.values()) this.#addWantedBy(target, urgent);
  }

  #addWantedBy(target: Target, urgent: boolean): void {
    const { mirrors } = this.#options;
    for (const service of target.services.list()) {
      for (const key of this.#standIns(service, target)) mirrors.add(key, { urgent });
    }
    for (const slice of target.slices.list()) this.#addPodsOf(slice, target, urgent);
  }

  #addPodsOf(slice: EndpointSlice, target: Target, urgent = false): void {
    for (const key of podMirrorKeys(slice, target.cluster)) this.#options.mirrors.add(key, { urgent });
  }

  /**
   * Keys of the Services that a service of a target may stand behind, whether it is to or not. Few are members of a federated
   * service: those that are to be, and those of which something was made, told or is remembered.
   */
  #standIns(service: Service, target: Target): string[] {
    const { services, slices } = this.#options.source;
    const federated = federatedKey(service);
    const isConcerned =
      target.wanted(service).federated ||
      target.outcomes.has(outcomeKey(service, refOf(federated).name)) ||
      services.has(federated) ||
      this.#options.isRemembered(federated) ||
      slices.by(BY_MIRROR, federated).length > 0;
    return [mirrorKey(service, target.cluster), ...(isConcerned ? [federated] : [])];
  }

  /** A mirror here was made, changed or deleted. */
  #mirrorChanged(mirror: Service | undefined): void {
    const { source } = this.#options;
    const labels = mirror?.metadata.labels ?? {};
    this.#wakeOwner(labels[LINK_LABEL]);
    const service = labels[HEADLESS_MIRROR_LABEL];
    if (service !== undefined) this.podChanged(`${mirror?.metadata.namespace}/${service}`);
    for (const cluster of mirror === undefined ? [] : memberEntries(mirror).keys()) {
      for (const link of source.links.by(BY_TARGET, cluster)) this.#wakeIfDeleted(link);
    }
  }

  #linkChanged(current: Link | undefined, previous: Link | undefined): void {
    const link = current ?? previous;
    if (link === undefined) return;
    const same =
      current?.metadata.generation === previous?.metadata.generation &&
      current?.metadata.deletionTimestamp === previous?.metadata.deletionTimestamp;
    const { source, targets, links, statuses } = this.#options;
    // A mirror names the gateway that its service chooses once the status says how that is reached.
    if (current !== undefined && chosenGateways(current) !== chosenGateways(previous))
      this.addMirrorsOf(current, targets.get(keyOf(current)));
    // Else a status, mostly ours, changes nothing but itself.
    if (same && current?.metadata.finalizers?.join() === previous?.metadata.finalizers?.join()) return;
    links.add(keyOf(link));
    statuses.add(keyOf(link));
    if (same) return;
    // The others with this target: one of them may be the oldest now.
    for (const other of source.links.by(BY_TARGET, link.spec.targetClusterName)) {
      links.add(keyOf(other));
      this.addMirrorsOf(other, targets.get(keyOf(other)));
    }
  }

  #secretChanged(key: string): void {
    for (const link of this.#options.source.credentials.linksOf(key)) this.#options.links.add(keyOf(link));
  }

  #podsChanged(): void {
    const { source, onSlices } = this.#options;
    const addresses = egressAddresses(source.pods.list());
    const before = this.#addresses;
    this.#addresses = addresses;
    onSlices();
    if (addresses.join() === before.join()) return;
    const lost = before.some((address) => !addresses.includes(address));
    // Those too whose slices are on their way, with the addresses of before.
    this.#addMirrors(lost);
  }

  /** A Link that is being deleted waits for the last of its objects. */
  #wakeOwner(label: string | undefined): void {
    if (label === undefined) return;
    for (const link of this.#options.source.links.by(BY_LINK, label)) this.#wakeIfDeleted(link);
  }

  #wakeIfDeleted(link: Link): void {
    if (link.metadata.deletionTimestamp !== undefined) this.#options.links.add(keyOf(link));
  }
}

/** Those that the status tells of. */
function chosenGateways(link: Link | undefined): string {
  const chosen = (link?.status?.gateways ?? []).filter(({ name }) => name !== undefined);
  return chosen.map(({ namespace, name }) => `${namespace}/${name}`).join();
}
