import { describe, expect, test } from "@jest/globals";
import {
  containsUnknown,
  markSecretProperties,
  markSecretsLike,
  plain,
  redact,
  secret,
  secretStrings,
  UNKNOWN,
} from "../../stacks/engines/wire.ts";

describe("values of the protocol", () => {
  test("lose their secret wrappers at any depth, and nothing else", () => {
    const value = { a: secret({ b: [secret("x"), 1, null] }), c: true };
    expect(plain(value)).toEqual({ a: { b: ["x", 1, null] }, c: true });
  });

  test("are wrapped as secret once, however often that is asked for", () => {
    expect(secret(secret("x"))).toEqual(secret("x"));
  });

  test("contain an unknown wherever it is, in a secret too", () => {
    expect(containsUnknown({ a: [1, { b: secret(UNKNOWN) }] })).toBe(true);
    expect(containsUnknown({ a: [1, { b: secret("known") }] })).toBe(false);
  });

  test("come out secret where they went in secret", () => {
    const inputs = { data: secret({ token: "t" }), list: ["a", secret("b")], open: "o" };
    const outputs = { data: { token: "t" }, list: ["a", "b", "c"], open: "o", added: 1 };
    expect(markSecretsLike(outputs, inputs)).toEqual({
      data: secret({ token: "t" }),
      list: ["a", secret("b"), "c"],
      open: "o",
      added: 1,
    });
  });

  test("are secret by name where a resource says so, and absent ones stay absent", () => {
    expect(markSecretProperties({ key: "k", open: "o" }, ["key", "none"])).toEqual({
      key: secret("k"),
      open: "o",
    });
  });
});

describe("redacting", () => {
  test("leaves no secret readable in a text, neither as it is nor as Kubernetes encodes it", () => {
    const secrets = secretStrings({ data: secret({ token: "very-secret-token" }) });
    const encoded = Buffer.from("very-secret-token").toString("base64");
    expect(redact(`Invalid value: "very-secret-token" (${encoded})`, secrets)).toBe(
      'Invalid value: "[secret]" ([secret])',
    );
  });

  test("does not search for short secrets, which are in every other word", () => {
    expect([...secretStrings({ data: secret({ namespace: "default" }) })]).toEqual([]);
  });

  test("does not take what is no secret for one", () => {
    expect([...secretStrings({ name: "a-long-public-name", key: secret("a-long-private-key") })]).toEqual([
      "a-long-private-key",
      Buffer.from("a-long-private-key").toString("base64"),
    ]);
  });
});
