import "reflect-metadata";
import { webcrypto } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import {
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type JsonGeneralName,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  type X509Certificate,
  X509CertificateGenerator,
} from "@peculiar/x509";
import { API_SERVICE_IP } from "./addresses.ts";

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const TEN_YEARS_MS = 10 * 365 * 24 * 3600 * 1000;
const HOUR_MS = 3600 * 1000;

interface Authority {
  certificate: X509Certificate;
  keys: webcrypto.CryptoKeyPair;
}

/**
 * Make a cluster's certificates in `directory`, unless they are there: `ca`, `apiserver`, `admin`, `node` and `proxy` as
 * `.crt` and `.key`, and the keys of service account tokens, `service-accounts.key` and `.pub`.
 */
export async function ensurePki(directory: string, name: string, address: string): Promise<void> {
  if (existsSync(directory)) return;
  const partial = `${directory}.partial`;
  await rm(partial, { recursive: true, force: true });
  await mkdir(partial, { recursive: true, mode: 0o700 });

  const keys = await generateKeys();
  const certificate = await X509CertificateGenerator.createSelfSigned({
    name: `CN=${name}-ca`,
    keys,
    ...validity(),
    signingAlgorithm: ALGORITHM,
    extensions: [
      new BasicConstraintsExtension(true, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
    ],
  });
  const authority: Authority = { certificate, keys };
  await write(partial, "ca", certificate, keys);

  const dns = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost"];
  await issue(authority, partial, "apiserver", "CN=kube-apiserver", [
    ...dns.map((value): JsonGeneralName => ({ type: "dns", value })),
    ...[address, "127.0.0.1", API_SERVICE_IP].map((value): JsonGeneralName => ({ type: "ip", value })),
  ]);
  await issue(authority, partial, "admin", "O=system:masters,CN=admin");
  await issue(authority, partial, "node", `O=system:nodes,CN=system:node:${name}`);
  await issue(authority, partial, "proxy", "CN=system:kube-proxy");
  const serviceAccounts = await generateKeys();
  await writeFile(join(partial, "service-accounts.key"), await keyPem(serviceAccounts), { mode: 0o600 });
  await writeFile(
    join(partial, "service-accounts.pub"),
    pem("PUBLIC", await exportKey("spki", serviceAccounts.publicKey)),
  );
  // All or nothing: an `up` that was killed leaves no half set.
  await rename(partial, directory);
}

async function issue(
  authority: Authority,
  directory: string,
  file: string,
  subject: string,
  names: JsonGeneralName[] = [],
): Promise<void> {
  const keys = await generateKeys();
  const certificate = await X509CertificateGenerator.create({
    subject,
    issuer: authority.certificate.subjectName,
    publicKey: keys.publicKey,
    signingKey: authority.keys.privateKey,
    ...validity(),
    signingAlgorithm: ALGORITHM,
    extensions: [
      new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth, ExtendedKeyUsage.clientAuth]),
      ...(names.length > 0 ? [new SubjectAlternativeNameExtension(names)] : []),
    ],
  });
  await write(directory, file, certificate, keys);
}

async function write(
  directory: string,
  file: string,
  certificate: X509Certificate,
  keys: webcrypto.CryptoKeyPair,
): Promise<void> {
  await writeFile(join(directory, `${file}.crt`), `${certificate.toString("pem")}\n`);
  await writeFile(join(directory, `${file}.key`), await keyPem(keys), { mode: 0o600 });
}

function generateKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
}

async function keyPem(keys: webcrypto.CryptoKeyPair): Promise<string> {
  return pem("PRIVATE", await exportKey("pkcs8", keys.privateKey));
}

async function exportKey(format: "pkcs8" | "spki", key: webcrypto.CryptoKey): Promise<Buffer> {
  return Buffer.from(await webcrypto.subtle.exportKey(format, key));
}

function pem(kind: "PRIVATE" | "PUBLIC", der: Buffer): string {
  const lines = der.toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${kind} KEY-----\n${lines.join("\n")}\n-----END ${kind} KEY-----\n`;
}

/** From an hour ago, for machines whose clocks differ. */
function validity(): { notBefore: Date; notAfter: Date } {
  const now = Date.now();
  return { notBefore: new Date(now - HOUR_MS), notAfter: new Date(now + TEN_YEARS_MS) };
}
