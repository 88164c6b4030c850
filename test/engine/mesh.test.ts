import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, jest, test } from "@jest/globals";
import { $, type ProcessOutput } from "zx";
import { TestMesh } from "../support/mesh.ts";

// The first run downloads Pulumi's plugins.
jest.setTimeout(900_000);

const root = join(import.meta.dirname, "../..");
const STACKS = ["test-trust", "test-cluster-east", "test-cluster-west", "test-links-east", "test-links-west"];

/** The same stacks under Pulumi's own engine, with a file backend and a home of the test's own. */
describe("a mesh under the Pulumi CLI", () => {
  let folder: string;
  let mesh: TestMesh;
  const before = { ...process.env };

  const pulumi = (...args: string[]): Promise<ProcessOutput> =>
    $({ cwd: root, nothrow: true, quiet: true })`pulumi ${args} --non-interactive`;
  const isthmus = (...args: string[]) => mesh.isthmus(...args, "--engine", "pulumi");
  /** What it said, where it did not end as it should have. */
  const said = (run: ProcessOutput) =>
    run.exitCode === 0 ? "" : `${run.exitCode}: ${run.stdout}${run.stderr}`;
  const summary = async (...args: string[]) =>
    JSON.parse((await isthmus("preview", "--json", ...args)).stdout);

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "isthmus-pulumi-"));
    await mkdir(join(folder, "backend"));
    Object.assign(process.env, {
      PULUMI_HOME: join(folder, "home"),
      PULUMI_BACKEND_URL: `file://${join(folder, "backend")}`,
      PULUMI_CONFIG_PASSPHRASE: "open sesame",
      PULUMI_SKIP_UPDATE_CHECK: "true",
    });
    mesh = await TestMesh.at(folder);
    await mesh.declare();
  });

  afterAll(async () => {
    await isthmus("destroy", "--yes");
    process.env = before;
    await rm(folder, { recursive: true, force: true });
  });

  test("is previewed as a whole before any of its stacks exist, and leaves none behind", async () => {
    const preview = await summary();
    expect(preview).toMatchObject({ ok: true, engine: "pulumi" });
    expect(preview.stacks.map(({ stack }: { stack: string }) => stack)).toEqual(STACKS);
    expect(preview.changes.create).toBeGreaterThan(50);
    expect(JSON.parse((await pulumi("stack", "ls", "--json")).stdout)).toEqual([]);
  });

  test("comes up", async () => {
    expect(said(await isthmus("up", "--yes", "--skip-preview"))).toBe("");
    expect(await mesh.kubectl("east", "get", "link", "west", "-n", "isthmus", "-o", "name")).toContain(
      "west",
    );
  });

  test("changes nothing by a second up, and says so in a preview", async () => {
    const up = JSON.parse((await isthmus("up", "--yes", "--skip-preview", "--json")).stdout);
    expect(up.ok).toBe(true);
    expect(up.changes).toMatchObject({ create: 0, update: 0, replace: 0, delete: 0 });
    expect(said(await isthmus("preview", "--expect-no-changes"))).toBe("");
  });

  test("can be used by `pulumi` alone, and selects no stack for it", async () => {
    expect(said(await pulumi("preview", "--stack", "test-cluster-east", "--expect-no-changes"))).toBe("");
    expect((await pulumi("stack", "--show-name")).exitCode).not.toBe(0);
  });

  test("keeps the keys of its trust anchor out of what it shows and stores", async () => {
    const shown = await pulumi("stack", "output", "issuers", "--stack", "test-trust");
    expect(shown.stdout.trim()).toBe("[secret]");
    const exported = await pulumi("stack", "export", "--stack", "test-trust");
    expect(exported.stdout).not.toContain("PRIVATE KEY");
  });

  test("shows just what the declaration was changed by, across stacks", async () => {
    await mesh.declare({ topology: { links: [{ source: "east", target: "west" }] } });
    const preview = await isthmus("preview", "--json");
    await mesh.declare();
    expect(preview.exitCode).toBe(1);
    const { dangers, stacks } = JSON.parse(preview.stdout);
    expect(dangers).toMatchObject([{ kind: "link", stack: "test-links-west" }]);
    const changed = stacks.filter(({ resources }: { resources: object[] }) => resources.length > 0);
    expect(changed.map(({ stack }: { stack: string }) => stack)).toEqual([
      "test-cluster-east",
      "test-links-west",
    ]);
  });

  test("is destroyed, stacks and all", async () => {
    expect(said(await isthmus("destroy", "--yes"))).toBe("");
    expect(JSON.parse((await pulumi("stack", "ls", "--json")).stdout)).toEqual([]);
    expect((await mesh.tryKubectl("east", "get", "namespace", "isthmus")).exitCode).not.toBe(0);
  });
});
