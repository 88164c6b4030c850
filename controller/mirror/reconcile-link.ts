import { CREDENTIALS_SECRET_TYPE, LINK_FINALIZER, type Link } from "../../contract/index.ts";
import { CredentialsError } from "../kube/credentials.ts";
import { keyOf, refOf, type Secret } from "../kube/objects.ts";
import type { ReconcileResult } from "../kube/queue.ts";
import { ENDPOINT_SLICES, LINKS, SERVICES } from "../kube/resource.ts";
import type { Claims } from "./claims.ts";
import {
  badCredentials,
  duplicateTarget,
  forbiddenCredentials,
  missingCredentials,
} from "./connection-state.ts";
import type { LinkerdCopies } from "./credentials/linkerd-copy.ts";
import { readCredentials } from "./credentials/reading.ts";
import { secretKeyOf } from "./credentials/secrets.ts";
import { madeForSelector } from "./ownership.ts";
import type { SourceCluster } from "./source.ts";
import type { Access, Target } from "./target/target.ts";
import type { SourceWriter } from "./writer.ts";

export interface LinkReconcilerOptions {
  source: SourceCluster;
  claims: Claims;
  /** By the key of their Link; kept up to date here. */
  targets: Map<string, Target>;
  writer: SourceWriter;
  /** Copies of credentials for Linkerd; absent with another data plane. */
  copies: LinkerdCopies | undefined;
  /** Make the target of a new Link. */
  newTarget: (link: Link) => Target;
  /** A Link has got its target: look at the mirrors of all Links to it, of which nothing could be said before. */
  onTarget: (target: Target) => void;
  /** A Link is being deleted: look at its mirrors, which may go now. Called once. */
  onDeleting: (link: Link, target: Target | undefined) => void;
  /** Whether a mirror is being made for a Link at the moment, and may be there only after it. */
  isBusy: (link: Link) => boolean;
}

/** One Link, by its key: have a connection to its target, or say why there is none; clean up when it is deleted. */
export class LinkReconciler {
  readonly #options: LinkReconcilerOptions;
  /** Links whose mirrors were told to go; those that could not go yet are tried again by themselves. */
  readonly #cleaning = new Set<string>();

  constructor(options: LinkReconcilerOptions) {
    this.#options = options;
  }

  async reconcile(key: string, signal: AbortSignal): Promise<ReconcileResult | undefined> {
    const { source, claims, targets } = this.#options;
    const link = source.links.get(key);
    if (link === undefined) {
      this.#cleaning.delete(key);
      this.#options.copies?.forget(key);
      this.#drop(key);
      return undefined;
    }
    if (link.metadata.deletionTimestamp !== undefined) {
      await this.#cleanUp(key, link, signal);
      return undefined;
    }
    // Before anything is made for it: what was made must be removed before the Link is.
    const finalized = [...new Set([...finalizers(link), LINK_FINALIZER])];
    const written = await this.#setFinalizers(key, link, finalized, signal);
    if (!targets.has(key) && !written && !(await this.#isStillThere(key, link, signal))) return undefined;
    const target = this.#target(key, link);
    const active = claims.activeFor(link);
    if (active !== undefined && keyOf(active) !== key) {
      target.disconnect(duplicateTarget(link.spec.targetClusterName, active.metadata.name));
      return undefined;
    }
    const credentials = this.#connect(link, target);
    if (credentials === undefined) return undefined;
    return await this.#options.copies?.keep(link, credentials, signal);
  }

  /** The credentials Secret, if it is one by which the target can be asked. */
  #connect(link: Link, target: Target): Secret | undefined {
    const name = secretKeyOf(link);
    const found = this.#options.source.credentials.lookup(name);
    // A moment later it is known; until then everything stays as it is.
    if (found.state === "unknown") return undefined;
    if (found.state === "forbidden") {
      target.disconnect(forbiddenCredentials(link, name, found.detail));
      return undefined;
    }
    const { secret } = found;
    if (secret?.type !== CREDENTIALS_SECRET_TYPE) {
      target.disconnect(missingCredentials(name, CREDENTIALS_SECRET_TYPE));
      return undefined;
    }
    let access: Access;
    try {
      ({ access } = readCredentials(secret));
    } catch (error) {
      if (!(error instanceof CredentialsError)) throw error;
      target.disconnect(badCredentials(name, error));
      return undefined;
    }
    target.connect(link, access);
    return secret;
  }

  #target(key: string, link: Link): Target {
    const { targets, newTarget, onTarget } = this.#options;
    const known = targets.get(key);
    if (known?.cluster === link.spec.targetClusterName) return known;
    this.#drop(key);
    const target = newTarget(link);
    targets.set(key, target);
    onTarget(target);
    return target;
  }

  /**
   * Whether a Link is there as it was last seen. A leader that has only just taken over may not have heard that one is gone,
   * and what was made for it then would never be removed. From then on, none goes without us.
   */
  async #isStillThere(key: string, link: Link, signal: AbortSignal): Promise<boolean> {
    const { source, writer } = this.#options;
    const now = await writer.read({ resource: LINKS, store: source.links }, refOf(key), signal);
    return now?.metadata.uid === link.metadata.uid && now?.metadata.deletionTimestamp === undefined;
  }

  #drop(key: string): void {
    void this.#options.targets.get(key)?.stop();
    this.#options.targets.delete(key);
  }

  async #cleanUp(key: string, link: Link, signal: AbortSignal): Promise<void> {
    const { source, claims, targets, copies, onDeleting, isBusy } = this.#options;
    const target = targets.get(key);
    this.#drop(key);
    if (!finalizers(link).includes(LINK_FINALIZER)) return;
    const left = [
      ...source.mirrorsOf(link.metadata),
      ...source.slicesOf(link.metadata),
      // Another Link to this target keeps its members, and another Isthmus in this cluster its own.
      ...(claims.activeFor(link) ? [] : source.federatedWith(link.spec.targetClusterName)).filter((service) =>
        claims.isFederation(service),
      ),
    ].length;
    if (!this.#cleaning.has(key)) {
      this.#cleaning.add(key);
      onDeleting(link, target);
    }
    if (left > 0 || isBusy(link) || (await this.#isSomethingLeft(link, signal))) return;
    await copies?.remove(link, signal);
    const others = finalizers(link).filter((finalizer) => finalizer !== LINK_FINALIZER);
    await this.#setFinalizers(key, link, others, signal);
  }

  /**
   * Whether the API server has anything that was made for a Link. What is known of it may be out of date in a leader that has
   * only just taken over, and once the Link is gone nobody looks for what is left.
   */
  async #isSomethingLeft(link: Link, signal: AbortSignal): Promise<boolean> {
    const { source, writer } = this.#options;
    const selector = madeForSelector(link);
    const services = { resource: SERVICES, store: source.services };
    const slices = { resource: ENDPOINT_SLICES, store: source.slices };
    const found = [
      ...(await writer.refresh(services, selector, signal)),
      ...(await writer.refresh(slices, selector, signal)),
    ];
    return found.length > 0;
  }

  /** Whether anything had to be written. */
  async #setFinalizers(key: string, link: Link, wanted: string[], signal: AbortSignal): Promise<boolean> {
    if (wanted.length === finalizers(link).length) return false;
    const { resourceVersion } = link.metadata;
    const shelf = { resource: LINKS, store: this.#options.source.links };
    await this.#options.writer.patch(
      shelf,
      key,
      { metadata: { resourceVersion, finalizers: wanted } },
      { signal },
    );
    return true;
  }
}

function finalizers(link: Link): string[] {
  return link.metadata.finalizers ?? [];
}
