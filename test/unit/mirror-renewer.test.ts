import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { parse } from "yaml";
import type { Link } from "../../contract/index.ts";
import { KubeClient } from "../../controller/kube/client.ts";
import { silentLog } from "../../controller/kube/log.ts";
import type { Secret } from "../../controller/kube/objects.ts";
import { SECRETS, SERVICE_ACCOUNTS } from "../../controller/kube/resource.ts";
import { Store } from "../../controller/kube/store.ts";
import { CredentialsRenewer } from "../../controller/mirror/credentials/renewer.ts";
import type { SecretState } from "../../controller/mirror/credentials/secrets.ts";
import { SourceWriter } from "../../controller/mirror/writer.ts";
import { FakeApi } from "../support/fake-api.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { aLink } from "../support/mirror-objects.ts";

const KEY = "isthmus/remote";
const SECRET = { namespace: "isthmus", name: "cluster-credentials-remote" };
const SECRET_KEY = `${SECRET.namespace}/${SECRET.name}`;
const HOUR = 3_600_000;
const WEEK_SECONDS = 604_800;
const WEEK = WEEK_SECONDS * 1000;

let source: FakeApi;
let target: FakeApi;
let client: KubeClient;
let clock: FakeClock;
let links: Store<Link>;
let store: Store<Secret>;
let state: SecretState["state"];
let renewer: CredentialsRenewer;
let outcomes: string[];
let events: string[];
let news: number;
let onNews: () => void;

beforeEach(async () => {
  [source, target] = [await FakeApi.start(), await FakeApi.start()];
  const account = { namespace: "isthmus", name: "reader" };
  target.objects.create(SERVICE_ACCOUNTS, { apiVersion: "v1", kind: "ServiceAccount", metadata: account });
  client = new KubeClient({ cluster: "source", credentials: source.credentials() });
  clock = new FakeClock();
  target.now = () => clock.now();
  links = new Store<Link>();
  links.apply(aLink());
  state = "known";
  start();
});

afterEach(async () => {
  await client.close();
  await Promise.all([source.close(), target.close()]);
});

/** A controller that knows nothing yet. */
function start(): void {
  store = new Store<Secret>();
  const present = source.objects.find(SECRETS, SECRET) as Secret | undefined;
  if (present !== undefined) store.apply(present);
  [outcomes, events, news] = [[], [], 0];
  onNews = () => undefined;
  renewer = new CredentialsRenewer({
    links,
    secrets: {
      lookup: () =>
        state === "known"
          ? { state, secret: store.get(SECRET_KEY) }
          : state === "forbidden"
            ? { state, detail: "no" }
            : { state },
      shelf: () => ({ resource: SECRETS, store }),
    },
    claims: { isActive: () => true },
    writer: new SourceWriter(
      client,
      () => undefined,
      () => undefined,
    ),
    connect: (cluster, credentials) => new KubeClient({ cluster, credentials }),
    events: { record: (_, { type, reason }) => void events.push(`${type} ${reason}`) },
    clock,
    random: () => 0.5,
    log: silentLog,
    onRenewal: (cluster, outcome) => void outcomes.push(`${cluster} ${outcome}`),
    onNews: () => {
      news++;
      onNews();
    },
  });
}

function put(kubeconfig: string): void {
  const object: Secret = {
    apiVersion: "v1",
    kind: "Secret",
    metadata: SECRET,
    type: "mirror.linkerd.io/remote-kubeconfig",
    data: { kubeconfig: Buffer.from(kubeconfig).toString("base64") },
  };
  const there = source.objects.find(SECRETS, SECRET) !== undefined;
  const { resourceVersion } = there
    ? source.objects.update(SECRETS, object).metadata
    : source.objects.create(SECRETS, object).metadata;
  store.apply({ ...object, metadata: { ...SECRET, resourceVersion: resourceVersion! } });
}

/** The token in the Secret, as the source's API server has it. */
function stored(): string {
  const { data } = source.objects.find(SECRETS, SECRET) as Secret;
  return parse(Buffer.from(data!.kubeconfig!, "base64").toString()).users[0].user.token;
}

function lifeOf(token: string): number {
  const { iat, exp } = JSON.parse(Buffer.from(token.split(".")[1]!, "base64url").toString());
  return exp - iat;
}

const reconcile = () => renewer.reconcile(KEY, new AbortController().signal);
const condition = () => renewer.condition(links.get(KEY)!);
const asked = () =>
  target.requests
    .filter(({ subresource }) => subresource === "token")
    .map(({ body }) => (body as { spec: { expirationSeconds: number } }).spec.expirationSeconds);

