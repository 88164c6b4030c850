import { describe, expect, test } from "@jest/globals";
import type { LabelSelector } from "../../contract/index.ts";
import {
  fieldsOf,
  matchesSelector,
  modeOf,
  queriesOf,
  selectorQuery,
  selectorsOf,
} from "../../controller/mirror/selector.ts";
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
    expect(selectorQuery(selectorsOf(without).gateway)).toBe("mirror.linkerd.io/exported=true");
    expect(selectorsOf(aLink({ selector: {} }).spec).gateway).toEqual({});
  });
});

describe("the selectors of a Link", () => {
  const defaults = selectorsOf(aLink().spec);

  test("are asked for with as few queries as can be", () => {
    expect(queriesOf([defaults.gateway, defaults.remoteDiscovery, defaults.federated])).toEqual([
      "mirror.linkerd.io/exported in (remote-discovery,true)",
      "mirror.linkerd.io/federated=member",
    ]);
  });

  test("that cannot be one query are asked for apart; the same one only once", () => {
    const complex = { matchLabels: { a: "1", b: "2" } };
    expect(queriesOf([complex, complex, { matchExpressions: [{ key: "c", operator: "Exists" }] }])).toEqual([
      "a=1,b=2",
      "c",
    ]);
  });

  test("that are all empty ask for nothing, so that the connection is tried all the same", () => {
    expect(queriesOf([{}, {}])).toEqual(["mirror.linkerd.io/exported,!mirror.linkerd.io/exported"]);
  });

  test("are told by the query that they became, both of two that became one", () => {
    const [exported = "", federated = ""] = queriesOf(Object.values(defaults));
    expect(fieldsOf(exported, defaults)).toEqual(["spec.selector", "spec.remoteDiscoverySelector"]);
    expect(fieldsOf(federated, defaults)).toEqual(["spec.federatedServiceSelector"]);
    expect(fieldsOf(federated, { ...defaults, gateway: {} })).toEqual(["spec.federatedServiceSelector"]);
  });

  test("have a service that two of them choose called directly", () => {
    const both = { ...defaults, gateway: { matchLabels: { a: "b" } } };
    const labels = { a: "b", "mirror.linkerd.io/exported": "remote-discovery" };
    expect(modeOf(both, labels)).toBe("remote-discovery");
    expect(modeOf(both, { a: "b" })).toBe("gateway");
    expect(modeOf(both, { "mirror.linkerd.io/exported": "true" })).toBeUndefined();
  });
});
