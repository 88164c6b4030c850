import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import type { KubeObject } from "../../controller/kube/objects.ts";
import { Store } from "../../controller/kube/store.ts";
import { compareVersions } from "../../controller/kube/version.ts";

function object(
  name: string,
  version: number | string,
  more: Partial<KubeObject["metadata"]> = {},
): KubeObject {
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: { namespace: "ns", name, uid: `uid-${name}`, resourceVersion: String(version), ...more },
  };
}

/** A store, and what its listeners heard. */
function listening(store = new Store<KubeObject>()) {
  const heard: string[] = [];
  store.onChange((key, current, previous) => {
    const versions = [previous, current].map((each) => each?.metadata.resourceVersion ?? "nothing");
    heard.push(`${key}: ${versions.join(" -> ")}`);
  });
  return { store, heard };
}

describe("a store", () => {
  test("tells what changed, with what was before", () => {
    const { store, heard } = listening();
    store.apply(object("a", 1));
    store.apply(object("a", 2));
    store.delete(object("a", 3));
    expect(heard).toEqual(["ns/a: nothing -> 1", "ns/a: 1 -> 2", "ns/a: 2 -> nothing"]);
  });

  test("tells nothing when a state is repeated", () => {
    const { store, heard } = listening();
    store.apply(object("a", 1));
    store.apply(object("a", 1));
    store.reset([object("a", 1)]);
    expect(heard).toEqual(["ns/a: nothing -> 1"]);
  });

  test("finds by a reset what was added, changed and deleted", () => {
    const { store, heard } = listening();
    store.reset([object("kept", 1), object("changed", 1), object("gone", 1)]);
    heard.length = 0;
    store.reset([object("kept", 1), object("changed", 2), object("new", 3)]);
    expect(heard.sort()).toEqual(["ns/changed: 1 -> 2", "ns/gone: 1 -> nothing", "ns/new: nothing -> 3"]);
  });

  test("takes an object made anew under the same name as a change, even at a lower resourceVersion", () => {
    const { store, heard } = listening();
    store.apply(object("a", 9));
    store.reset([object("a", 9, { uid: "another" })]);
    expect(heard).toEqual(["ns/a: nothing -> 9", "ns/a: 9 -> 9"]);
  });

  test("does not delete an object because its predecessor was deleted", () => {
    const { store } = listening();
    store.apply(object("a", 5, { uid: "second" }));
    store.delete(object("a", 4, { uid: "first" }));
    expect(store.has("ns/a")).toBe(true);
  });

  test("keeps cluster-wide objects under their names", () => {
    const store = new Store<KubeObject>();
    store.apply({ apiVersion: "v1", kind: "Namespace", metadata: { name: "east" } });
    expect(store.keys()).toEqual(["east"]);
  });

  test("keeps indexes true through every change", () => {
    const store = new Store<KubeObject>().index(
      "colour",
      ({ metadata }) => metadata.labels?.colour?.split("-") ?? [],
    );
    const names = (colour: string) => store.by("colour", colour).map(({ metadata }) => metadata.name);
    store.apply(object("a", 1, { labels: { colour: "red" } }));
    store.apply(object("b", 1, { labels: { colour: "red-blue" } }));
    expect(names("red")).toEqual(["a", "b"]);
    store.apply(object("a", 2, { labels: { colour: "blue" } }));
    expect(names("red")).toEqual(["b"]);
    expect(names("blue")).toEqual(["b", "a"]);
    store.reset([object("a", 3)]);
    expect([...names("red"), ...names("blue")]).toEqual([]);
  });

  test("makes an index of what it has already", () => {
    const store = new Store<KubeObject>();
    store.apply(object("a", 1));
    store.index("name", ({ metadata }) => [metadata.name]);
    expect(store.by("name", "a")).toHaveLength(1);
    expect(() => store.by("nme", "a")).toThrow('there is no index "nme"');
  });

  test("lets every listener hear, when one throws, and then says so", () => {
    const store = new Store<KubeObject>();
    store.onChange(() => {
      throw new Error("bug");
    });
    const { heard } = listening(store);
    expect(() => store.apply(object("a", 1))).toThrow("a listener failed: bug");
    expect(() => store.reset([object("a", 2), object("b", 1)])).toThrow("a listener failed: bug");
    expect(heard).toEqual(["ns/a: nothing -> 1", "ns/a: 1 -> 2", "ns/b: nothing -> 1"]);
  });

  test("tells a listener no more that has gone", () => {
    const store = new Store<KubeObject>();
    const heard: string[] = [];
    const stop = store.onChange((key) => heard.push(key));
    stop();
    store.apply(object("a", 1));
    expect(heard).toEqual([]);
  });

  test("refuses more objects than its capacity, and stays as it is", () => {
    const store = new Store<KubeObject>({ capacity: 2 });
    store.reset([object("a", 1), object("b", 1)]);
    expect(() => store.apply(object("c", 2))).toThrow("more than 2 objects");
    expect(() => store.reset([object("a", 3), object("b", 3), object("c", 3)])).toThrow(
      "more than 2 objects",
    );
    store.apply(object("a", 4));
    expect(store.list().map(({ metadata }) => metadata.resourceVersion)).toEqual(["4", "1"]);
    // A list that fits does, though all of it is new.
    store.reset([object("x", 5), object("y", 5)]);
    expect(store.keys()).toEqual(["ns/x", "ns/y"]);
  });

  test("refuses more bytes than it may hold, and counts what goes", () => {
    const heavy = (name: string, version: number, bytes: number) => ({
      ...object(name, version),
      data: "x".repeat(bytes),
    });
    const store = new Store<KubeObject>({ maxBytes: 2_000 });
    store.reset([heavy("a", 1, 800), heavy("b", 1, 400)]);
    expect(() => store.apply(heavy("c", 2, 800))).toThrow("more than 2000 bytes of objects");
    expect(() => store.apply(heavy("b", 2, 1_200))).toThrow("more than 2000 bytes of objects");
    expect(() => store.reset([heavy("c", 3, 3_000)])).toThrow("more than 2000 bytes of objects");
    expect(store.keys()).toEqual(["ns/a", "ns/b"]);
    store.delete(heavy("a", 4, 0));
    store.apply(heavy("b", 5, 1_200));
    store.reset([heavy("d", 6, 1_500)]);
    expect(store.keys()).toEqual(["ns/d"]);
  });
});

