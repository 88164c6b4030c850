import { describe, expect, test } from "@jest/globals";
import { deletionOrder, goesWith, inDeletionOrder, refusal } from "../../stacks/engines/embedded/prune.ts";
import type { ResourceState } from "../../stacks/engines/embedded/state/state.ts";

const state = (urn: string, more: Partial<ResourceState> = {}): ResourceState => ({
  urn,
  type: "kubernetes:core/v1:ConfigMap",
  custom: true,
  id: urn,
  parent: "",
  inputs: {},
  outputs: {},
  dependencies: [],
  provider: "",
  ...more,
});

describe("the order of deletions", () => {
  const namespace = state("namespace");
  const service = state("service", { dependencies: ["namespace"], provider: "provider::id" });
  const patch = state("patch", { dependencies: ["service", "not-deleted"], parent: "component" });
  const component = state("component", { custom: false });
  const provider = state("provider", { type: "pulumi:providers:kubernetes" });
  const all = [provider, component, namespace, service, patch];

  test("lets whatever depends on a resource go before it: dependents, children, users of a provider", () => {
    const order = deletionOrder(all);
    expect(order.get(namespace)).toEqual([service]);
    expect(order.get(service)).toEqual([patch]);
    expect(order.get(component)).toEqual([patch]);
    expect(order.get(provider)).toEqual([service]);
    expect(order.get(patch)).toEqual([]);
  });

  test("is kept, and what is independent goes side by side", async () => {
    const log: string[] = [];
    let release: () => void = () => undefined;
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const other = state("other");
    const done = inDeletionOrder([...all, other], async ({ urn }) => {
      log.push(urn);
      if (urn === "patch") await held;
      if (urn === "other") release();
    });
    expect(await done).toEqual([]);
    expect(log.indexOf("other")).toBeLessThan(log.indexOf("service"));
    expect(log.indexOf("service")).toBeLessThan(log.indexOf("namespace"));
    expect(log).toHaveLength(6);
  });

  test("leaves alone what a failed deletion still needs, and goes on with the rest", async () => {
    const log: string[] = [];
    const failures = await inDeletionOrder([...all, state("other")], async ({ urn }) => {
      log.push(urn);
      if (urn === "service") throw new Error("refused");
    });
    expect(failures.map(({ state: failed, error }) => [failed.urn, (error as Error).message])).toEqual([
      ["service", "refused"],
    ]);
    expect(log).not.toContain("namespace");
    expect(log).not.toContain("provider");
    expect(log).toContain("other");
    expect(log).toContain("component");
  });
});

describe("what is not deleted", () => {
  test("protected resources: all are named, and what to do", () => {
    expect(refusal([state("a"), state("b", { protect: true }), state("c", { protect: true })])).toMatch(
      /^b, c are protected .* Nothing was deleted\. Take `protect` off/,
    );
    expect(refusal([state("a")])).toBeUndefined();
  });

  test("an object that goes with another that is deleted now, unless that one is retained", () => {
    const child = state("child", { deletedWith: "owner" });
    expect(goesWith(child, [child, state("owner")])).toBe(true);
    expect(goesWith(child, [child, state("owner", { retainOnDelete: true })])).toBe(false);
    expect(goesWith(child, [child])).toBe(false);
  });
});
