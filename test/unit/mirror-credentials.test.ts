import { describe, expect, test } from "@jest/globals";
import { parse } from "yaml";
import { freshness } from "../../controller/mirror/credentials/freshness.ts";
import {
  type DueQuestion,
  dueInMs,
  endsAt,
  plannedAt,
  type Renewable,
  shorterLifetime,
} from "../../controller/mirror/credentials/renewal.ts";
import { withToken } from "../../controller/mirror/credentials/replace-token.ts";
import { readToken } from "../../controller/mirror/credentials/token.ts";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const START = Date.parse("2026-01-01T00:00:00Z");

function jwt(claims: unknown): string {
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
  return `${part({ alg: "RS256" })}.${part(claims)}.c2ln`;
}

describe("what a token says of itself", () => {
  const sub = "system:serviceaccount:isthmus:isthmus-remote-access-east";
  const iat = START / 1000;
  const exp = iat + 600;

  test("is when it was made, when it ends, and for which ServiceAccount", () => {
    expect(readToken(jwt({ iat, exp, sub, aud: ["x"] }))).toEqual({
      issuedAt: START,
      expires: START + 600_000,
      account: { namespace: "isthmus", name: "isthmus-remote-access-east" },
    });
  });

  test.each<[string, unknown]>([
    ["another kind of user", { iat, exp, sub: "system:node:a" }],
    ["no user", { iat, exp }],
    ["an account in no namespace", { iat, exp, sub: "system:serviceaccount::reader" }],
    ["an account with a path for a name", { iat, exp, sub: "system:serviceaccount:a:../../b" }],
    ["more than an account", { iat, exp, sub: "system:serviceaccount:a:b:c" }],
    ["a number for a user", { iat, exp, sub: 7 }],
  ])("is its end and no account where it is for %s", (_, claims) => {
    expect(readToken(jwt(claims))).toEqual({ issuedAt: START, expires: START + 600_000 });
  });

  test.each<[string, unknown]>([
    ["is missing", { exp, sub }],
    ["is after its end", { iat: exp + 1, exp, sub }],
    ["is its end", { iat: exp, exp, sub }],
    ["is text", { iat: "now", exp, sub }],
  ])("is no beginning where that %s", (_, claims) => {
    expect(readToken(jwt(claims))).not.toHaveProperty("issuedAt");
  });

  test.each<[string, string]>([
    ["no JWT", "plain-token"],
    ["empty", ""],
    ["two parts", "a.b"],
    ["no JSON inside", `a.${Buffer.from("{").toString("base64url")}.c`],
    ["null inside", jwt(null)],
    ["an end that is no number", jwt({ iat, exp: "tomorrow", sub })],
    ["an end before all time", jwt({ iat, exp: -1, sub })],
    ["an end after all time", jwt({ iat, exp: 1e300, sub })],
    ["no end", jwt({ iat, sub })],
    ["endless", jwt({ iat, exp, sub, more: "x".repeat(20_000) })],
  ])("is nothing where it is %s", (_, token) => {
    expect(readToken(token)).toBeUndefined();
  });
});

describe("a token is renewed", () => {
  const account = { namespace: "isthmus", name: "reader" };
  const token: Renewable = { issuedAt: START, expires: START + 6 * DAY, account };
  const ask = (changes: Partial<DueQuestion>) =>
    dueInMs({ token, sighting: { seenAt: START }, now: START, spread: 0, pauseMs: 0, ...changes });

  test.each<[string, Partial<DueQuestion>, number]>([
    ["at two thirds of its life", {}, 4 * DAY],
    ["earlier by a twentieth at most", { spread: 1 }, 4 * DAY - 0.3 * DAY],
    ["somewhere between, each token at its own time", { spread: 0.5 }, 4 * DAY - 0.15 * DAY],
    ["at once when that is over", { now: START + 5 * DAY }, 0],
    ["at once when it has ended: our clock may be wrong", { now: START + 7 * DAY }, 0],
    ["after the pause that follows a failure", { now: START + 5 * DAY, pauseMs: 20_000 }, 20_000],
    ["not after a pause that ends before it is due", { pauseMs: 20_000 }, 4 * DAY],
    [
      "no sooner than a third of its life after the last",
      { now: START + 5 * DAY, sinceRenewalMs: 0 },
      2 * DAY,
    ],
    ["at once when a third has passed since", { now: START + 5 * DAY, sinceRenewalMs: 2 * DAY }, 0],
    [
      "at two thirds from when it was obtained, where the target's clock is a year behind",
      { now: START + 365 * DAY, sighting: { seenAt: START + 365 * DAY, obtainedAt: START + 365 * DAY } },
      4 * DAY,
    ],
    [
      "at two thirds from when it was obtained, where the target's clock is a year ahead",
      { now: START - 365 * DAY, sighting: { seenAt: START - 365 * DAY, obtainedAt: START - 365 * DAY } },
      4 * DAY,
    ],
    [
      "at two thirds from when it was first seen, where it comes from the future",
      { now: START - 2 * DAY, sighting: { seenAt: START - 3 * DAY } },
      3 * DAY,
    ],
  ])("%s", (_, changes, expected) => {
    expect(ask(changes)).toBeCloseTo(expected, -1);
  });

  test("never twice within a third of its life, wherever the clocks stand", () => {
    for (const skew of [-365, -7, -6, -1, 0, 1, 3.9, 4, 6, 7, 365]) {
      const now = START + skew * DAY;
      for (const obtainedAt of [undefined, now]) {
        const due = ask({ now, sighting: { seenAt: now, obtainedAt }, sinceRenewalMs: 0 });
        expect(due).toBeGreaterThanOrEqual(2 * DAY);
      }
    }
  });

  test("as planned in its own words, which do not depend on this machine's clock", () => {
    expect(plannedAt(token, 0)).toBe(START + 4 * DAY);
  });

  test("and has ended when its life is over, counted from when we know it began", () => {
    expect(endsAt(token, { seenAt: START + DAY })).toBe(START + 6 * DAY);
    expect(endsAt(token, { seenAt: START + 9 * DAY, obtainedAt: START + 8 * DAY })).toBe(START + 14 * DAY);
    expect(endsAt({ expires: START }, { seenAt: START + DAY })).toBe(START);
  });
});

