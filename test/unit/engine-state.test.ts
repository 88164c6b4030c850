import { spawn } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { passphraseFrom, StateFile } from "../../stacks/engines/embedded/state/file.ts";
import { takeLock } from "../../stacks/engines/embedded/state/lock.ts";
import { emptyMeshState, emptyStackState } from "../../stacks/engines/embedded/state/state.ts";

let folder: string;
let path: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "isthmus-state-"));
  path = join(folder, ".isthmus", "state", "demo.json");
});

afterEach(() => rm(folder, { recursive: true, force: true }));

function demo() {
  const state = emptyMeshState("demo");
  state.stacks["demo-trust"] = { ...emptyStackState(), outputs: { key: "a-private-key" } };
  return state;
}

describe("the state file", () => {
  test("does not exist before the first write: a mesh without stacks", async () => {
    expect(await new StateFile(path, "demo").read()).toEqual(emptyMeshState("demo"));
  });

  test("is its owner's only, kept out of version control, and reads back", async () => {
    const file = new StateFile(path, "demo");
    await file.write(demo());
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect((await stat(join(path, ".."))).mode & 0o777).toBe(0o700);
    expect(await readFile(join(path, "..", ".gitignore"), "utf8")).toBe("*\n");
    expect(await file.read()).toEqual(demo());
  });

  test("takes the place of the old one as a whole, and leaves nothing beside it", async () => {
    const file = new StateFile(path, "demo");
    await file.write(demo());
    await file.write(emptyMeshState("demo"));
    expect(await file.read()).toEqual(emptyMeshState("demo"));
    expect((await readdir(join(path, ".."))).sort()).toEqual([".gitignore", "demo.json"]);
  });

  test("has everything that was in the state when a write was asked for, however many are asked for at once", async () => {
    const file = new StateFile(path, "demo");
    const state = emptyMeshState("demo");
    const reader = new StateFile(path, "demo");
    await Promise.all(
      Array.from({ length: 30 }, async (_, index) => {
        state.stacks[`s${index}`] = emptyStackState();
        await file.write(state);
        expect(Object.keys((await reader.read()).stacks)).toContain(`s${index}`);
      }),
    );
  });

  test("holds no readable secret when a passphrase is given, and opens with it", async () => {
    await new StateFile(path, "demo", "open sesame").write(demo());
    expect(await readFile(path, "utf8")).not.toContain("a-private-key");
    expect(await new StateFile(path, "demo", "open sesame").read()).toEqual(demo());
  });

  test("that is encrypted says so without a passphrase, and which variable to set", async () => {
    await new StateFile(path, "demo", "open sesame").write(demo());
    await expect(new StateFile(path, "demo").read()).rejects.toThrow(
      `Cannot read the state in ${path}: it is encrypted; give its passphrase in ISTHMUS_PASSPHRASE or PULUMI_CONFIG_PASSPHRASE`,
    );
    await expect(new StateFile(path, "demo", "wrong").read()).rejects.toThrow(
      /the passphrase is not the one it was encrypted with/,
    );
  });

  test("notices that an encrypted state was changed", async () => {
    await new StateFile(path, "demo", "open sesame").write(demo());
    const sealed = JSON.parse(await readFile(path, "utf8"));
    const data = Buffer.from(sealed.data, "base64");
    data.writeUInt8(data.readUInt8(3) ^ 1, 3);
    await writeFile(path, JSON.stringify({ ...sealed, data: data.toString("base64") }));
    await expect(new StateFile(path, "demo", "open sesame").read()).rejects.toThrow(
      /or the file was changed/,
    );
  });

  test("that is plain is encrypted by the first write with a passphrase", async () => {
    await new StateFile(path, "demo").write(demo());
    const file = new StateFile(path, "demo", "open sesame");
    await file.write(await file.read());
    expect(await readFile(path, "utf8")).not.toContain("a-private-key");
    expect(await file.read()).toEqual(demo());
  });

  test("is refused when it is another mesh's, of another version, or no JSON", async () => {
    await new StateFile(path, "demo").write(demo());
    await expect(new StateFile(path, "prod").read()).rejects.toThrow(
      'it belongs to the mesh "demo", not to "prod"',
    );
    await writeFile(path, JSON.stringify({ version: 7, mesh: "demo", stacks: {} }));
    await expect(new StateFile(path, "demo").read()).rejects.toThrow(
      "it has version 7; this isthmus knows version 1",
    );
    await writeFile(path, "{");
    await expect(new StateFile(path, "demo").read()).rejects.toThrow(`Cannot read the state in ${path}`);
  });

  test("takes its passphrase from Isthmus's own variable first, and an empty one is none", () => {
    expect(passphraseFrom({ ISTHMUS_PASSPHRASE: "a", PULUMI_CONFIG_PASSPHRASE: "b" })).toBe("a");
    expect(passphraseFrom({ ISTHMUS_PASSPHRASE: "", PULUMI_CONFIG_PASSPHRASE: "b" })).toBe("b");
    expect(passphraseFrom({})).toBeUndefined();
  });
});

describe("the lock", () => {
  const lock = () => join(folder, "demo.json.lock");

  test("is had by one at a time, and names its holder to the other", async () => {
    const release = await takeLock(lock());
    await expect(takeLock(lock())).rejects.toThrow(
      new RegExp(`Another run is at work on this mesh: process ${process.pid} on ${hostname()}`),
    );
    await release();
    const again = await takeLock(lock());
    await again();
    expect(await readdir(folder)).not.toContain("demo.json.lock");
  });

  test("goes to exactly one of many that want it at once", async () => {
    const results = await Promise.allSettled(Array.from({ length: 20 }, () => takeLock(lock())));
    expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
  });

  test("of a process that is gone is taken over, by exactly one", async () => {
    const child = spawn(process.execPath, ["-e", ""]);
    const { pid } = child;
    await new Promise((resolve) => child.once("close", resolve));
    await writeFile(lock(), JSON.stringify({ pid, host: hostname(), started: "", since: "then" }));
    const results = await Promise.allSettled(Array.from({ length: 20 }, () => takeLock(lock())));
    expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
  });

  test("of an earlier process with the same number is taken over", async () => {
    // Only where the system tells when a process started can the two be told apart.
    if (process.platform !== "linux") return;
    await writeFile(
      lock(),
      JSON.stringify({ pid: process.pid, host: hostname(), started: "1", since: "then" }),
    );
    const release = await takeLock(lock());
    await release();
  });

  test("of another machine is left alone", async () => {
    await writeFile(lock(), JSON.stringify({ pid: 1, host: "elsewhere", started: "", since: "then" }));
    await expect(takeLock(lock())).rejects.toThrow(/process 1 on elsewhere, since then.*remove /);
  });
});
