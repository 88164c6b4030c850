import { isDeepStrictEqual } from "node:util";
import {
  CREDENTIALS_SECRET_KEY,
  CREDENTIALS_SECRET_TYPE,
  credentialsRoleName,
  DESTINATION_CLUSTER_DOMAIN_ANNOTATION,
  DESTINATION_CLUSTER_LABEL,
  DESTINATION_TRUST_DOMAIN_ANNOTATION,
  LINK_CONDITION,
  LINK_LABEL,
  LINK_REASON,
  type Link,
  linkLabelValue,
  MANAGED_BY_LABEL,
  MANAGER,
} from "../../../contract/index.ts";
import { isAlreadyExists, isForbidden, isNotFound, KubeError } from "../../kube/errors.ts";
import type { Log } from "../../kube/log.ts";
import { keyOf, type Secret } from "../../kube/objects.ts";
import type { ReconcileResult } from "../../kube/queue.ts";
import { SECRETS } from "../../kube/resource.ts";
import { Store } from "../../kube/store.ts";
import type { LinkEvents } from "../events.ts";
import { isMadeFor } from "../ownership.ts";
import type { Shelf, SourceWriter } from "../writer.ts";
import type { LinkCondition } from "./freshness.ts";

export interface LinkerdCopyOptions {
  /** Of Linkerd's control plane. */
  namespace: string;
  writer: SourceWriter;
  events: Pick<LinkEvents, "record">;
  log: Log;
  /** A Link's condition may have changed. */
  onNews: (link: string) => void;
}

/** A Linkerd that is told nothing of its target takes it to be the default one. */
const DEFAULT_DOMAIN = "cluster.local";

/** What is in the way of a copy stands where nothing is watched: so often it is looked whether it still does. */
const OBSTACLE_AGAIN_MS = 30_000;

/**
 * The copies of credentials that Linkerd's destination controller reads, in the namespace of its control plane. That holds
 * Linkerd's own keys: nothing there is listed or watched, each copy is asked for by its name. Linkerd takes no notice of a
 * changed copy, so one is deleted and made again.
 */
export class LinkerdCopies {
  readonly #options: LinkerdCopyOptions;
  readonly #conditions = new Map<string, LinkCondition>();
  /** The copy that was made for a Link last, for when it names another Secret. */
  readonly #names = new Map<string, string>();

  constructor(options: LinkerdCopyOptions) {
    this.#options = options;
  }

  /** The condition `CredentialsCopied`, once that is known. What an earlier controller found out holds until this one has. */
  condition(link: Link): LinkCondition | undefined {
    return this.#conditions.get(keyOf(link)) ?? writtenCondition(link);
  }

  /** Let Linkerd have these credentials of a Link. Throws what is worth another try at once. */
  async keep(link: Link, credentials: Secret, signal: AbortSignal): Promise<ReconcileResult | undefined> {
    const key = keyOf(link);
    const { name } = credentials.metadata;
    try {
      const former = this.#names.get(key);
      if (former !== undefined && former !== name) await this.#removeIfAllowed(link, former, signal);
      this.#names.set(key, name);
      const condition = await this.#keep(link, credentials, signal);
      this.#become(link, condition);
      return condition.status === "True" ? undefined : { againMs: OBSTACLE_AGAIN_MS };
    } catch (error) {
      if (signal.aborted || !(error instanceof KubeError)) throw error;
      this.#become(link, this.#failed(link, name, error));
      // What is missing is a permission or a namespace: whoever makes it need not be asked for every second.
      if (!isForbidden(error) && !isNotFound(error)) throw error;
      return { againMs: OBSTACLE_AGAIN_MS };
    }
  }

  /** The Link goes: its copy goes with it. Throws what is worth another try. */
  async remove(link: Link, signal: AbortSignal): Promise<void> {
    const key = keyOf(link);
    const names = new Set([link.spec.clusterCredentialsSecret, this.#names.get(key)]);
    for (const name of names) if (name !== undefined) await this.#removeIfAllowed(link, name, signal);
    this.forget(key);
  }

  /** The Link is gone, or does not mirror. */
  forget(link: string): void {
    this.#conditions.delete(link);
    this.#names.delete(link);
  }

  async #keep(link: Link, credentials: Secret, signal: AbortSignal): Promise<LinkCondition> {
    const wanted = this.#wanted(link, credentials);
    const actual = await this.#options.writer.read(this.#shelf, wanted.metadata, signal);
    if (actual !== undefined && !isMadeFor(actual, link)) return this.#conflict(wanted);
    if (actual !== undefined && isSame(actual, wanted)) return this.#kept(wanted);
    if (actual !== undefined) await this.#options.writer.remove(this.#shelf, actual, { signal });
    try {
      await this.#options.writer.create(this.#shelf, wanted, { signal });
    } catch (error) {
      if (!isAlreadyExists(error)) throw error;
      return this.#conflict(wanted);
    }
    this.#options.log.info("Linkerd was given new credentials", { link: keyOf(link), secret: keyOf(wanted) });
    return this.#kept(wanted);
  }

  async #removeIfAllowed(link: Link, name: string, signal: AbortSignal): Promise<void> {
    try {
      await this.#remove(link, name, signal);
    } catch (error) {
      if (!isForbidden(error)) throw error;
      const { namespace, log, events } = this.#options;
      log.warn("a copy of credentials may not be looked for", { link: keyOf(link), namespace, name, error });
      const message = `Secret ${namespace}/${name} may not be read: if it is a copy of this Link's credentials, delete it`;
      events.record(link, { type: "Warning", reason: LINK_REASON.copyFailed, message });
    }
  }

