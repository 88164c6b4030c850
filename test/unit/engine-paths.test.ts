import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { diffProperties, formatPaths } from "../../stacks/engines/embedded/diff.ts";
import { formatPath, isWithin, keepAt, parsePath } from "../../stacks/engines/embedded/paths.ts";
import { containsSecret, secret, UNKNOWN } from "../../stacks/engines/wire.ts";

describe("property paths", () => {
  test.each([
    ["spec.replicas", ["spec", "replicas"]],
    ["spec.ports[0].nodePort", ["spec", "ports", 0, "nodePort"]],
    ['metadata.annotations["example.com/x"]', ["metadata", "annotations", "example.com/x"]],
    ['["a\\"b"]', ['a"b']],
    ["data.*", ["data", "*"]],
    ["ports[*].name", ["ports", "*", "name"]],
  ])("%s is read as Pulumi reads it", (text, path) => {
    expect(parsePath(text)).toEqual(path);
  });

  test.each(["", "a[", "a[x]", 'a["b'])("%j is refused by name", (text) => {
    expect(() => parsePath(text)).toThrow(/property path/);
  });

  test("read back as they were written", () => {
    const step = fc.oneof(
      fc.nat(),
      fc.string({ minLength: 1 }).filter((name) => name !== "*"),
    );
    const path = fc.array(step, { minLength: 1, maxLength: 4 });
    fc.assert(fc.property(path, (steps) => expect(parsePath(formatPath(steps))).toEqual(steps)));
  });

  test("lie within a pattern when they are it or under it, a star standing for any step", () => {
    expect(isWithin(["spec", "ports", 0, "name"], ["spec", "ports"])).toBe(true);
    expect(isWithin(["spec", "ports", 0, "name"], ["spec", "ports", "*", "name"])).toBe(true);
    expect(isWithin(["spec"], ["spec", "ports"])).toBe(false);
    expect(isWithin(["metadata", "labels"], ["spec"])).toBe(false);
  });
});

describe("ignoring changes", () => {
  const paths = (...texts: string[]) => texts.map(parsePath);

  test("keeps what was at a path, adds what was there, and takes away what was not", () => {
    const previous = { data: { a: "old" }, spec: { gone: 1 } };
    expect(keepAt({ data: { a: "new" }, spec: {} }, previous, paths("data", "spec.gone"))).toEqual(previous);
    expect(keepAt({ spec: { added: 1 } }, { spec: {} }, paths("spec.added"))).toEqual({ spec: {} });
  });

  test("leaves everything beside the path to the program", () => {
    const next = { metadata: { labels: { a: "new", b: "new" } } };
    const previous = { metadata: { labels: { a: "old", b: "old" } } };
    expect(keepAt(next, previous, paths("metadata.labels.a"))).toEqual({
      metadata: { labels: { a: "old", b: "new" } },
    });
  });

  test("reaches every element by a star", () => {
    const next = { ports: [{ port: 1, nodePort: 10 }, { port: 2 }] };
    const previous = { ports: [{ port: 9, nodePort: 30_000 }] };
    expect(keepAt(next, previous, paths("ports[*].nodePort"))).toEqual({
      ports: [{ port: 1, nodePort: 30_000 }, { port: 2 }],
    });
  });

  test("keeps a secret secret when the path leads into it", () => {
    const kept = keepAt({ data: secret({ a: "new" }) }, { data: secret({ a: "old" }) }, paths("data.a"));
    expect(kept).toEqual({ data: secret({ a: "old" }) });
    expect(containsSecret(kept)).toBe(true);
  });

  test("changes nothing when old and new are the same, whatever the path", () => {
    const value = fc.dictionary(fc.constantFrom("a", "b"), fc.oneof(fc.nat(), fc.array(fc.nat())));
    const path = fc.constantFrom("a", "b", "a.b", "b[0]", "b[*]", "*");
    fc.assert(
      fc.property(value, path, (same, text) => expect(keepAt(same, same, paths(text))).toEqual(same)),
    );
  });
});

describe("differences between inputs", () => {
  const diff = (...sides: Parameters<typeof diffProperties>) => formatPaths(diffProperties(...sides));

  test("are told by the paths of the leaves, never by values", () => {
    const previous = { spec: { replicas: 1, ports: [{ port: 80 }] }, metadata: { labels: { a: "x" } } };
    const next = { spec: { replicas: 2, ports: [{ port: 80 }, { port: 81 }] }, metadata: { labels: {} } };
    expect(diff(previous, next)).toEqual(["spec.replicas", "spec.ports[1]", "metadata.labels.a"]);
  });

  test("are none when only the secrecy differs", () => {
    expect(diff({ a: "x" }, { a: secret("x") })).toEqual([]);
  });

  test("are there for a value that is not known yet, even where it was not known before", () => {
    expect(diff({ a: UNKNOWN }, { a: UNKNOWN })).toEqual(["a"]);
  });

  test("are none between a property that is null and one that is not there", () => {
    expect(diff({ a: null }, {})).toEqual([]);
  });
});
