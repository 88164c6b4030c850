import { describe, expect, test } from "@jest/globals";
import * as pulumi from "@pulumi/pulumi";
import { across, present } from "../../stacks/across.ts";
import { withPlanned } from "../../stacks/engines/handing.ts";
import { type RunOptions, runProgram } from "../support/pulumi.ts";

interface Outputs {
  gateway: string;
  remoteAccess: Record<string, string>;
}

const NAME = "organization/isthmus/demo-cluster-west";
const outputs = (options: RunOptions) =>
  runProgram(async () => {
    const there = await across<Outputs>("demo-cluster-west");
    return { gateway: there.get("gateway") };
  }, options);

describe("an output of another stack", () => {
  test("is what that stack has, in an up and in a preview", async () => {
    for (const preview of [true, false]) {
      const run = await outputs({ preview, stacks: { [NAME]: { gateway: "here" } } });
      expect(run.outputs.gateway).toEqual({ known: true, secret: false, value: "here" });
      expect(run.read).toEqual([NAME]);
    }
  });

  test("is unknown in a preview where there is no such stack, or no such output yet", async () => {
    for (const stacks of [{}, { [NAME]: {} }]) {
      const run = await outputs({ preview: true, stacks });
      expect(run.outputs.gateway).toMatchObject({ known: false });
    }
  });

  test("is in an up an error where it is not there yet, which says what to bring up first", async () => {
    await expect(outputs({ stacks: { [NAME]: {} } })).rejects.toThrow(
      "the stack demo-cluster-west has no output gateway yet: bring it up first, by `isthmus up` or `pulumi up -s demo-cluster-west`",
    );
  });

  test("is what the runner plans for it, whatever that stack has now", async () => {
    const planned = new Map([["demo-cluster-west", { gateway: "planned" }]]);
    await withPlanned(planned, async (variables) => {
      Object.assign(process.env, variables);
      try {
        const run = await outputs({ preview: true, stacks: { [NAME]: { gateway: "now" } } });
        expect(run.outputs.gateway).toMatchObject({ known: true, value: "planned" });
        expect(run.read).toEqual([]);
      } finally {
        for (const name of Object.keys(variables)) delete process.env[name];
      }
    });
  });
});

test("a part of an output is held to the same rules", async () => {
  const part = (preview: boolean) =>
    runProgram(
      () => ({
        account: present(
          pulumi.output({} as Record<string, string>).apply((all) => all.east),
          "demo-cluster-west",
          "remote access for the cluster east",
        ),
      }),
      { preview },
    );
  expect((await part(true)).outputs.account).toMatchObject({ known: false });
  await expect(part(false)).rejects.toThrow(
    "the stack demo-cluster-west has no remote access for the cluster east yet",
  );
});
