import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { parse } from "yaml";
import {
  addContext,
  peerServerOf,
  readKubeconfig,
  removeContext,
  singleKubeconfig,
  withContext,
  withoutContext,
} from "../../scripts/clusters/kubeconfig.ts";

const certificates = { authority: "CA", certificate: "CERT", key: "KEY" };
const local = singleKubeconfig("local", "https://127.0.0.1:4000", "https://198.18.1.11:6443", certificates);
const remote = singleKubeconfig("remote", "https://127.0.0.1:4001", "https://198.18.1.12:6443", certificates);

describe("a cluster's kubeconfig", () => {
  test("holds the certificates themselves, and no paths", () => {
    expect(local.clusters[0]?.cluster["certificate-authority-data"]).toBe(
      Buffer.from("CA").toString("base64"),
    );
    expect(JSON.stringify(local)).not.toMatch(/certificate-authority"|client-key"|client-certificate"/);
  });

  test("says which address other clusters' pods can use, beside the one for this machine", () => {
    expect(local.clusters[0]?.cluster.server).toBe("https://127.0.0.1:4000");
    expect(local.clusters[0]?.cluster.extensions).toEqual([
      { name: "isthmus.dev/api-server", extension: { server: "https://198.18.1.11:6443" } },
    ]);
    expect(peerServerOf(local)).toBe("https://198.18.1.11:6443");
  });
});

describe("the checkout's kubeconfig", () => {
  let folder: string;
  let path: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "isthmus-kubeconfig-"));
    path = join(folder, "deeper", "kubeconfig");
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  test("has a context for every cluster, named as the cluster", async () => {
    await addContext(path, local);
    await addContext(path, remote);
    const config = parse(await readFile(path, "utf8"));
    expect(config.contexts.map((context: { name: string }) => context.name)).toEqual(["local", "remote"]);
    expect(config["current-context"]).toBe("local");
  });

  test("can be read by its owner alone", async () => {
    await addContext(path, local);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
  });

  test("is not written when nothing changes", async () => {
    await addContext(path, local);
    await addContext(path, remote);
    const before = (await stat(path, { bigint: true })).ino;
    await addContext(path, local);
    expect((await stat(path, { bigint: true })).ino).toBe(before);
  });

  test("gets the new certificates of a cluster that was made anew", () => {
    const anew = singleKubeconfig(
      "local",
      "https://127.0.0.1:4002",
      "https://198.18.1.11:6443",
      certificates,
    );
    const merged = withContext(withContext(local, remote), anew);
    expect(merged.clusters.map(({ name, cluster }) => [name, cluster.server])).toEqual([
      ["remote", "https://127.0.0.1:4001"],
      ["local", "https://127.0.0.1:4002"],
    ]);
    expect(merged["current-context"]).toBe("local");
  });

  test("keeps what others put into it", () => {
    const theirs = { ...local, preferences: { colors: true } };
    expect(withContext(theirs, remote)).toMatchObject({ preferences: { colors: true } });
  });

  test("makes another context the current one when that of the current one goes", () => {
    expect(withoutContext(withContext(local, remote), "local")["current-context"]).toBe("remote");
  });

  test("goes with the last cluster", async () => {
    await addContext(path, local);
    await removeContext(path, "local");
    expect(await readKubeconfig(path)).toBeUndefined();
    await removeContext(path, "local");
  });

  test("is not overwritten where the file is something else", async () => {
    const other = join(folder, "notes");
    await writeFile(other, "kind: Notes\n");
    await expect(addContext(other, local)).rejects.toThrow(`${other} is no kubeconfig; move it away`);
  });
});
