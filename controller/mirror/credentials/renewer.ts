import {
  CREDENTIALS_SECRET_KEY,
  CREDENTIALS_SECRET_TYPE,
  LINK_REASON,
  type Link,
} from "../../../contract/index.ts";
import type { Clock } from "../../kube/clock.ts";
import { CredentialsError } from "../../kube/credentials.ts";
import type { Log } from "../../kube/log.ts";
import { keyOf, type Secret } from "../../kube/objects.ts";
import type { ReconcileResult } from "../../kube/queue.ts";
import type { Store } from "../../kube/store.ts";
import type { Claims } from "../claims.ts";
import type { LinkEvents } from "../events.ts";
import type { Connect } from "../target/target.ts";
import type { SourceWriter } from "../writer.ts";
import { freshness, type LinkCondition, noFreshness } from "./freshness.ts";
import { digest, type Reading, readCredentials } from "./reading.ts";
import { dueInMs, endsAt, FIRST_LIFETIME_SECONDS, pauseMs, type Renewable, renewable } from "./renewal.ts";
import { withToken } from "./replace-token.ts";
import { requestToken } from "./request-token.ts";
import { type CredentialsSecrets, secretKeyOf } from "./secrets.ts";

export interface RenewerOptions {
  links: Store<Link>;
  secrets: Pick<CredentialsSecrets, "lookup" | "shelf">;
  claims: Pick<Claims, "isActive">;
  writer: SourceWriter;
  connect: Connect;
  events: Pick<LinkEvents, "record">;
  clock: Clock;
  random: () => number;
  log: Log;
  /** A renewal for a target ended. */
  onRenewal: (cluster: string, outcome: "success" | "failure") => void;
  /** A Link's condition may have changed. */
  onNews: (link: string) => void;
}

/** What this process remembers of a Link's token. */
interface Memory {
  tokenId: string | undefined;
  /** Wall clock. */
  seenAt: number;
  /** Failures in a row to renew this token. */
  failures: number;
  failure: string | undefined;
  /** No sooner than this, by the monotonic clock. */
  retryAt: number;
}

/** What it remembers of a Link, whatever the token. */
interface History {
  /** The last token that was asked for here, and when, by the wall clock. */
  obtained?: { tokenId: string; at: number };
  /** The last renewal, by the monotonic clock. */
  renewedAt?: number;
  /** The life that the target grants. Seconds. */
  lifetime: number;
}

/** Keeps the tokens of Links alive: each is replaced in its Secret by a new one when two thirds of its life are over. */
export class CredentialsRenewer {
  readonly #options: RenewerOptions;
  readonly #memories = new Map<string, Memory>();
  readonly #histories = new Map<string, History>();
  /** The reason that people were told of last, by Link. */
  readonly #told = new Map<string, string>();

  constructor(options: RenewerOptions) {
    this.#options = options;
  }

