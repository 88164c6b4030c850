import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { runCommandLine } from "../../cli/program.ts";
import { styleFor } from "../../cli/render/style.ts";

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "isthmus-cli-"));
});

afterEach(() => rm(folder, { recursive: true, force: true }));

async function run(args: string[], answer?: string) {
  const out: string[] = [];
  const err: string[] = [];
  const asked: string[] = [];
  const code = await runCommandLine(args, {
    out: (line) => void out.push(line),
    err: (line) => void err.push(line),
    style: styleFor({}, {}),
    ask:
      answer === undefined
        ? undefined
        : async (question) => {
            asked.push(question);
            return answer;
          },
    signal: new AbortController().signal,
  });
  return { code, out: out.join("\n"), err: err.join("\n"), asked };
}

const MESH = `name: demo
trustDomain: demo.mesh
kubeconfig: kubeconfig
clusters:
  - name: east
  - name: west
`;

async function write(mesh = MESH): Promise<string> {
  const file = join(folder, "mesh.yaml");
  await writeFile(file, mesh);
  return file;
}

describe("the command line", () => {
  test("names its commands and its version", async () => {
    const help = await run(["--help"]);
    expect(help.code).toBe(0);
    for (const name of ["up", "preview", "destroy", "export", "unexport", "rotate", "check"]) {
      expect(help.out).toMatch(new RegExp(`^  ${name} `, "m"));
    }
    const { version } = JSON.parse(await readFile(join(import.meta.dirname, "../../package.json"), "utf8"));
    expect(await run(["--version"])).toMatchObject({ code: 0, out: version });
  });

  test.each(["up", "preview", "destroy", "export", "unexport", "rotate", "rotate credentials", "check"])(
    "shows examples of %s",
    async (name) => {
      const help = await run([...name.split(" "), "--help"]);
      expect(help.code).toBe(0);
      expect(help.out).toMatch(new RegExp(`\\$ isthmus ${name}`));
    },
  );

  test.each([
    ["an unknown command", ["uq"], /unknown command 'uq'/],
    ["an unknown option", ["up", "--fast"], /unknown option '--fast'/],
    [
      "an unknown option of a command's command",
      ["rotate", "credentials", "--fast"],
      /unknown option '--fast'/,
    ],
    ["a missing option", ["export", "svc"], /required option '--cluster <name>' not specified/],
    ["a number that is none", ["up", "--parallel", "none"], /a whole number from 1 on/],
    [
      "an empty name",
      ["export", "svc", "--cluster", "east", "--allowed-clusters", "a,,b"],
      /separated by commas/,
    ],
    ["an engine that there is not", ["preview", "--engine", "cdk"], /Allowed choices are pulumi, embedded/],
    ["two forms of the result", ["preview", "--json", "--markdown"], /exclude each other/],
    ["up with nobody to ask", ["up"], /no terminal to ask on: say --yes/],
    ["destroy with nobody to ask", ["destroy"], /no terminal to ask on: say --yes/],
  ])("refuses %s with exit code 2", async (_, args, message) => {
    const { code, out, err } = await run(args);
    expect([code, out]).toEqual([2, ""]);
    expect(err).toMatch(message);
  });

  test("refuses to ask about what was not looked at", async () => {
    expect(await run(["up", "--skip-preview"], "y")).toMatchObject({ code: 2, asked: [] });
  });
});

describe("a declaration", () => {
  test("that is valid is checked without any cluster", async () => {
    const file = await write();
    expect(await run(["check", "--offline", "--file", file])).toMatchObject({
      code: 0,
      out: `ok  ${file}: mesh demo, 2 clusters, 5 stacks`,
    });
  });

  test.each([
    [["--target", "mars"], /"mars" is no cluster of this mesh; the clusters are east, west/],
    [["--source", "east", "--target", "east"], /the mesh has no link from east to east/],
  ])("without the link that is meant ends `rotate credentials` with exit code 2", async (ends, message) => {
    const { code, err } = await run(["rotate", "credentials", "--file", await write(), ...ends]);
    expect(code).toBe(2);
    expect(err).toMatch(message);
  });

  test.each([
    ...["check", "preview", "up --yes", "destroy --yes", "export svc --cluster east"],
    "rotate credentials",
  ])("that is not there ends `%s` with exit code 2", async (command) => {
    const { code, err } = await run([...command.split(" "), "--file", join(folder, "none.yaml")]);
    expect(code).toBe(2);
    expect(err).toMatch(/the declaration is not valid\n.*none.yaml:1: there is no such file/);
  });

  test("that names no context of the kubeconfig ends with exit code 1, before anything is done", async () => {
    const file = await write();
    await writeFile(
      join(folder, "kubeconfig"),
      "apiVersion: v1\nkind: Config\nclusters: []\nusers: []\ncontexts: []\n",
    );
    const { code, err } = await run(["up", "--yes", "--file", file]);
    expect(code).toBe(1);
    expect(err).toMatch(
      /nothing was changed, as not every cluster is ready\ncluster east: .*\ncluster west: /,
    );
  });

  test("is left alone by an export that it does not allow", async () => {
    const file = await write();
    const { code, err } = await run(["export", "svc", "--cluster", "south", "--file", file]);
    expect(code).toBe(2);
    expect(err).toMatch(/is "south", which is no cluster of this mesh; the clusters are east, west/);
    expect(await readFile(file, "utf8")).toBe(MESH);
  });
});

describe("destroying", () => {
  test("a mesh that is not up ends well, and asks nothing", async () => {
    const file = await write();
    const args = ["destroy", "--engine", "embedded", "--file", file];
    expect(await run(args, "y")).toMatchObject({ code: 0, asked: [] });
    expect((await run([...args, "--yes"])).out).toMatch(/There is nothing to destroy/);
  });
});
