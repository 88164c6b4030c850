import { describe, expect, test } from "@jest/globals";
import type { Service } from "../../controller/kube/objects.ts";
import { Store } from "../../controller/kube/store.ts";
import { Union } from "../../controller/kube/union.ts";
import { FakeClock } from "../support/fake-clock.ts";

const service = (name: string, version: number): Service => ({
  apiVersion: "v1",
  kind: "Service",
  metadata: { namespace: "ns", name, uid: name, resourceVersion: String(version) },
});

function union(parts = 2) {
  const store = new Store<Service>();
  const clock = new FakeClock();
  const all = new Union(store, clock);
  return { store, all, clock, sinks: all.begin(parts) };
}

/** Longer than an object may be on its way from one selection to another. */
const SETTLED_MS = 1_000;

const names = (store: Store<Service>) =>
  store
    .list()
    .map(({ metadata }) => metadata.name)
    .sort();

describe("a store that several watches fill", () => {
  test("has what any of them sees", () => {
    const { store, sinks, all } = union();
    sinks[0]!.reset([service("a", 1)], "1");
    expect(all.listed).toBe(false);
    sinks[1]!.reset([service("b", 1)], "1");
    expect(all.listed).toBe(true);
    expect(names(store)).toEqual(["a", "b"]);
  });

  test("keeps what one no longer sees while another does", async () => {
    const { store, sinks, clock } = union();
    for (const sink of sinks) sink.reset([service("a", 1)], "1");
    sinks[0]!.delete(service("a", 2));
    await clock.advance(SETTLED_MS);
    expect(names(store)).toEqual(["a"]);
    sinks[1]!.delete(service("a", 3));
    await clock.advance(SETTLED_MS);
    expect(names(store)).toEqual([]);
  });

  test.each([
    ["leaves first", [0, 1]],
    ["enters first", [1, 0]],
  ])("never takes what moves from one to the other to be gone, when it %s", async (_, order) => {
    const { store, sinks, clock } = union();
    sinks[0]!.reset([service("a", 1)], "1");
    sinks[1]!.reset([], "1");
    const gone: string[] = [];
    store.onChange((key, current) => {
      if (current === undefined) gone.push(key);
    });
    for (const part of order) {
      if (part === 0) sinks[0]!.delete(service("a", 2));
      else sinks[1]!.apply(service("a", 2));
    }
    await clock.advance(SETTLED_MS);
    expect(names(store)).toEqual(["a"]);
    expect(gone).toEqual([]);
  });

  test("of a single watch lets go at once", () => {
    const { store, sinks } = union(1);
    sinks[0]!.reset([service("a", 1)], "1");
    sinks[0]!.delete(service("a", 2));
    expect(names(store)).toEqual([]);
  });

  test("does not go back to what a slower one says of an object", () => {
    const { store, sinks } = union();
    sinks[0]!.reset([service("a", 5)], "5");
    sinks[1]!.reset([service("a", 3)], "3");
    expect(store.get("ns/a")?.metadata.resourceVersion).toBe("5");
    sinks[1]!.apply(service("a", 4));
    expect(store.get("ns/a")?.metadata.resourceVersion).toBe("5");
  });

  test("a new list of one removes only what no other has", () => {
    const { store, sinks } = union();
    sinks[0]!.reset([service("a", 1), service("b", 1)], "1");
    sinks[1]!.reset([service("b", 1)], "1");
    sinks[0]!.reset([], "2");
    expect(names(store)).toEqual(["b"]);
  });

  test("keeps what it knew until each of the new ones has listed, and hears the old ones no more", async () => {
    const { store, sinks, all, clock } = union();
    for (const sink of sinks) sink.reset([service("a", 1), service("b", 1)], "1");
    const [first, second, third] = all.begin(3);
    expect(all.listed).toBe(false);
    sinks[0]!.delete(service("a", 2));
    first!.reset([service("c", 3)], "3");
    second!.reset([], "3");
    second!.delete(service("b", 4));
    await clock.advance(SETTLED_MS);
    expect(names(store)).toEqual(["a", "b", "c"]);
    third!.reset([service("b", 1)], "3");
    expect(names(store)).toEqual(["b", "c"]);
  });

  test("takes no more than the store has room for, whatever the parts", () => {
    const store = new Store<Service>({ capacity: 2 });
    const sinks = new Union(store, new FakeClock()).begin(2);
    sinks[0]!.reset([service("a", 1), service("b", 1)], "1");
    expect(() => sinks[1]!.reset([service("c", 1)], "1")).toThrow("more than 2 objects");
    expect(names(store)).toEqual(["a", "b"]);
  });
});
