import { describe, expect, test } from "@jest/globals";
import { emptyCounts, type ResourceStep } from "../../stacks/engines/engine.ts";
import { Limit } from "../../stacks/engines/limit.ts";
import { resultOf } from "../../stacks/engines/result.ts";
import type { Plannable } from "../../stacks/plan.ts";
import { dangersOf } from "../../stacks/runner/dangers.ts";
import { type MeshResult, meshResult } from "../../stacks/runner/result.ts";
import { inOrder } from "../../stacks/runner/schedule.ts";
import { destroySteps, only, upSteps } from "../../stacks/runner/steps.ts";

const mesh = (...clusters: string[]): Plannable => ({
  name: "demo",
  topology: { shape: "full-mesh" },
  clusters: clusters.map((name) => ({ name })),
});

/** \`up demo-trust <- what it comes after\` */
const lines = (steps: ReturnType<typeof upSteps>) =>
  steps.map(({ operation, stack, after }) => `${operation} ${stack} <- ${after.join(" ")}`.trimEnd());

describe("the steps of an up", () => {
  test("bring up every stack of the plan, after those that it depends on", () => {
    expect(lines(upSteps(mesh("east", "west"), []))).toEqual([
      "up demo-trust <-",
      "up demo-cluster-east <- demo-trust",
      "up demo-cluster-west <- demo-trust",
      "up demo-links-east <- demo-cluster-east demo-cluster-west",
      "up demo-links-west <- demo-cluster-west demo-cluster-east",
    ]);
  });

  test("remove a cluster that is not declared any more, after every link to it and its own", () => {
    const existing = upSteps(mesh("east", "west", "north"), []).map(({ stack }) => stack);
    expect(lines(upSteps(mesh("east", "west"), existing)).slice(5)).toEqual([
      "destroy demo-cluster-north <- demo-links-east demo-links-west demo-links-north",
      "destroy demo-links-north <-",
    ]);
  });

  test("do not touch stacks that may be another mesh's", () => {
    const others = [
      "demo-links-trust",
      "demo-links-cluster-a",
      "prod-trust",
      "demo",
      "demo-else",
      "demos-trust",
    ];
    expect(upSteps(mesh("east"), others).map(({ stack }) => stack)).toEqual([
      "demo-trust",
      "demo-cluster-east",
    ]);
  });
});

describe("the steps of a destroy", () => {
  test("are those of all existing stacks: links, then clusters, then trust", () => {
    const existing = [
      "demo-links-west",
      "demo-trust",
      "demo-cluster-east",
      "demo-cluster-west",
      "demo-cluster-gone",
    ];
    expect(lines(destroySteps(mesh("east", "west"), existing))).toEqual([
      "destroy demo-links-west <-",
      "destroy demo-cluster-east <- demo-links-west",
      "destroy demo-cluster-west <- demo-links-west",
      "destroy demo-cluster-gone <- demo-links-west",
      "destroy demo-trust <- demo-cluster-east demo-cluster-west demo-cluster-gone",
    ]);
  });
});

test("some of the steps are chosen by name, and a name that there is not is an error that says which there are", () => {
  const steps = upSteps(mesh("east"), []);
  expect(lines(only(steps, ["demo-cluster-east"]))).toEqual(["up demo-cluster-east <-"]);
  expect(() => only(steps, ["demo-cluster-south"])).toThrow(
    "There is no stack demo-cluster-south; the stacks are demo-trust, demo-cluster-east",
  );
});

