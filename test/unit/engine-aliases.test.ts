import { describe, expect, test } from "@jest/globals";
import { aliasUrns, findFormer } from "../../stacks/engines/embedded/aliases.ts";
import { parseDuration, type Registration } from "../../stacks/engines/embedded/registration.ts";
import type { ResourceState } from "../../stacks/engines/embedded/state/state.ts";
import { makeUrn, parseUrn } from "../../stacks/engines/urn.ts";

const registration = (more: Partial<Registration> = {}) =>
  ({ type: "k:core/v1:Secret", name: "new", parent: "", aliases: [], ...more }) as Registration;
const urnOf = (type: string, name: string, parent = "") => makeUrn("s", "p", parent, type, name);
const stack = urnOf("pulumi:pulumi:Stack", "p-s");
const component = urnOf("x:index:C", "c", stack);

describe("names of resources", () => {
  test("carry the types of their parents, but not the stack's", () => {
    expect(component).toBe("urn:pulumi:s::p::x:index:C::c");
    expect(urnOf("k:core/v1:Secret", "a", component)).toBe("urn:pulumi:s::p::x:index:C$k:core/v1:Secret::a");
  });

  test("are read back, names with colons too", () => {
    expect(parseUrn("urn:pulumi:s::p::x:index:C$k:core/v1:Secret::a::b")).toEqual({
      stack: "s",
      project: "p",
      qualifiedType: "x:index:C$k:core/v1:Secret",
      type: "k:core/v1:Secret",
      name: "a::b",
    });
    expect(() => parseUrn("nonsense")).toThrow(/"nonsense" is not a resource name/);
  });
});

describe("aliases", () => {
  const urn = urnOf("k:core/v1:Secret", "new", component);

  test.each<[string, Partial<Registration>, string]>([
    ["another name", { aliases: [{ name: "old" }] }, urnOf("k:core/v1:Secret", "old", component)],
    [
      "another type",
      { aliases: [{ type: "k:v1beta1:Secret" }] },
      urnOf("k:v1beta1:Secret", "new", component),
    ],
    ["no parent", { aliases: [{ parent: "" }] }, urnOf("k:core/v1:Secret", "new")],
    ["a whole URN", { aliases: [{ urn: "urn:pulumi:o::p::t::n" }] }, "urn:pulumi:o::p::t::n"],
  ])("name the resource by %s", (_, more, expected) => {
    expect(aliasUrns(urn, registration({ parent: component, ...more }), new Map())).toContain(expected);
  });

  test("of a parent hold for its children", () => {
    const before = urnOf("x:index:Former", "c", stack);
    const known = new Map([[component, before]]);
    expect(aliasUrns(urn, registration({ parent: component }), known)).toEqual([
      urnOf("k:core/v1:Secret", "new", before),
    ]);
  });

  test("are asked only when nothing is known by the resource's own name", () => {
    const state = (name: string) => ({ urn: name }) as ResourceState;
    const old = urnOf("k:core/v1:Secret", "old", component);
    const asked = registration({ parent: component, aliases: [{ name: "old" }] });
    const both = new Map([urn, old].map((name) => [name, state(name)]));
    expect(findFormer(urn, asked, both, new Map())?.urn).toBe(urn);
    both.delete(urn);
    expect(findFormer(urn, asked, both, new Map())?.urn).toBe(old);
  });
});

describe("durations of timeouts", () => {
  test.each([
    ["90s", 90_000],
    ["5m", 300_000],
    ["1h30m", 5_400_000],
    ["250ms", 250],
  ])("%s", (text, milliseconds) => expect(parseDuration(text)).toBe(milliseconds));

  test.each(["", "5", "5 m", "m", "5d"])("%j is refused by name", (text) => {
    expect(() => parseDuration(text)).toThrow(`"${text}" is not a duration`);
  });
});