describe("a store that is told of our own writes", () => {
  test("shows them at once, and does not fall back to states from before them", () => {
    const { store, heard } = listening();
    store.apply(object("a", 10));
    store.wrote(object("a", 12));
    store.apply(object("a", 11));
    expect(store.get("ns/a")?.metadata.resourceVersion).toBe("12");
    store.apply(object("a", 12));
    store.apply(object("a", 13));
    expect(heard).toEqual(["ns/a: nothing -> 10", "ns/a: 10 -> 12", "ns/a: 12 -> 13"]);
  });

  test("takes the watch's word when it is ahead of our write's answer", () => {
    const { store } = listening();
    store.apply(object("a", 13));
    store.wrote(object("a", 12));
    expect(store.get("ns/a")?.metadata.resourceVersion).toBe("13");
  });

  test("is not brought back by the answer to a write, when the watch has told of the end already", () => {
    const { store } = listening();
    store.apply(object("a", 10));
    store.delete(object("a", 13));
    store.wrote(object("a", 12));
    expect(store.has("ns/a")).toBe(false);
  });

  test("compares versions by number, not by text", () => {
    const { store } = listening();
    store.wrote(object("a", 10));
    store.apply(object("a", 9));
    expect(store.get("ns/a")?.metadata.resourceVersion).toBe("10");
  });

  test("takes every state where versions cannot be compared", () => {
    const { store } = listening();
    store.wrote(object("a", "opaque-2"));
    store.apply(object("a", "opaque-1"));
    expect(store.get("ns/a")?.metadata.resourceVersion).toBe("opaque-1");
  });

  test("does not bring back what we deleted, until another takes its place or it turns out to be going", () => {
    const { store, heard } = listening();
    store.apply(object("a", 10));
    store.removed(object("a", 10));
    store.apply(object("a", 11));
    expect(store.has("ns/a")).toBe(false);
    store.apply(object("a", 12, { deletionTimestamp: "2026-01-01T00:00:00Z" }));
    expect(store.has("ns/a")).toBe(true);
    store.removed(object("a", 12));
    store.apply(object("a", 14, { uid: "another" }));
    expect(store.has("ns/a")).toBe(true);
    expect(heard).toEqual([
      "ns/a: nothing -> 10",
      "ns/a: 10 -> nothing",
      "ns/a: nothing -> 12",
      "ns/a: 12 -> nothing",
      "ns/a: nothing -> 14",
    ]);
  });

  test("keeps what we deleted where the watch told first that it is going, until it has gone", () => {
    const { store, heard } = listening();
    const going = object("a", 11, { deletionTimestamp: "2026-01-01T00:00:00Z" });
    store.apply(object("a", 10));
    store.apply(going);
    store.removed(object("a", 10));
    expect(store.get("ns/a")).toBe(going);
    store.delete(object("a", 12));
    expect(heard).toEqual(["ns/a: nothing -> 10", "ns/a: 10 -> 11", "ns/a: 11 -> nothing"]);
  });

  test("does not delete what we made, because of what stood there before", () => {
    const { store } = listening();
    store.apply(object("a", 10, { uid: "first" }));
    store.wrote(object("a", 12, { uid: "second" }));
    store.delete(object("a", 11, { uid: "first" }));
    expect(store.get("ns/a")?.metadata.uid).toBe("second");
  });

  test("keeps what we made after a list was taken, through that list and not for ever", () => {
    const { store } = listening();
    store.wrote(object("a", 12));
    store.reset([], "11");
    expect(store.has("ns/a")).toBe(true);
    store.reset([], "11");
    expect(store.has("ns/a")).toBe(false);
  });

  test("lets go of what we made when a later list does not have it", () => {
    const { store } = listening();
    store.wrote(object("a", 12));
    store.reset([], "13");
    expect(store.has("ns/a")).toBe(false);
  });

  test("has the server's state in the end, and never one older than our last write, whatever the delays", () => {
    // A history of one object, of which some changes are ours. The watch brings all of it in order; the answers to our
    // own writes come sooner or later than that. Whatever is shown is never older than the last write that was answered.
    const step = fc.record({ ours: fc.boolean(), deleted: fc.boolean() });
    const interleaving = fc.array(fc.boolean(), { maxLength: 40 });
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 15 }), interleaving, (steps, watchFirst) => {
        const store = new Store<KubeObject>();
        let generation = 0;
        let exists = false;
        const history = steps.map(({ ours, deleted }, index) => {
          const type = exists && deleted ? "deleted" : "applied";
          if (!exists) generation++;
          exists = type === "applied";
          return { ours, type, state: object("a", index + 1, { uid: `uid-${generation}` }) };
        });
        const watch = [...history];
        const answers = history.filter(({ ours }) => ours);
        let lastWrite = 0;
        const choices = [...watchFirst];
        while (watch.length > 0 || answers.length > 0) {
          const fromWatch = answers.length === 0 || (watch.length > 0 && (choices.shift() ?? true));
          const { type, state } = (fromWatch ? watch : answers).shift()!;
          if (fromWatch && type === "applied") store.apply(state);
          if (fromWatch && type === "deleted") store.delete(state);
          if (!fromWatch && type === "applied") store.wrote(state);
          if (!fromWatch && type === "deleted") store.removed(state);
          const shown = store.get("ns/a")?.metadata;
          if (type === "deleted") expect(shown?.uid).not.toBe(state.metadata.uid);
          else if (!fromWatch) lastWrite = Math.max(lastWrite, Number(state.metadata.resourceVersion));
          if (shown) expect(Number(shown.resourceVersion)).toBeGreaterThanOrEqual(lastWrite);
        }
        const last = history.at(-1)!;
        const shown = store.get("ns/a")?.metadata.resourceVersion;
        expect(shown).toBe(last.type === "applied" ? last.state.metadata.resourceVersion : undefined);
      }),
      { numRuns: 500 },
    );
  });
});

describe("resourceVersions", () => {
  test.each([
    ["9", "10", "older"],
    ["10", "9", "newer"],
    ["7", "7", "the same"],
    ["99999999999999999998", "99999999999999999999", "older"],
    ["07", "8", "not comparable"],
    ["", "8", "not comparable"],
    ["a", "8", "not comparable"],
  ])("%j is, next to %j, %s", (a, b, relation) => {
    const order = compareVersions(a, b);
    const word =
      order === undefined ? "not comparable" : order < 0 ? "older" : order > 0 ? "newer" : "the same";
    expect(word).toBe(relation);
  });
});