/** As a queue would: look, and look again when told to, until `ms` have passed. */
async function live(ms: number): Promise<void> {
  const end = clock.now() + ms;
  for (let looks = 0; clock.now() < end; looks++) {
    if (looks > 10_000) throw new Error("a tight loop");
    const again = (await reconcile())?.againMs ?? Number.POSITIVE_INFINITY;
    await clock.advance(Math.min(Math.max(again, 1), end - clock.now()));
  }
  await reconcile();
}

describe("a token", () => {
  test("is left alone while less than two thirds of its life are over", async () => {
    const token = target.makeToken("isthmus", "reader", WEEK_SECONDS);
    put(target.kubeconfig(token));
    await live(0.6 * WEEK);
    expect(stored()).toBe(token);
    expect(asked()).toEqual([]);
    expect(condition()).toMatchObject({ status: "True", reason: "CredentialsFresh" });
    expect(renewer.expiry(KEY)).toBe((clock.now() - 0.6 * WEEK + WEEK) / 1000);
  });

  test("is replaced by one for a week, asked for by itself, and then by another, and another", async () => {
    const first = target.makeToken("isthmus", "reader", WEEK_SECONDS);
    put(target.kubeconfig(first));
    const before = condition()?.message;
    await live(0.67 * WEEK);
    const second = stored();
    expect(second).not.toBe(first);
    expect(lifeOf(second)).toBe(WEEK_SECONDS);
    expect(target.requests.at(-1)).toMatchObject({ token: first });
    expect(condition()).toMatchObject({ status: "True", reason: "CredentialsFresh" });
    expect(condition()?.message).not.toBe(before);
    await live(4 * WEEK);
    expect(outcomes.length).toBeGreaterThanOrEqual(6);
    expect(outcomes.length).toBeLessThanOrEqual(8);
    expect(new Set(outcomes)).toEqual(new Set(["remote success"]));
    expect(events).toEqual([]);
  });

  test("whose time comes while it is looked at is looked at again at once", async () => {
    put(target.kubeconfig(target.makeToken("isthmus", "reader", 3600)));
    const { againMs = 0 } = (await reconcile()) ?? {};
    await clock.advance(againMs - 1);
    const { now } = clock;
    onNews = () => {
      clock.now = () => now.call(clock) + 1;
    };
    expect(await reconcile()).toEqual({ againMs: 1 });
    await reconcile();
    expect(outcomes).toEqual(["remote success"]);
  });

  test("says the same words of itself until it is renewed, in every process", async () => {
    put(target.kubeconfig(target.makeToken("isthmus", "reader", WEEK_SECONDS)));
    const said = condition();
    await live(0.5 * WEEK);
    expect(condition()).toEqual(said);
    start();
    expect(condition()).toEqual(said);
  });

  test("is asked for with a shorter life where the target's policy refuses, which is remembered", async () => {
    target.maxTokenSeconds = 100_000;
    put(target.kubeconfig(target.makeToken("isthmus", "reader", 3600)));
    await live(HOUR);
    expect(asked()).toEqual([604_800, 302_400, 151_200, 75_600]);
    await live(20 * HOUR);
    expect(asked().slice(4)).toEqual([75_600]);
  });

  test("is not written over a Secret that somebody replaced meanwhile", async () => {
    put(target.kubeconfig(target.makeToken("isthmus", "reader", 3600)));
    await clock.advance(HOUR - 60_000);
    const theirs = target.makeToken("isthmus", "reader", 7200);
    const known = store.get(SECRET_KEY)!;
    put(target.kubeconfig(theirs));
    // The watch is late.
    store = new Store<Secret>();
    store.apply(known);
    await reconcile();
    expect(stored()).toBe(theirs);
    expect(outcomes).toEqual(["remote failure"]);
    store.apply(source.objects.find(SECRETS, SECRET) as Secret);
    await reconcile();
    expect(condition()).toMatchObject({ reason: "CredentialsFresh" });
  });

  test("that is put back by others is renewed no more than three times in its life", async () => {
    const old = target.makeToken("isthmus", "reader", 3600);
    put(target.kubeconfig(old));
    await clock.advance(0.9 * HOUR);
    const end = clock.now() + HOUR;
    while (clock.now() < end) {
      await reconcile();
      target.tokens.set(old, Number.POSITIVE_INFINITY);
      put(target.kubeconfig(old));
      await clock.advance(60_000);
    }
    expect(outcomes.length).toBeLessThanOrEqual(4);
  });
});

describe("under clocks that disagree", () => {
  test.each([-365, -30, -8, -1, 1, 8, 30, 365])(
    "by %d days, a token is renewed when its time has come and never in a loop",
    async (days) => {
      target.now = () => clock.now() + days * 24 * HOUR;
      put(target.kubeconfig(target.makeToken("isthmus", "reader", WEEK_SECONDS)));
      await live(4 * WEEK);
      expect(outcomes.length).toBeGreaterThanOrEqual(5);
      expect(outcomes.length).toBeLessThanOrEqual(8);
      expect(new Set(outcomes)).toEqual(new Set(["remote success"]));
      expect(condition()).toMatchObject({ status: "True", reason: "CredentialsFresh" });
    },
  );
});