  /** Renew the token of one Link, if that is due. */
  async reconcile(key: string, signal: AbortSignal): Promise<ReconcileResult | undefined> {
    const link = this.#options.links.get(key);
    if (link === undefined || link.metadata.deletionTimestamp !== undefined) {
      for (const map of [this.#memories, this.#histories, this.#told]) map.delete(key);
      return undefined;
    }
    const current = this.#current(link);
    const dueInMs = current && this.#dueInMs(key, current.reading);
    if (current !== undefined && dueInMs === 0) await this.#renew(link, current, signal);
    this.#tell(key, link);
    return this.#nextLook(key, link, dueInMs);
  }

  /** The condition `CredentialsFresh`; none where the Link does not mirror, or nothing is known yet. */
  condition(link: Link): LinkCondition | undefined {
    if (!this.#options.claims.isActive(link)) return undefined;
    const found = this.#options.secrets.lookup(secretKeyOf(link));
    if (found.state === "unknown") return undefined;
    if (found.state === "forbidden") return noFreshness(LINK_REASON.credentialsForbidden);
    if (found.secret?.type !== CREDENTIALS_SECRET_TYPE) return noFreshness(LINK_REASON.credentialsMissing);
    const reading = readingOf(found.secret);
    if (reading === undefined) return noFreshness(LINK_REASON.credentialsInvalid);
    const { failure } = this.#memory(keyOf(link), reading);
    const expired = this.#endsInMs(keyOf(link), reading) <= 0;
    return freshness({ claims: reading.claims, expired, spread: spreadOf(reading), failure });
  }

  /** When the token of a Link ends, in seconds since the epoch; `undefined` where that is not known. */
  expiry(link: string): number | undefined {
    const found = this.#options.links.get(link);
    const expires = found && this.#current(found)?.reading.claims?.expires;
    return expires === undefined ? undefined : expires / 1000;
  }

  async #renew(link: Link, current: Current, signal: AbortSignal): Promise<void> {
    const key = keyOf(link);
    const { clock, log, random, onRenewal } = this.#options;
    const cluster = link.spec.targetClusterName;
    const memory = this.#memory(key, current.reading);
    try {
      await this.#replaceToken(link, current, signal);
    } catch (error) {
      if (signal.aborted) throw error;
      memory.failures++;
      memory.failure = error instanceof Error ? error.message : String(error);
      const pause = pauseMs(memory.failures, random);
      memory.retryAt = clock.monotonic() + pause;
      onRenewal(cluster, "failure");
      log.warn("a token could not be renewed", { link: key, cluster, error, againInMs: Math.round(pause) });
      return;
    }
    onRenewal(cluster, "success");
    log.info("a token was renewed", { link: key, cluster, lifetime: this.#history(key).lifetime });
  }

  async #replaceToken(link: Link, { secret, reading, token }: Current, signal: AbortSignal): Promise<void> {
    if (token === undefined) return;
    const { secrets, writer, connect, clock } = this.#options;
    const history = this.#history(keyOf(link));
    const askedAt = clock.now();
    // A connection of its own: what serves the watch may be swapped for another at any time.
    const client = connect(link.spec.targetClusterName, reading.access.credentials);
    let granted: Awaited<ReturnType<typeof requestToken>>;
    try {
      granted = await requestToken(client, token.account, history.lifetime, signal);
    } finally {
      await client.close();
    }
    history.lifetime = granted.lifetime;
    const text = withToken(reading.text, granted.token);
    const secretKey = keyOf(secret);
    const shelf = secrets.shelf(secretKey);
    if (shelf === undefined) throw new Error(`Link ${keyOf(link)} names Secret ${secretKey} no longer`);
    // Known before it is written: the watch may be faster than the answer.
    history.obtained = { tokenId: digest(granted.token), at: askedAt };
    const { resourceVersion } = secret.metadata;
    const data = { [CREDENTIALS_SECRET_KEY]: Buffer.from(text).toString("base64") };
    // One that somebody replaced meanwhile is theirs (409).
    await writer.patch(shelf, secretKey, { metadata: { resourceVersion }, data }, { signal });
    history.renewedAt = clock.monotonic();
  }

  /** The credentials that a Link mirrors by; `undefined` where there are none that can be used. */
  #current(link: Link): Current | undefined {
    if (!this.#options.claims.isActive(link)) return undefined;
    const found = this.#options.secrets.lookup(secretKeyOf(link));
    if (found.state !== "known" || found.secret?.type !== CREDENTIALS_SECRET_TYPE) return undefined;
    const reading = readingOf(found.secret);
    return reading && { secret: found.secret, reading, token: renewable(reading.claims) };
  }

  /** Absent: the token cannot be renewed. */
  #dueInMs(key: string, reading: Reading): number | undefined {
    const token = renewable(reading.claims);
    if (token === undefined) return undefined;
    const { clock } = this.#options;
    const memory = this.#memory(key, reading);
    const { renewedAt } = this.#history(key);
    return dueInMs({
      token,
      sighting: this.#sighting(key, reading),
      now: clock.now(),
      spread: spreadOf(reading),
      sinceRenewalMs: renewedAt === undefined ? undefined : clock.monotonic() - renewedAt,
      pauseMs: Math.max(0, memory.retryAt - clock.monotonic()),
    });
  }

  #endsInMs(key: string, reading: Reading): number {
    if (reading.claims === undefined) return Number.POSITIVE_INFINITY;
    return endsAt(reading.claims, this.#sighting(key, reading)) - this.#options.clock.now();
  }

  /**
   * When it is due, and when it ends, which the condition tells.
   *
   * @param waitedFor how long it was until it is due when this look began: it may have become due since, and is not renewed
   */
  #nextLook(key: string, link: Link, waitedFor: number | undefined): ReconcileResult | undefined {
    const reading = this.#current(link)?.reading;
    if (reading === undefined) return undefined;
    const times = [waitedFor || this.#dueInMs(key, reading), this.#endsInMs(key, reading)];
    const ahead = times.filter((ms) => ms !== undefined && Number.isFinite(ms) && ms > 0) as number[];
    // What is due already again, another look would not help: a renewal brings one, and so does the end of a pause.
    return ahead.length === 0 ? undefined : { againMs: Math.ceil(Math.min(...ahead)) };
  }

  #tell(key: string, link: Link): void {
    const { onNews, events } = this.#options;
    onNews(key);
    const state = this.condition(link);
    if (state === undefined) return;
    const written = link.status?.conditions?.find(({ type }) => type === state.type)?.reason;
    const before = this.#told.get(key) ?? written;
    this.#told.set(key, state.reason);
    if (state.status !== "False" || before === state.reason) return;
    events.record(link, { type: "Warning", reason: state.reason, message: state.message });
  }

  #sighting(key: string, reading: Reading) {
    const { seenAt } = this.#memory(key, reading);
    const { obtained } = this.#history(key);
    return { seenAt, obtainedAt: obtained?.tokenId === reading.tokenId ? obtained?.at : undefined };
  }

  #memory(key: string, { tokenId }: Reading): Memory {
    const known = this.#memories.get(key);
    if (known !== undefined && known.tokenId === tokenId) return known;
    const seenAt = this.#options.clock.now();
    const memory = { tokenId, seenAt, failures: 0, failure: undefined, retryAt: 0 };
    this.#memories.set(key, memory);
    return memory;
  }

  #history(key: string): History {
    const known = this.#histories.get(key);
    if (known !== undefined) return known;
    const history = { lifetime: FIRST_LIFETIME_SECONDS };
    this.#histories.set(key, history);
    return history;
  }
}

interface Current {
  secret: Secret;
  reading: Reading;
  token: Renewable | undefined;
}

function readingOf(secret: Secret): Reading | undefined {
  try {
    return readCredentials(secret);
  } catch (error) {
    if (error instanceof CredentialsError) return undefined;
    throw error;
  }
}

/** Where in the spread of renewals a token's turn is: from the token itself, so that all processes agree. */
function spreadOf({ tokenId = "0" }: Reading): number {
  return Number.parseInt(tokenId.slice(0, 8), 16) / 2 ** 32;
}
