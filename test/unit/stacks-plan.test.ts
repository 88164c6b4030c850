import { describe, expect, test } from "@jest/globals";
import type { Topology } from "../../components/index.ts";
import { planStacks, sourcesOf, targetsOf } from "../../stacks/plan.ts";

const mesh = (topology: Topology, ...clusters: string[]) => ({
  name: "demo",
  topology,
  clusters: clusters.map((name) => ({ name })),
});
const FULL: Topology = { shape: "full-mesh" };

/** A plan as lines: `stack <- what it depends on`. */
const lines = (of: ReturnType<typeof mesh>) =>
  planStacks(of).map(({ name, dependsOn }) => `${name} <- ${dependsOn.join(" ")}`.trimEnd());

describe("the stacks of a mesh", () => {
  test.each<[string, ReturnType<typeof mesh>, string[]]>([
    [
      "with every cluster linked to every other: trust, the clusters, the links",
      mesh(FULL, "east", "west"),
      [
        "demo-trust <-",
        "demo-cluster-east <- demo-trust",
        "demo-cluster-west <- demo-trust",
        "demo-links-east <- demo-cluster-east demo-cluster-west",
        "demo-links-west <- demo-cluster-west demo-cluster-east",
      ],
    ],
    [
      "with one link: none for a cluster that is the source of none",
      mesh({ shape: "links", links: [{ source: "east", target: "west" }] }, "east", "west"),
      [
        "demo-trust <-",
        "demo-cluster-east <- demo-trust",
        "demo-cluster-west <- demo-trust",
        "demo-links-east <- demo-cluster-east demo-cluster-west",
      ],
    ],
    [
      "of one cluster: no links at all",
      mesh(FULL, "east"),
      ["demo-trust <-", "demo-cluster-east <- demo-trust"],
    ],
    [
      "around a hub: spokes depend on the hub, not on each other",
      mesh({ shape: "hub", hub: "hub" }, "hub", "a", "b"),
      [
        "demo-trust <-",
        "demo-cluster-hub <- demo-trust",
        "demo-cluster-a <- demo-trust",
        "demo-cluster-b <- demo-trust",
        "demo-links-hub <- demo-cluster-hub demo-cluster-a demo-cluster-b",
        "demo-links-a <- demo-cluster-a demo-cluster-hub",
        "demo-links-b <- demo-cluster-b demo-cluster-hub",
      ],
    ],
  ])("%s", (_, of, expected) => {
    expect(lines(of)).toEqual(expected);
  });

  test("come after all that they depend on, however many there are", () => {
    const names = Array.from({ length: 12 }, (_, index) => `c${index}`);
    const stacks = planStacks(mesh(FULL, ...names));
    const place = new Map(stacks.map(({ name }, index) => [name, index]));
    for (const { name, dependsOn } of stacks) {
      for (const needed of dependsOn) expect(place.get(needed)).toBeLessThan(place.get(name)!);
    }
    expect(stacks).toHaveLength(1 + 12 + 12);
  });

  test("say whom a cluster lets in and whom it calls", () => {
    const of = mesh(
      {
        shape: "links",
        links: [
          { source: "a", target: "c" },
          { source: "b", target: "c" },
        ],
      },
      "a",
      "b",
      "c",
    );
    expect(sourcesOf(of, "c")).toEqual(["a", "b"]);
    expect(targetsOf(of, "c")).toEqual([]);
    expect(targetsOf(of, "a")).toEqual(["c"]);
  });
});
