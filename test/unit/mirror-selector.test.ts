import { describe, expect, test } from "@jest/globals";
import type { LabelSelector } from "../../contract/index.ts";
import { gatewaySelector, matchesSelector, selectorQuery } from "../../controller/mirror/selector.ts";
import { aLink } from "../support/mirror-objects.ts";

describe("a selector", () => {
  test.each<[LabelSelector, string, Record<string, string>, Record<string, string>]>([
    [{ matchLabels: { a: "1", b: "2" } }, "a=1,b=2", { a: "1", b: "2", c: "3" }, { a: "1" }],
    [
      { matchExpressions: [{ key: "a", operator: "In", values: ["y", "x"] }] },
      "a in (x,y)",
      { a: "x" },
      { a: "z" },
    ],
    [{ matchExpressions: [{ key: "a", operator: "NotIn", values: ["x"] }] }, "a notin (x)", {}, { a: "x" }],
    [{ matchExpressions: [{ key: "a", operator: "Exists" }] }, "a", { a: "" }, {}],
    [{ matchExpressions: [{ key: "a", operator: "DoesNotExist" }] }, "!a", {}, { a: "" }],
  ])("%j asks for %s and takes what matches", (selector, query, matching, other) => {
    expect(selectorQuery(selector)).toBe(query);
    expect(matchesSelector(selector, matching)).toBe(true);
    expect(matchesSelector(selector, other)).toBe(false);
  });

  test("that is empty matches nothing, here and at the API server", () => {
    expect(matchesSelector({}, { "mirror.linkerd.io/exported": "true" })).toBe(false);
    expect(selectorQuery({})).toBe("mirror.linkerd.io/exported,!mirror.linkerd.io/exported");
  });

  test("gives one text whatever the order of its labels", () => {
    expect(selectorQuery({ matchLabels: { b: "2", a: "1" } })).toBe(
      selectorQuery({ matchLabels: { a: "1", b: "2" } }),
    );
  });

  test("that a Link does not have is the export label; an empty one stays empty", () => {
    const { selector: _, ...without } = aLink().spec;
    expect(selectorQuery(gatewaySelector(without))).toBe("mirror.linkerd.io/exported=true");
    expect(gatewaySelector(aLink({ selector: {} }).spec)).toEqual({});
  });
});
