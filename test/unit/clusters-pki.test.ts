import { createPrivateKey, createPublicKey, X509Certificate } from "node:crypto";
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { ensurePki } from "../../scripts/clusters/pki.ts";

describe("a local cluster's certificates", () => {
  let folder: string;
  let pki: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "isthmus-pki-"));
    pki = join(folder, "pki");
    await ensurePki(pki, "east", "198.18.1.11");
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  const read = async (file: string) => new X509Certificate(await readFile(join(pki, `${file}.crt`)));

  test.each([
    ["apiserver", "CN=kube-apiserver"],
    ["admin", "O=system:masters\nCN=admin"],
    ["node", "O=system:nodes\nCN=system:node:east"],
    ["proxy", "CN=system:kube-proxy"],
  ])("%s is signed by the cluster's authority, for the user Kubernetes expects", async (file, subject) => {
    const authority = await read("ca");
    const certificate = await read(file);
    expect(certificate.subject).toBe(subject);
    expect(certificate.checkIssued(authority)).toBe(true);
    expect(certificate.verify(authority.publicKey)).toBe(true);
    expect(certificate.checkPrivateKey(createPrivateKey(await readFile(join(pki, `${file}.key`))))).toBe(
      true,
    );
  });

  test("the API server can be called by its node's address and from inside the cluster", async () => {
    const certificate = await read("apiserver");
    for (const address of ["198.18.1.11", "127.0.0.1", "10.96.0.1"]) {
      expect(certificate.checkIP(address)).toBe(address);
    }
    expect(certificate.checkHost("kubernetes.default.svc")).toBe("kubernetes.default.svc");
    expect(certificate.checkIP("198.18.1.12")).toBeUndefined();
  });

  test("the keys of service account tokens belong together", async () => {
    const fromPrivate = createPublicKey(await readFile(join(pki, "service-accounts.key")));
    const published = createPublicKey(await readFile(join(pki, "service-accounts.pub")));
    expect(published.equals(fromPrivate)).toBe(true);
  });

  test("keys can be read by their owner alone", async () => {
    for (const file of ["ca", "admin", "service-accounts"]) {
      expect((await stat(join(pki, `${file}.key`))).mode & 0o077).toBe(0);
    }
  });

  test("are left alone when they are there", async () => {
    const before = await readFile(join(pki, "ca.crt"), "utf8");
    await ensurePki(pki, "east", "198.18.1.11");
    expect(await readFile(join(pki, "ca.crt"), "utf8")).toBe(before);
  });

  test("are made whole after an attempt that was cut short", async () => {
    const half = join(folder, "half");
    await mkdir(`${half}.partial`, { recursive: true });
    await writeFile(join(`${half}.partial`, "ca.crt"), "");
    await ensurePki(half, "west", "198.18.1.12");
    expect(new X509Certificate(await readFile(join(half, "ca.crt"))).subject).toBe("CN=west-ca");
  });
});
