import { chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { describe, expect, test } from "@jest/globals";
import type { EngineEvent as PulumiEvent, StepEventMetadata } from "@pulumi/pulumi/automation/index.js";
import { decideEngine } from "../../stacks/engines/choose.ts";
import { findPulumi } from "../../stacks/engines/pulumi/command.ts";
import { plannedOutputsOf, toEvent, toStep } from "../../stacks/engines/pulumi/events.ts";
import { secret, UNKNOWN } from "../../stacks/engines/wire.ts";

describe("which engine", () => {
  const cli = "/usr/bin/pulumi";
  const state = ".isthmus/state/demo.json";

  test.each<[string, Parameters<typeof decideEngine>, object]>([
    ["Pulumi where its CLI is", [undefined, cli, undefined], { engine: "pulumi", why: "" }],
    [
      "the embedded one where there is no CLI, and says so",
      [undefined, undefined, undefined],
      { engine: "embedded", why: "there is no Pulumi CLI on the PATH" },
    ],
    ["the one that is asked for", ["embedded", cli, undefined], { engine: "embedded", why: "" }],
    [
      "the one that brought the mesh up, even if a CLI has come since",
      [undefined, cli, state],
      { engine: "embedded", why: "it brought this mesh up" },
    ],
  ])("%s", (_, args, expected) => {
    expect(decideEngine(...args)).toEqual(expected);
  });

  test.each<[string, Parameters<typeof decideEngine>, RegExp]>([
    [
      "of an unknown name",
      ["cdk", cli, undefined],
      /There is no engine "cdk": it is one of pulumi, embedded/,
    ],
    ["Pulumi without its CLI", ["pulumi", undefined, undefined], /there is no `pulumi` on the PATH/],
    [
      "Pulumi over a mesh of the embedded one",
      ["pulumi", cli, state],
      /brought up by the embedded engine .*docs\/engines.md/,
    ],
  ])("is refused: %s", (_, args, message) => {
    expect(() => decideEngine(...args)).toThrow(message);
  });

  test("finds the CLI as a shell would: the first executable on the PATH", async () => {
    const folder = await mkdtemp(join(tmpdir(), "isthmus-path-"));
    try {
      for (const name of ["none", "plain", "good"]) await mkdir(join(folder, name));
      await writeFile(join(folder, "plain", "pulumi"), "");
      await chmod(join(folder, "plain", "pulumi"), 0o644);
      await writeFile(join(folder, "good", "pulumi"), "");
      await chmod(join(folder, "good", "pulumi"), 0o755);
      const path = (...names: string[]) => names.map((name) => join(folder, name)).join(delimiter);
      // An administrator may execute whatever is executable for anybody: only the mode counts.
      expect(await findPulumi(path("none", "plain", "good"))).toBe(join(folder, "good", "pulumi"));
      expect(await findPulumi(path("none", "plain"))).toBeUndefined();
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});

describe("events of Pulumi's engine", () => {
  const metadata = (op: string, more: object = {}): StepEventMetadata =>
    ({
      op,
      urn: "urn:pulumi:s::p::kubernetes:core/v1:Secret::name",
      type: "kubernetes:core/v1:Secret",
      new: { custom: true },
      ...more,
    }) as StepEventMetadata;
  const event = (more: object) => ({ sequence: 1, timestamp: 1, ...more }) as PulumiEvent;

  test.each([
    ["create", "create"],
    ["import", "create"],
    ["update", "update"],
    ["replace", "replace"],
    ["delete", "delete"],
    ["same", "same"],
    ["read", "read"],
    ["create-replacement", undefined],
    ["delete-replaced", undefined],
    ["refresh", undefined],
  ])("of the step %s count as %s", (op, expected) => {
    expect(toStep(metadata(op))?.op).toBe(expected);
  });

  test("tell the paths that differ, in detail where there is detail", () => {
    const detailed = metadata("update", { detailedDiff: { "data.a": {}, "data.b": {} }, diffs: ["data"] });
    expect(toStep(detailed)?.diff).toEqual(["data.a", "data.b"]);
    expect(toStep(metadata("update", { diffs: ["data"] }))?.diff).toEqual(["data"]);
    expect(toStep(metadata("create", { diffs: ["data"] }))?.diff).toEqual([]);
  });

  test("of components, providers and stack references are not counted", () => {
    const counted = (more: object) => toStep(metadata("create", more))?.counted;
    expect(counted({})).toBe(true);
    expect(counted({ new: { custom: false } })).toBe(false);
    expect(counted({ type: "pulumi:providers:kubernetes" })).toBe(false);
    expect(toStep(metadata("delete", { new: undefined, old: { custom: true } }))?.counted).toBe(true);
  });

  test("before a resource is a plan in a preview, and a beginning in an up", () => {
    const before = event({ resourcePreEvent: { metadata: metadata("create") } });
    const after = event({ resOutputsEvent: { metadata: metadata("create") } });
    expect([toEvent("s", before, true)?.event, toEvent("s", after, true)]).toEqual(["planned", undefined]);
    expect([toEvent("s", before, false)?.event, toEvent("s", after, false)?.event]).toEqual([
      "started",
      "done",
    ]);
  });

  test("that say something lose their colors; passing ones are left out", () => {
    const said = (more: object) =>
      toEvent(
        "s",
        event({ diagnosticEvent: { message: "<{%fg 1%}>bad<{%reset%}>\n", severity: "error", ...more } }),
        false,
      );
    expect(said({})).toEqual({ event: "log", stack: "s", severity: "error", message: "bad" });
    expect(said({ ephemeral: true })).toBeUndefined();
    expect(said({ severity: "debug" })).toBeUndefined();
  });

  test("of the stack itself tell its planned outputs; what Pulumi hides is unknown, and secret", () => {
    const outputs = { bundle: "pem", issuers: "[secret]", gateway: { addresses: [UNKNOWN] } };
    const stack = event({
      resOutputsEvent: { metadata: metadata("create", { type: "pulumi:pulumi:Stack", new: { outputs } }) },
    });
    expect(plannedOutputsOf(stack)).toEqual({
      bundle: "pem",
      issuers: secret(UNKNOWN),
      gateway: { addresses: [UNKNOWN] },
    });
    expect(plannedOutputsOf(event({ resOutputsEvent: { metadata: metadata("create") } }))).toBeUndefined();
  });
});
