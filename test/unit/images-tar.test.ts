import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { writeArchive } from "../../scripts/images/archive.ts";
import { parseLdd } from "../../scripts/images/libraries.ts";
import { type TarEntry, writeTar } from "../../scripts/images/tar.ts";

const run = promisify(execFile);
let folder: string;
let program: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "isthmus-images-"));
  program = join(folder, "program");
  await writeFile(program, Buffer.alloc(100_000, 7));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const entries = (): TarEntry[] => [
  { path: "/usr/bin/program", type: "file", source: program, mode: 0o755 },
  { path: "etc/passwd", type: "text", text: "root:x:0:0::/:\n" },
  { path: "bin/sh", type: "link", target: "/usr/bin/program" },
  { path: "tmp", type: "directory", mode: 0o1777 },
];

describe("a tar of an image's files", () => {
  test("is understood by tar: paths, kinds, modes, and root as the owner of all", async () => {
    const path = join(folder, "a.tar");
    await writeTar(path, entries());
    const { stdout } = await run("tar", ["--list", "--verbose", "--numeric-owner", "--utc", "--file", path]);
    const lines = stdout
      .trim()
      .split("\n")
      .map((line) => line.replace(/\s+/g, " "));
    expect(lines).toEqual([
      "drwxr-xr-x 0/0 0 1970-01-01 00:00 bin/",
      "lrwxrwxrwx 0/0 0 1970-01-01 00:00 bin/sh -> /usr/bin/program",
      "drwxr-xr-x 0/0 0 1970-01-01 00:00 etc/",
      "-rw-r--r-- 0/0 15 1970-01-01 00:00 etc/passwd",
      "drwxrwxrwt 0/0 0 1970-01-01 00:00 tmp/",
      "drwxr-xr-x 0/0 0 1970-01-01 00:00 usr/",
      "drwxr-xr-x 0/0 0 1970-01-01 00:00 usr/bin/",
      "-rwxr-xr-x 0/0 100000 1970-01-01 00:00 usr/bin/program",
    ]);
  });

  test("gives back the bytes that went in", async () => {
    const path = join(folder, "a.tar");
    await writeTar(path, entries());
    await run("tar", ["--extract", "--file", path, "--directory", folder, "usr/bin/program"]);
    expect((await readFile(join(folder, "usr/bin/program"))).equals(await readFile(program))).toBe(true);
  });

  test("has the same bytes for the same files, whatever their order and age, and the digest is theirs", async () => {
    const first = await writeTar(join(folder, "a.tar"), entries());
    await utimes(program, 1, 1);
    const second = await writeTar(join(folder, "b.tar"), entries().reverse());
    expect(second).toBe(first);
    const bytes = await readFile(join(folder, "a.tar"));
    expect(createHash("sha256").update(bytes).digest("hex")).toBe(first);
  });

  test("refuses a path that its headers cannot hold, rather than cut it", async () => {
    const long: TarEntry = { path: "x".repeat(101), type: "text", text: "" };
    await expect(writeTar(join(folder, "a.tar"), [long])).rejects.toThrow("too long");
  });
});

describe("an image's archive", () => {
  const image = () => ({
    reference: "isthmus-test:dev",
    layers: [entries(), [{ path: "app.mjs", type: "text", text: "1\n" } as TarEntry]],
    entrypoint: ["program", "/app.mjs"],
    user: 65532,
    ports: [8888],
  });
  const extract = async (path: string, name: string) =>
    JSON.parse((await run("tar", ["--extract", "--to-stdout", "--file", path, name])).stdout);

  test("names the image, and its layers by the digests in its configuration", async () => {
    const path = join(folder, "image.tar");
    await writeArchive(path, image());
    const [manifest] = await extract(path, "manifest.json");
    const config = await extract(path, manifest.Config);
    expect(manifest.RepoTags).toEqual(["isthmus-test:dev"]);
    expect(manifest.Layers).toEqual(
      config.rootfs.diff_ids.map((id: string) => `${id.replace("sha256:", "")}.tar`),
    );
    expect(config.config).toMatchObject({
      Entrypoint: ["program", "/app.mjs"],
      User: "65532:65532",
      ExposedPorts: { "8888/tcp": {} },
    });
  });

  test("has the same bytes when it is made again", async () => {
    await writeArchive(join(folder, "a.tar"), image());
    await writeArchive(join(folder, "b.tar"), image());
    const [a, b] = await Promise.all(["a.tar", "b.tar"].map((name) => readFile(join(folder, name))));
    expect(a?.equals(b ?? Buffer.alloc(0))).toBe(true);
  });
});

describe("the libraries of a program", () => {
  test("are those that ldd resolves, with the loader, without what the kernel provides", () => {
    const output = `\tlinux-vdso.so.1 (0x00007ffd8a5c9000)
\tlibdl.so.2 => /lib/x86_64-linux-gnu/libdl.so.2 (0x00007f2d0c4f0000)
\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f2d0c30f000)
\t/lib64/ld-linux-x86-64.so.2 (0x00007f2d0c504000)
`;
    expect(parseLdd("program", output)).toEqual([
      "/lib/x86_64-linux-gnu/libdl.so.2",
      "/lib/x86_64-linux-gnu/libc.so.6",
      "/lib64/ld-linux-x86-64.so.2",
    ]);
  });

  test("that are missing are an error that names them", () => {
    expect(() => parseLdd("/usr/bin/x", "\tlibz.so.1 => not found\n")).toThrow(
      "/usr/bin/x needs libz.so.1, which this machine does not have",
    );
  });
});
