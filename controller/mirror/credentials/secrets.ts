import { CREDENTIALS_SECRET_KEY, CREDENTIALS_SECRET_TYPE, type Link } from "../../../contract/index.ts";
import type { KubeClient } from "../../kube/client.ts";
import type { Clock } from "../../kube/clock.ts";
import { isForbidden } from "../../kube/errors.ts";
import type { Log } from "../../kube/log.ts";
import { refOf, type Secret } from "../../kube/objects.ts";
import { Reflector, type ReflectorState } from "../../kube/reflector.ts";
import { MAX_KUBECONFIG_BYTES } from "../../kube/remote-credentials.ts";
import { SECRETS } from "../../kube/resource.ts";
import { Store } from "../../kube/store.ts";
import type { Shelf } from "../writer.ts";

/** What is known of the Secret that a Link names. */
export type SecretState =
  /** The API server has not answered yet. */
  | { state: "unknown" }
  /** This controller may not read it. */
  | { state: "forbidden"; detail: string }
  /** As it is; `undefined` where there is none. */
  | { state: "known"; secret: Secret | undefined };

export interface CredentialsSecretsOptions {
  client: KubeClient;
  links: Store<Link>;
  clock: Clock;
  random: () => number;
  log: Log;
}

interface Watch {
  store: Store<Secret>;
  reflector: Reflector<Secret>;
  stop: AbortController;
  /** What listeners were told last. */
  told: SecretState["state"];
}

/** Index of the Links by the key of their Secret. */
const BY_SECRET = "secret";
/** A Role that was missing is noticed within this time. */
const RETRY = { baseMs: 100, capMs: 10_000 };
/** As much of a kubeconfig in base64 as shows that it is too long. */
const MAX_ENCODED = 2 * MAX_KUBECONFIG_BYTES;

/**
 * The credentials Secrets that Links name, each by a watch of its own: RBAC lets this controller read these by their names,
 * and no other Secret beside them. Watches come and go with the Links that name their Secret.
 */
export class CredentialsSecrets {
  readonly #options: CredentialsSecretsOptions;
  readonly #watches = new Map<string, Watch>();
  readonly #running = new Set<Promise<void>>();
  readonly #listeners = new Set<(key: string) => void>();

  constructor(options: CredentialsSecretsOptions) {
    this.#options = options;
    options.links.index(BY_SECRET, (link) => [secretKeyOf(link)]);
  }

  /** Watch what Links name until `signal` is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    const { links } = this.#options;
    const end = links.onChange((_, current, previous) => {
      for (const link of [previous, current]) if (link !== undefined) this.#follow(secretKeyOf(link));
    });
    for (const link of links.list()) this.#follow(secretKeyOf(link));
    await new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      else signal.addEventListener("abort", () => resolve(), { once: true });
    });
    end();
    for (const key of [...this.#watches.keys()]) this.#end(key);
    await Promise.all(this.#running);
  }

  /** What is known of a Secret, by its key. */
  lookup(key: string): SecretState {
    const watch = this.#watches.get(key);
    if (watch === undefined) return { state: "unknown" };
    const { reflector, store } = watch;
    if (isForbidden(reflector.error)) return { state: "forbidden", detail: reflector.error.detail };
    return reflector.isSynced ? { state: "known", secret: store.get(key) } : { state: "unknown" };
  }

  /** Where to write a Secret that is watched. */
  shelf(key: string): Shelf<Secret> | undefined {
    const watch = this.#watches.get(key);
    return watch && { resource: SECRETS, store: watch.store };
  }

  /** Call `listener` with a Secret's key when something else is known of it. The function returned ends that. */
  onChange(listener: (key: string) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** The Links that name a Secret. */
  linksOf(key: string): Link[] {
    return this.#options.links.by(BY_SECRET, key);
  }

  /** For `/state`. */
  state(): (ReflectorState & { name: string })[] {
    return [...this.#watches].map(([name, { reflector }]) => ({ ...reflector.state(), name }));
  }

  #follow(key: string): void {
    const wanted = this.linksOf(key).length > 0;
    if (wanted && !this.#watches.has(key)) this.#begin(key);
    else if (!wanted) this.#end(key);
  }

  #begin(key: string): void {
    const { client, clock, random, log } = this.#options;
    const { namespace, name } = refOf(key);
    const store = new Store<Secret>({ capacity: 1 });
    const reflector = new Reflector<Secret>({
      client,
      resource: SECRETS,
      namespace,
      fieldSelector: `metadata.name=${name}`,
      sink: store,
      // Nobody else's Secret is kept, should an API server take the selector lightly.
      transform: (secret) => (secret.metadata.name === name ? trimmed(secret) : undefined),
      clock,
      random,
      log: log.child({ secret: key }),
      backoff: RETRY,
    });
    const watch: Watch = { store, reflector, stop: new AbortController(), told: "unknown" };
    this.#watches.set(key, watch);
    store.onChange(() => this.#tell(key));
    reflector.onStateChange(() => {
      const { state } = this.lookup(key);
      if (this.#watches.get(key) !== watch || state === watch.told) return;
      watch.told = state;
      this.#tell(key);
    });
    const running = reflector.run(watch.stop.signal).finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  #end(key: string): void {
    this.#watches.get(key)?.stop.abort(new Error(`no Link names the Secret ${key} any more`));
    this.#watches.delete(key);
  }

  #tell(key: string): void {
    for (const listener of this.#listeners) listener(key);
  }
}

/** The key of the Secret that a Link names. */
export function secretKeyOf(link: Link): string {
  return `${link.metadata.namespace}/${link.spec.clusterCredentialsSecret}`;
}

/** Only what is used, and of another type of Secret nothing that is secret. */
function trimmed(secret: Secret): Secret {
  const { namespace, name, uid, resourceVersion } = secret.metadata;
  const text = secret.type === CREDENTIALS_SECRET_TYPE ? secret.data?.[CREDENTIALS_SECRET_KEY] : undefined;
  return {
    apiVersion: secret.apiVersion,
    kind: secret.kind,
    metadata: {
      name,
      ...(namespace && { namespace }),
      ...(uid && { uid }),
      ...(resourceVersion && { resourceVersion }),
    },
    ...(secret.type && { type: secret.type }),
    data: text === undefined ? {} : { [CREDENTIALS_SECRET_KEY]: text.slice(0, MAX_ENCODED) },
  };
}
