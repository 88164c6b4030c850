import { LINK_LABEL, type Link } from "../../contract/index.ts";
import { keyOf, refOf } from "../kube/objects.ts";
import type { WorkQueue } from "../kube/queue.ts";
import { mirrorsOfSlice } from "./ownership.ts";
import { egressAddresses } from "./slices.ts";
import { BY_LINK, BY_TARGET, type SourceCluster } from "./source.ts";
import { BY_NAMESPACE, mirrorKey, type Target } from "./target.ts";

type Adds = Pick<WorkQueue, "add">;

export interface TriggersOptions {
  source: SourceCluster;
  targets: ReadonlyMap<string, Target>;
  /** Keys of mirrors. */
  mirrors: Adds;
  /** Keys of Links. */
  links: Adds;
  /** Keys of Links whose status may have to be written. */
  statuses: Adds;
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
      source.secrets.onChange((key) => this.#secretChanged(key)),
      source.services.onChange((key, current, previous) => {
        this.#options.mirrors.add(key);
        this.#wakeOwner((current ?? previous)?.metadata.labels?.[LINK_LABEL]);
      }),
      source.slices.onChange((_, current, previous) => {
        for (const slice of [current, previous]) {
          for (const mirror of slice === undefined ? [] : mirrorsOfSlice(slice))
            this.#options.mirrors.add(mirror);
        }
        this.#wakeOwner((current ?? previous)?.metadata.labels?.[LINK_LABEL]);
        this.#options.onSlices();
      }),
      source.namespaces.onChange((name) => this.#namespaceChanged(name)),
      source.pods.onChange(() => this.#podsChanged()),
    ];
    return () => {
      for (const end of ends) end();
    };
  }

  /** Listen to a target's exported services for as long as it lives. */
  listenTo(target: Target): void {
    target.services.onChange((key, current, previous) => {
      const service = current ?? previous;
      if (service === undefined) return;
      const mirror = mirrorKey(service, target.cluster);
      if (current === undefined) target.outcomes.delete(key);
      this.#options.onRemoteChange(mirror, target);
      this.#options.mirrors.add(mirror);
      this.#options.statuses.add(keyOf({ metadata: target.link }));
    });
  }

  /** All mirrors that were made for a Link, or that its target asks for. */
  addMirrorsOf(link: Link, target: Target | undefined): void {
    const { source, mirrors } = this.#options;
    for (const mirror of source.mirrorsOf(link.metadata)) mirrors.add(keyOf(mirror));
    for (const slice of source.slicesOf(link.metadata))
      for (const key of mirrorsOfSlice(slice)) mirrors.add(key);
    for (const service of target?.services.list() ?? []) mirrors.add(mirrorKey(service, target!.cluster));
  }

  /** Everything. */
  addAll(urgent = false): void {
    const { source, targets, mirrors, links, statuses } = this.#options;
    for (const key of source.services.keys()) mirrors.add(key, { urgent });
    for (const slice of source.slices.list())
      for (const key of mirrorsOfSlice(slice)) mirrors.add(key, { urgent });
    for (const target of targets.values()) {
      for (const service of target.services.list())
        mirrors.add(mirrorKey(service, target.cluster), { urgent });
    }
    for (const key of [...source.links.keys(), ...targets.keys()]) {
      links.add(key);
      statuses.add(key);
    }
  }

  #linkChanged(current: Link | undefined, previous: Link | undefined): void {
    const link = current ?? previous;
    if (link === undefined) return;
    const same =
      current?.metadata.generation === previous?.metadata.generation &&
      current?.metadata.deletionTimestamp === previous?.metadata.deletionTimestamp;
    const { source, targets, links, statuses } = this.#options;
    // A status, mostly ours, changes nothing but itself.
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
    const { namespace, name } = refOf(key);
    for (const link of this.#options.source.links.list()) {
      const named = link.spec.clusterCredentialsSecret === name && link.metadata.namespace === namespace;
      if (named) this.#options.links.add(keyOf(link));
    }
  }

  #namespaceChanged(namespace: string): void {
    const { targets, mirrors } = this.#options;
    for (const target of targets.values()) {
      for (const service of target.services.by(BY_NAMESPACE, namespace)) {
        mirrors.add(mirrorKey(service, target.cluster));
      }
    }
  }

  #podsChanged(): void {
    const { source, onSlices } = this.#options;
    const addresses = egressAddresses(source.pods.list());
    const before = this.#addresses;
    this.#addresses = addresses;
    onSlices();
    if (addresses.join() === before.join()) return;
    const lost = before.some((address) => !addresses.includes(address));
    for (const slice of source.slices.list()) {
      for (const key of mirrorsOfSlice(slice)) this.#options.mirrors.add(key, { urgent: lost });
    }
  }

  /** A Link that is being deleted waits for the last of its objects. */
  #wakeOwner(label: string | undefined): void {
    if (label === undefined) return;
    for (const link of this.#options.source.links.by(BY_LINK, label)) {
      if (link.metadata.deletionTimestamp !== undefined) this.#options.links.add(keyOf(link));
    }
  }
}
