import { GATEWAY_CERTIFICATE_SECRET, ISSUER_SECRET, TRUST_BUNDLE_CONFIG_MAP } from "../../contract/index.ts";
import type { KubeClient } from "../kube/client.ts";
import type { Clock } from "../kube/clock.ts";
import type { Log } from "../kube/log.ts";
import type { ConfigMap, Secret } from "../kube/objects.ts";
import { TerminalError } from "../kube/queue.ts";
import { SECRETS } from "../kube/resource.ts";
import { Store } from "../kube/store.ts";
import { issuerName } from "./issuer.ts";
import { type CertificateAndKey, signLeaf } from "./leaf.ts";
import type { IdentityMetrics } from "./metrics.ts";
import { certificateSecret, isOurs, presentCertificate, usableIssuer } from "./objects.ts";
import { judge } from "./renewal.ts";

export interface CertifierOptions {
  client: KubeClient;
  namespace: string;
  identity: string;
  clock: Clock;
  metrics: IdentityMetrics;
  log: Log;
}

/** Timers are set no further ahead than this: a clock that was put right is noticed. */
const LOOK_AGAIN_MS = 60 * 60 * 1000;

/** Reconciles the one Secret: reads the stores, decides, and writes where a new certificate is due. */
export class Certifier {
  readonly issuers = new Store<Secret>();
  readonly certificates = new Store<Secret>();
  readonly bundles = new Store<ConfigMap>();
  readonly #options: CertifierOptions;
  #problem: string | undefined = "the certificate has not been looked at yet";
  #expires: Date | undefined;
  #renewAt: Date | undefined;

  constructor(options: CertifierOptions) {
    this.#options = options;
  }

  /** Why the gateway cannot be sure of a certificate, in words; empty when all is well. */
  notReady(): string[] {
    return this.#problem === undefined ? [] : [this.#problem];
  }

  /** For `/state`. */
  state() {
    return {
      identity: this.#options.identity,
      problem: this.#problem ?? null,
      expires: this.#expires?.toISOString() ?? null,
      renewAt: this.#renewAt?.toISOString() ?? null,
    };
  }

  async reconcile(signal: AbortSignal): Promise<{ againMs: number }> {
    try {
      const again = await this.#reconcile(signal);
      this.#report(undefined);
      return again;
    } catch (error) {
      this.#report(error instanceof Error ? error.message : String(error));
      throw error;
    }
  }

  async #reconcile(signal: AbortSignal): Promise<{ againMs: number }> {
    const { namespace, identity, clock, metrics } = this.#options;
    const key = (name: string) => `${namespace}/${name}`;
    const now = new Date(clock.now());
    const where = { issuer: key(ISSUER_SECRET), bundle: key(TRUST_BUNDLE_CONFIG_MAP) };
    const present = this.certificates.get(key(GATEWAY_CERTIFICATE_SECRET));
    const issuer = terminally(() =>
      usableIssuer(this.issuers.get(where.issuer), this.bundles.get(where.bundle), where, now),
    );
    metrics.issuer(issuer.certificate.validToDate);

    const verdict = judge(presentCertificate(present), issuer, identity, now);
    if (verdict.renew) {
      if (present !== undefined && !isOurs(present)) {
        throw new TerminalError(
          `Secret ${key(GATEWAY_CERTIFICATE_SECRET)} is not ours to write and ${verdict.because}: delete it, or have its owner renew it`,
        );
      }
      await this.#write(present, await signLeaf(issuer, identity, now), signal);
      const name = issuerName(issuer.certificate);
      this.#options.log.info("signed a certificate for the gateway", {
        identity,
        issuer: name,
        because: verdict.because,
      });
      // What was written is judged like any other.
      return { againMs: 0 };
    }
    this.#expires = verdict.expires;
    this.#renewAt = verdict.renewAt;
    metrics.certificate(verdict.expires);
    const ahead = (verdict.renewAt ?? verdict.expires).getTime() - now.getTime();
    return { againMs: Math.min(Math.max(ahead, 0), LOOK_AGAIN_MS) };
  }

  /** Where somebody else wrote since, the server refuses: what came of it is looked at again. */
  async #write(present: Secret | undefined, signed: CertificateAndKey, signal: AbortSignal): Promise<void> {
    const { client, namespace, metrics } = this.#options;
    const secret = certificateSecret(namespace, present, signed);
    const written = await (present === undefined
      ? client.create(SECRETS, secret, { signal })
      : client.update(SECRETS, secret, { signal }));
    this.certificates.wrote(written);
    metrics.renewed();
  }

  #report(problem: string | undefined): void {
    this.#problem = problem;
    this.#options.metrics.problem(problem !== undefined);
  }
}

/** Only a change of the objects can heal this: it is not tried again before there is one. */
function terminally<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new TerminalError(error instanceof Error ? error.message : String(error));
  }
}