test("a life that is refused is halved, down to the shortest that there is", () => {
  const asked = [604_800];
  for (let next = shorterLifetime(604_800); next !== undefined; next = shorterLifetime(next))
    asked.push(next);
  expect(asked).toEqual([604_800, 302_400, 151_200, 75_600, 37_800, 18_900, 9450, 4725, 2362, 1181, 600]);
});

describe("the condition CredentialsFresh", () => {
  const claims = {
    issuedAt: START,
    expires: START + 3 * DAY,
    account: { namespace: "isthmus", name: "reader" },
  };
  const facts = { claims, expired: false, spread: 0, failure: undefined };

  test.each<[string, Parameters<typeof freshness>[0], string, string, string]>([
    [
      "says until when and when next",
      facts,
      "True",
      "CredentialsFresh",
      "the token ends at 2026-01-04T00:00:00Z and is renewed at 2026-01-03T00:00:00Z",
    ],
    [
      "says why a renewal failed, and how long there is",
      { ...facts, failure: "cluster west: no answer" },
      "False",
      "RenewalFailed",
      "the token ends at 2026-01-04T00:00:00Z and could not be renewed, which is tried again: cluster west: no answer",
    ],
    [
      "says when it ended",
      { ...facts, expired: true },
      "False",
      "CredentialsExpired",
      "the token ended at 2026-01-04T00:00:00Z; mirrors stay as they are; replace the Secret's kubeconfig",
    ],
    [
      "says that a certificate is not renewed",
      { ...facts, claims: undefined },
      "True",
      "CredentialsNotRenewable",
      "a client certificate, or a token that does not say when it ends: replace it before it does",
    ],
    [
      "says that another's token is not renewed, and until when it lives",
      { ...facts, claims: { issuedAt: START, expires: START + DAY } },
      "True",
      "CredentialsNotRenewable",
      "the token ends at 2026-01-02T00:00:00Z and is not that of a ServiceAccount, which could renew it: replace it before",
    ],
  ])("%s", (_, given, status, reason, message) => {
    expect(freshness(given)).toEqual({ type: "CredentialsFresh", status, reason, message });
  });
});

describe("a token in a kubeconfig is replaced", () => {
  const yaml = (users: string) => `# of the people of west
apiVersion: v1
kind: Config
current-context: b   # this one
contexts:
  - {name: a, context: {cluster: west, user: other}}
  - {name: b, context: {cluster: west, user: reader}}
clusters:
  - name: west
    cluster:
      server: https://203.0.113.1:6443
users:
${users}`;
  const rest = "  - name: other\n    user: {token: theirs}\n";

  test.each<[string, string, string]>([
    ["as it stands", "token: old", "token: new-token"],
    ["with a comment behind", "token: old # until May", "token: new-token # until May"],
    ["in quotes", 'token: "old"', 'token: "new-token"'],
    ["in single quotes", "token: 'old'", 'token: "new-token"'],
    ["on the next line", "token:\n        old", "token:\n        new-token"],
  ])("%s, and all else is byte for byte as it was", (_, before, after) => {
    const user = (line: string) => yaml(`${rest}  - name: reader\n    user:\n      ${line}\n`);
    expect(withToken(user(before), "new-token")).toBe(user(after));
  });

  test("in JSON, which stays JSON", () => {
    const config = (token: string) => ({
      "current-context": "c",
      contexts: [{ name: "c", context: { user: "u" } }],
      users: [{ name: "u", user: { token } }],
    });
    const changed = withToken(JSON.stringify(config("old"), null, 2), "new");
    expect(changed).toBe(JSON.stringify(config("new"), null, 2));
  });

  test("in a block of text", () => {
    const text = yaml(`  - name: reader\n    user:\n      token: |\n        old\n${rest}`);
    expect(parse(withToken(text, "new"))).toEqual({
      ...parse(text),
      users: [
        { name: "reader", user: { token: "new" } },
        { name: "other", user: { token: "theirs" } },
      ],
    });
  });

  test("where it is a reference to somebody else's, for this user alone", () => {
    const text = yaml("  - {name: other, user: {token: &t old}}\n  - {name: reader, user: {token: *t }}\n");
    expect(parse(withToken(text, "new")).users).toEqual([
      { name: "other", user: { token: "old" } },
      { name: "reader", user: { token: "new" } },
    ]);
  });

  test("not at all where others would get it too", () => {
    const text = yaml("  - {name: reader, user: {token: &t old}}\n  - {name: other, user: {token: *t }}\n");
    expect(() => withToken(text, "new")).toThrow("without changing more");
  });

  test("not at all where another user is the same entry", () => {
    const text = yaml("  - {name: reader, user: &u {token: old}}\n  - {name: other, user: *u }\n");
    expect(() => withToken(text, "new")).toThrow("without changing more");
  });

  test("for the first user of a name, as kubectl reads it", () => {
    const text = yaml("  - {name: reader, user: {token: old}}\n  - {name: reader, user: {token: unused}}\n");
    expect(withToken(text, "new")).toBe(text.replace("token: old", "token: new"));
  });
});
