import { describe, expect, test } from "@jest/globals";
import { describeError, exitCodeOf } from "../../cli/errors.ts";
import { UsageError } from "../../cli/exit.ts";
import { toJson } from "../../cli/render/json.ts";
import { toMarkdown } from "../../cli/render/markdown.ts";
import { Progress } from "../../cli/render/progress.ts";
import { styleFor } from "../../cli/render/style.ts";
import { dangersInWords, summary } from "../../cli/render/summary.ts";
import { countsInWords, duration, pathsInWords, resourceName } from "../../cli/render/words.ts";
import {
  dangersOf,
  MeshError,
  type MeshEvent,
  type MeshResult,
  PreflightError,
  type Step,
} from "../../stacks/automation.ts";

const plain = styleFor({ isTTY: false }, {});
const counts = (more: object) => ({ create: 0, update: 0, replace: 0, delete: 0, same: 0, read: 0, ...more });
const step = (
  op: "create" | "update" | "delete" | "same",
  type: string,
  name: string,
  diff: string[] = [],
) => ({
  op,
  type,
  name,
  diff,
  urn: `urn:pulumi:demo-links-east::isthmus::${type}::${name}`,
  counted: true,
});
const deployment = step("update", "kubernetes:apps/v1:Deployment", "mirror", [
  "spec.replicas",
  "spec.template",
]);
const link = step("delete", "kubernetes:isthmus.dev/v1alpha1:Link", "west");

const result: MeshResult = {
  mesh: "demo",
  engine: "embedded",
  ok: false,
  changes: counts({ update: 1, delete: 1, same: 40 }),
  stacks: [
    {
      stack: "demo-cluster-east",
      kind: "cluster",
      cluster: "east",
      operation: "up",
      status: "done",
      seconds: 12.345,
      result: {
        stack: "demo-cluster-east",
        changes: counts({ update: 1, same: 40 }),
        resources: [deployment],
        outputs: { key: "never shown" },
      },
    },
    {
      stack: "demo-links-east",
      kind: "links",
      cluster: "east",
      operation: "destroy",
      status: "failed",
      message: "Link isthmus/west in cluster east: not ready after 600 s | really",
      urn: link.urn,
      seconds: 601,
      result: { stack: "demo-links-east", changes: counts({ delete: 1 }), resources: [link], outputs: {} },
    },
    {
      stack: "demo-trust",
      kind: "trust",
      operation: "destroy",
      status: "skipped",
      message: "demo-links-east comes first, and did not end well",
      seconds: 0,
    },
  ],
};

describe("words", () => {
  test.each([
    [counts({ create: 3, update: 1, same: 20 }), true, "3 to create, 1 to update, 20 unchanged"],
    [counts({ create: 3, delete: 2 }), false, "3 created, 2 deleted"],
    [counts({ same: 20 }), true, "no changes, 20 unchanged"],
    [counts({}), true, "nothing to do"],
  ])("for the counts %j", (changes, planned, text) => expect(countsInWords(changes, planned)).toBe(text));

  test("for durations, resources and paths", () => {
    expect([duration(0.04), duration(59.94), duration(61.2)]).toEqual(["0.0 s", "59.9 s", "1 min 1 s"]);
    expect(resourceName(deployment)).toBe("Deployment mirror");
    expect(pathsInWords(["a", "b", "c"], 2)).toBe("a, b and 1 more");
  });
});

describe("colors", () => {
  test.each([
    ["on a terminal", { isTTY: true }, {}, true],
    ["not in a pipe", { isTTY: false }, {}, false],
    ["not against NO_COLOR", { isTTY: true }, { NO_COLOR: "1" }, false],
    ["not on a dumb terminal", { isTTY: true }, { TERM: "dumb" }, false],
    ["in a pipe where they are forced", { isTTY: false }, { FORCE_COLOR: "1" }, true],
  ])("are shown %s", (_, stream, environment, colored) => {
    expect(styleFor(stream, environment).bad("x") !== "x").toBe(colored);
  });
});