describe("running steps in order", () => {
  const steps = [
    { stack: "trust", after: [] },
    { stack: "east", after: ["trust"] },
    { stack: "west", after: ["trust"] },
    { stack: "links", after: ["east", "west", "not-a-step"] },
  ];

  test("begins each after all that it comes after, and what is independent side by side", async () => {
    const log: string[] = [];
    let both: () => void = () => undefined;
    const met = new Promise<void>((resolve) => {
      both = resolve;
    });
    await inOrder(
      steps,
      4,
      async ({ stack }) => {
        log.push(stack);
        if (stack === "west") both();
        // Would never end if west had to wait for east.
        if (stack === "east") await met;
        return true;
      },
      () => undefined,
    );
    expect(log).toEqual(["trust", "east", "west", "links"]);
  });

  test("never works on more at once than it is allowed to", async () => {
    let now = 0;
    let most = 0;
    const many = Array.from({ length: 20 }, (_, index) => ({ stack: String(index), after: [] }));
    await inOrder(
      many,
      3,
      async () => {
        most = Math.max(most, ++now);
        await new Promise((resolve) => setImmediate(resolve));
        now--;
        return true;
      },
      () => undefined,
    );
    expect(most).toBe(3);
  });

  test("skips what comes after a failure, says which, and goes on with the rest", async () => {
    const log: string[] = [];
    await inOrder(
      [...steps, { stack: "last", after: ["links"] }],
      1,
      async ({ stack }) => {
        log.push(stack);
        return stack !== "east";
      },
      ({ stack }, because) => log.push(`${stack} skipped for ${because}`),
    );
    expect(log).toEqual(["trust", "east", "west", "links skipped for east", "last skipped for links"]);
  });

  test("a limit that is no number of pieces of work is refused", () => {
    expect(() => new Limit(0)).toThrow("parallel must be a whole number from 1 on, not 0");
  });
});

describe("the result", () => {
  const step = (op: ResourceStep["op"], name: string, counted = true) => ({
    op,
    name,
    urn: `urn:pulumi:s::p::t:m:T::${name}`,
    type: "t:m:T",
    diff: [],
    counted,
  });

  test("of a stack counts objects, not components and providers, and lists what changed in order", () => {
    const { changes, resources } = resultOf(
      "s",
      [
        { event: "started", stack: "s", ...step("create", "a") },
        { event: "done", stack: "s", ...step("create", "component", false) },
        { event: "done", stack: "s", ...step("update", "b") },
        { event: "done", stack: "s", ...step("create", "a") },
        { event: "done", stack: "s", ...step("same", "c") },
        { event: "failed", stack: "s", message: "no", ...step("create", "d") },
        { event: "log", stack: "s", severity: "info", message: "x" },
      ],
      {},
    );
    expect(changes).toEqual({ ...emptyCounts(), create: 1, update: 1, same: 1 });
    expect(resources.map(({ name }) => name)).toEqual(["b", "a"]);
  });

  test("of a mesh is not ok when one stack was skipped", () => {
    const outcome = { stack: "s", kind: "trust", operation: "up", seconds: 0 } as const;
    expect(meshResult("demo", "embedded", [{ ...outcome, status: "skipped" }]).ok).toBe(false);
    expect(meshResult("demo", "embedded", []).ok).toBe(true);
  });

  const withStep = (kind: "trust" | "links" | "cluster", type: string, op: ResourceStep["op"]): MeshResult =>
    meshResult("demo", "embedded", [
      {
        stack: `demo-${kind}`,
        kind,
        operation: "up",
        status: "done",
        seconds: 0,
        result: { ...resultOf("s", [], {}), resources: [{ ...step(op, "x"), type, diff: ["subject"] }] },
      },
    ]);

  test.each<[string, MeshResult, string[]]>([
    [
      "a replaced trust anchor",
      withStep("trust", "tls:index/selfSignedCert:SelfSignedCert", "replace"),
      ["trust-anchor: trust anchor x is replaced (subject)"],
    ],
    [
      "a removed trust anchor",
      withStep("trust", "tls:index/selfSignedCert:SelfSignedCert", "delete"),
      ["trust-anchor: trust anchor x is removed"],
    ],
    [
      "a removed link",
      withStep("links", "kubernetes:isthmus.dev/v1alpha1:Link", "delete"),
      ["link: link x of demo-links is removed"],
    ],
    ["an updated link", withStep("links", "kubernetes:isthmus.dev/v1alpha1:Link", "update"), []],
    ["a reissued issuer", withStep("trust", "tls:index/locallySignedCert:LocallySignedCert", "replace"), []],
    ["a new trust anchor", withStep("trust", "tls:index/selfSignedCert:SelfSignedCert", "create"), []],
  ])("tells the dangers of %s", (_, result, expected) => {
    expect(dangersOf(result).map(({ kind, message }) => `${kind}: ${message}`)).toEqual(expected);
  });
});