  async #remove(link: Link, name: string, signal: AbortSignal): Promise<void> {
    const { namespace, writer } = this.#options;
    const actual = await writer.read(this.#shelf, { namespace, name }, signal);
    if (actual !== undefined && isMadeFor(actual, link)) await writer.remove(this.#shelf, actual, { signal });
  }

  #wanted(link: Link, credentials: Secret): Secret {
    const { targetClusterName, targetTrustDomain, targetClusterDomain } = link.spec;
    return {
      apiVersion: "v1",
      kind: "Secret",
      type: CREDENTIALS_SECRET_TYPE,
      metadata: {
        namespace: this.#options.namespace,
        name: credentials.metadata.name,
        labels: {
          [MANAGED_BY_LABEL]: MANAGER,
          [LINK_LABEL]: linkLabelValue(link.metadata),
          [DESTINATION_CLUSTER_LABEL]: targetClusterName,
        },
        annotations: {
          [DESTINATION_TRUST_DOMAIN_ANNOTATION]: targetTrustDomain ?? DEFAULT_DOMAIN,
          [DESTINATION_CLUSTER_DOMAIN_ANNOTATION]: targetClusterDomain ?? DEFAULT_DOMAIN,
        },
      },
      data: { [CREDENTIALS_SECRET_KEY]: credentials.data?.[CREDENTIALS_SECRET_KEY] ?? "" },
    };
  }

  /** Nothing is kept of what it holds: what is there is asked each time. */
  get #shelf(): Shelf<Secret> {
    return { resource: SECRETS, store: new Store<Secret>() };
  }

  #become(link: Link, condition: LinkCondition): void {
    const { events, onNews } = this.#options;
    const before = this.condition(link);
    this.#conditions.set(keyOf(link), condition);
    onNews(keyOf(link));
    if (condition.status !== "False" || before?.reason === condition.reason) return;
    events.record(link, { type: "Warning", reason: condition.reason, message: condition.message });
  }

  #kept(copy: Secret): LinkCondition {
    return {
      type: LINK_CONDITION.credentialsCopied,
      status: "True",
      reason: LINK_REASON.credentialsCopied,
      message: `Linkerd has the credentials, in Secret ${keyOf(copy)}`,
    };
  }

  #conflict(copy: Secret): LinkCondition {
    return {
      type: LINK_CONDITION.credentialsCopied,
      status: "False",
      reason: LINK_REASON.copyConflict,
      message: `Secret ${keyOf(copy)} is there already and was not made for this Link: it is left as it is; delete it, or rename this Link's credentials Secret`,
    };
  }

  #failed(link: Link, name: string, error: KubeError): LinkCondition {
    const { namespace } = this.#options;
    const role = credentialsRoleName(link.spec.targetClusterName);
    const todo = isForbidden(error)
      ? `; Role ${role} in namespace ${namespace} (get and delete of this Secret, create of Secrets), or its binding, is missing`
      : "";
    return {
      type: LINK_CONDITION.credentialsCopied,
      status: "False",
      reason: LINK_REASON.copyFailed,
      message: `Linkerd cannot be given the credentials in Secret ${namespace}/${name}: ${error.detail}${todo}`,
    };
  }
}

function writtenCondition(link: Link): LinkCondition | undefined {
  const written = link.status?.conditions?.find(({ type }) => type === LINK_CONDITION.credentialsCopied);
  if (written === undefined) return undefined;
  const { type, status, reason, message } = written;
  return { type, status, reason: reason as LinkCondition["reason"], message };
}

/** Whether Linkerd reads the same from both; what others add is no difference. */
function isSame(actual: Secret, wanted: Secret): boolean {
  const has = (all: Record<string, string> = {}, some: Record<string, string> = {}) =>
    Object.entries(some).every(([key, value]) => all[key] === value);
  return (
    actual.type === wanted.type &&
    isDeepStrictEqual(actual.data, wanted.data) &&
    has(actual.metadata.labels, wanted.metadata.labels) &&
    has(actual.metadata.annotations, wanted.metadata.annotations)
  );
}