describe("a renewal that fails", () => {
  test("says why and until when the token lives, tries again ever more rarely, and forgets it when it works", async () => {
    const token = target.makeToken("isthmus", "reader", WEEK_SECONDS);
    put(target.kubeconfig(token));
    target.forbids = ({ subresource }) => subresource === "token";
    await live(0.9 * WEEK);
    expect(condition()).toMatchObject({
      status: "False",
      reason: "RenewalFailed",
      message: expect.stringContaining("the token ends at 2026-01-08T00:00:00Z"),
    });
    expect(condition()?.message).toContain("cannot POST");
    expect(events).toEqual(["Warning RenewalFailed"]);
    // Ten minutes at most, a quarter less by chance, for the quarter of a week that it fails.
    expect(outcomes.length).toBeGreaterThan(200);
    expect(outcomes.length).toBeLessThan(400);
    expect(stored()).toBe(token);
    target.forbids = () => false;
    await live(HOUR);
    expect(outcomes.at(-1)).toBe("remote success");
    expect(condition()).toMatchObject({ status: "True", reason: "CredentialsFresh" });
  });

  test("until the token's end says that it has ended; another Secret is all it takes", async () => {
    put(target.kubeconfig(target.makeToken("isthmus", "reader", 3600)));
    target.forbids = ({ subresource }) => subresource === "token";
    await live(1.5 * HOUR);
    expect(condition()).toMatchObject({ status: "False", reason: "CredentialsExpired" });
    expect(events).toEqual(["Warning RenewalFailed", "Warning CredentialsExpired"]);
    target.forbids = () => false;
    put(target.kubeconfig(target.makeToken("isthmus", "reader", 3600)));
    expect(condition()).toMatchObject({ status: "True", reason: "CredentialsFresh" });
    await live(HOUR);
    expect(outcomes.at(-1)).toBe("remote success");
  });

  test.each<[string, unknown]>([
    ["nothing", {}],
    ["no token", { status: { token: 7 } }],
    ["a token that tells nothing", { status: { token: "abc" } }],
    ["a token with a line break", { status: { token: "a\nb" } }],
    ["a token of endless length", { status: { token: "a".repeat(100_000) } }],
  ])("since the target answers with %s leaves the token as it is", async (_, answer) => {
    const token = target.makeToken("isthmus", "reader", 3600);
    put(target.kubeconfig(token));
    await clock.advance(0.7 * HOUR);
    const body = {
      kind: "body",
      body: JSON.stringify(answer),
      type: "application/json",
      status: 201,
    } as const;
    target.faults.inject(body, { times: 1, when: ({ subresource }) => subresource === "token" });
    await reconcile();
    expect(stored()).toBe(token);
    expect(condition()).toMatchObject({ reason: "RenewalFailed" });
  });

  test("since the token that comes is somebody else's leaves the token as it is", async () => {
    const token = target.makeToken("isthmus", "reader", 3600);
    put(target.kubeconfig(token));
    await clock.advance(0.7 * HOUR);
    const theirs = { status: { token: target.makeToken("kube-system", "admin", 3600) } };
    const body = {
      kind: "body",
      body: JSON.stringify(theirs),
      type: "application/json",
      status: 201,
    } as const;
    target.faults.inject(body, { times: 1, when: ({ subresource }) => subresource === "token" });
    await reconcile();
    expect(stored()).toBe(token);
    expect(condition()?.message).toContain("for another account");
  });
});

describe("credentials that are not renewed", () => {
  test("are those whose token is of no ServiceAccount", async () => {
    put(target.kubeconfig());
    await live(WEEK);
    expect(condition()).toMatchObject({ status: "True", reason: "CredentialsNotRenewable" });
    expect(renewer.expiry(KEY)).toBeUndefined();
    expect(asked()).toEqual([]);
  });

  test("are those that are missing, wrong, forbidden or not known yet", async () => {
    expect(condition()).toMatchObject({ status: "Unknown", reason: "CredentialsMissing" });
    put("}{");
    await reconcile();
    expect(condition()).toMatchObject({ status: "Unknown", reason: "CredentialsInvalid" });
    state = "forbidden";
    expect(condition()).toMatchObject({ status: "Unknown", reason: "CredentialsForbidden" });
    state = "unknown";
    expect(condition()).toBeUndefined();
    expect(await reconcile()).toBeUndefined();
    expect(news).toBeGreaterThan(0);
  });

  test("are those of a Link that is gone", async () => {
    put(target.kubeconfig(target.makeToken("isthmus", "reader", 3600)));
    await clock.advance(HOUR);
    links.delete(aLink());
    expect(await reconcile()).toBeUndefined();
    expect(asked()).toEqual([]);
  });
});