describe("progress", () => {
  const shown = (events: MeshEvent[], planned = false, verbose = false) => {
    const written: string[] = [];
    const progress = new Progress({ style: plain, write: (line) => written.push(line), planned, verbose });
    const steps: Step[] = [{ stack: "demo-links-east", kind: "links", operation: "up", after: [] }];
    for (const event of [{ event: "plan", engine: "embedded engine", steps } as const, ...events]) {
      progress.handle(event);
    }
    return written;
  };
  const stack = "demo-links-east";

  test("is a line for each change and for each stack, not for what stays or is no object", () => {
    expect(
      shown([
        { event: "stack-started", stack },
        { event: "started", stack, ...deployment },
        { event: "done", stack, ...deployment },
        { event: "done", stack, ...step("same", "kubernetes:core/v1:Secret", "s") },
        { event: "done", stack, ...step("create", "x:index:Component", "c"), counted: false },
        { event: "log", stack, severity: "warning", message: "deprecated\nreally\n" },
        { event: "log", stack, severity: "error", message: "told in the end" },
        { event: "stack-ended", stack, outcome: result.stacks[0]! },
      ]),
    ).toEqual([
      "embedded engine",
      "demo-links-east  ~ Deployment mirror  spec.replicas, spec.template",
      "demo-links-east  warning: deprecated",
      "demo-links-east  warning: really",
      "demo-links-east  up: 1 updated, 40 unchanged (12.3 s)",
    ]);
  });

  test("says what takes long, again and again until it is done", () => {
    const written: string[] = [];
    let now = 0;
    const write = (line: string) => written.push(line);
    const progress = new Progress({ style: plain, write, planned: false, verbose: false, now: () => now });
    const at = (seconds: number) => {
      now = seconds * 1000;
      progress.tick();
    };
    progress.handle({ event: "started", stack, ...deployment });
    for (const seconds of [1, 14, 15, 16, 31]) at(seconds);
    progress.handle({ event: "done", stack, ...deployment });
    at(60);
    expect(written).toEqual([
      "demo-links-east  … update Deployment mirror (15.0 s)",
      "demo-links-east  … update Deployment mirror (31.0 s)",
      "demo-links-east  ~ Deployment mirror  spec.replicas, spec.template",
    ]);
  });

  test("shows everything when it is asked for", () => {
    const lines = shown(
      [
        { event: "stack-started", stack },
        { event: "started", stack, ...deployment },
        { event: "log", stack, severity: "error", message: "with its trace" },
      ],
      false,
      true,
    );
    expect(lines.slice(1)).toEqual([
      "demo-links-east  begins",
      "demo-links-east  … update Deployment mirror",
      "demo-links-east  with its trace",
    ]);
  });

  test("of a preview speaks of what would be, and of stacks that would go", () => {
    expect(
      shown(
        [
          { event: "planned", stack, ...link },
          { event: "stack-ended", stack, outcome: { ...result.stacks[1]!, status: "done" } },
          { event: "stack-ended", stack: "demo-trust", outcome: result.stacks[2]! },
        ],
        true,
      ).slice(1),
    ).toEqual([
      "demo-links-east  - Link west",
      "demo-links-east  to be removed: 1 to delete (10 min 1 s)",
      "demo-trust       skipped: demo-links-east comes first, and did not end well",
    ]);
  });
});

describe("the summary", () => {
  test("tells each failure once, with its resource, what was skipped, and how to go on", () => {
    expect(summary(result, false, 613, plain).split("\n")).toEqual([
      "",
      "Error: demo-links-east: Link isthmus/west in cluster east: not ready after 600 s | really",
      `  ${link.urn}`,
      "",
      "Skipped: demo-trust",
      "What was done is kept. Mend what failed and run the same command again: it goes on from there.",
      "",
      "Not done: 1 updated, 1 deleted, 40 unchanged (10 min 13 s)",
    ]);
  });

  test("of a run without changes says so", () => {
    const quiet = { ...result, ok: true, stacks: [], changes: counts({ same: 86 }) };
    expect(summary(quiet, true, 7.1, plain).trim()).toBe("Preview: nothing to change, 86 unchanged (7.1 s)");
  });

  test("of dangers has a line for each", () => {
    expect(dangersInWords(dangersOf(result), plain)).toBe("Danger: link west of demo-links-east is removed");
  });
});

describe("for machines", () => {
  test("JSON has counts and paths under stable names, and no outputs", () => {
    const json = JSON.parse(toJson(result, dangersOf(result)));
    expect(Object.keys(json)).toEqual(["mesh", "engine", "ok", "changes", "dangers", "stacks"]);
    expect(json.stacks[0]).toEqual({
      stack: "demo-cluster-east",
      kind: "cluster",
      cluster: "east",
      operation: "up",
      status: "done",
      seconds: 12.3,
      changes: counts({ update: 1, same: 40 }),
      resources: [
        {
          op: "update",
          type: "kubernetes:apps/v1:Deployment",
          name: "mirror",
          urn: deployment.urn,
          diff: ["spec.replicas", "spec.template"],
        },
      ],
    });
    expect(JSON.stringify(json)).not.toContain("never shown");
  });

  test("Markdown has the dangers first, a row a stack, and the changes folded away", () => {
    const lines = toMarkdown(result, dangersOf(result)).split("\n");
    expect(lines.slice(0, 4)).toEqual([
      "### Isthmus preview: demo",
      "",
      "> [!CAUTION]",
      "> link west of demo-links-east is removed",
    ]);
    expect(lines).toContain("| `demo-cluster-east` |  | 1 |  |  | 40 |");
    expect(lines).toContain(
      "| `demo-links-east` (to be removed) | failed: Link isthmus/west in cluster east: not ready after 600 s \\| really | | | | |",
    );
    expect(lines).toContain(
      "- `demo-cluster-east` **update** Deployment mirror: spec.replicas, spec.template",
    );
    expect(lines).toContain("**The preview failed.**");
  });
});

describe("errors", () => {
  const mesh = new MeshError([{ file: "mesh.yaml", line: 3, key: "clusters", message: "is empty" }]);

  test.each<[Error, number, string]>([
    [mesh, 2, "Error: the declaration is not valid\nmesh.yaml:3: clusters is empty"],
    [
      new PreflightError(["cluster east: no answer"]),
      1,
      "Error: nothing was changed, as not every cluster is ready\ncluster east: no answer",
    ],
    [new UsageError("say --yes"), 2, "Error: say --yes"],
    [new Error("locked"), 1, "Error: locked"],
  ])("%s has its exit code and one block", (error, code, text) => {
    expect([exitCodeOf(error), describeError(error, plain, false)]).toEqual([code, text]);
  });

  test("say where in the code they happened only when asked", () => {
    const error = new Error("locked");
    expect(describeError(error, plain, true)).toContain("cli-render.test.ts");
  });
});
