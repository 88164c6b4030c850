import "reflect-metadata";
import { webcrypto } from "node:crypto";
import {
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  type X509Certificate,
  X509CertificateGenerator,
} from "@peculiar/x509";
import type { CertificateAndKey } from "../../controller/identity/leaf.ts";

/** Real certificate authorities and leafs for tests, good ones and bad ones. */

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const HOUR = 60 * 60 * 1000;

/** A certificate that can sign others. */
export interface Authority {
  certificate: X509Certificate;
  /** PEM of the certificate alone. */
  pem: string;
  /** PEM of the key, PKCS#8. */
  keyPem: string;
  keys: webcrypto.CryptoKeyPair;
}

export interface CertificateOptions {
  /** @default an hour ago */
  notBefore?: Date;
  /** @default in a hundred hours */
  notAfter?: Date;
}

/** A self-signed trust anchor. */
export async function makeAnchor(name = "root", options: CertificateOptions = {}): Promise<Authority> {
  const keys = await generate();
  const certificate = await X509CertificateGenerator.createSelfSigned({
    name: `CN=${name}`,
    keys,
    ...life(options),
    signingAlgorithm: ALGORITHM,
    extensions: [new BasicConstraintsExtension(true, undefined, true), authorityUsage()],
  });
  return authority(certificate, keys);
}

/** An issuer of `cluster`, signed by `anchor`, with path length 0 as the trust stack makes them. */
export async function makeIssuer(
  anchor: Authority,
  cluster: string,
  options: CertificateOptions & { keys?: webcrypto.CryptoKeyPair } = {},
): Promise<Authority> {
  const keys = options.keys ?? (await generate());
  const certificate = await X509CertificateGenerator.create({
    subject: `CN=${cluster}`,
    issuer: anchor.certificate.subjectName,
    publicKey: keys.publicKey,
    signingKey: anchor.keys.privateKey,
    ...life(options),
    signingAlgorithm: ALGORITHM,
    extensions: [new BasicConstraintsExtension(true, 0, true), authorityUsage()],
  });
  return authority(certificate, keys);
}

/**
 * A leaf with whatever names, which an honest identity role would not sign. `chain` follows the leaf in the PEM.
 * @default chain the signer
 */
export async function makeLeaf(
  signer: Authority,
  names: { commonName: string; dns: string[] },
  options: CertificateOptions & { chain?: Authority[] } = {},
): Promise<CertificateAndKey> {
  const keys = await generate();
  const certificate = await X509CertificateGenerator.create({
    subject: `CN=${names.commonName}`,
    issuer: signer.certificate.subjectName,
    publicKey: keys.publicKey,
    signingKey: signer.keys.privateKey,
    ...life(options),
    signingAlgorithm: ALGORITHM,
    extensions: [
      new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth, ExtendedKeyUsage.clientAuth]),
      new SubjectAlternativeNameExtension(names.dns.map((value) => ({ type: "dns" as const, value }))),
    ],
  });
  const chain = options.chain ?? [signer];
  return {
    certificatePem: [certificate.toString("pem"), ...chain.map(({ pem }) => pem)].join("\n"),
    privateKeyPem: await keyPem(keys),
  };
}

function generate(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
}

function life({ notBefore, notAfter }: CertificateOptions): { notBefore: Date; notAfter: Date } {
  return {
    notBefore: notBefore ?? new Date(Date.now() - HOUR),
    notAfter: notAfter ?? new Date(Date.now() + 100 * HOUR),
  };
}

function authorityUsage(): KeyUsagesExtension {
  return new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true);
}

async function authority(certificate: X509Certificate, keys: webcrypto.CryptoKeyPair): Promise<Authority> {
  return { certificate, pem: certificate.toString("pem"), keyPem: await keyPem(keys), keys };
}

async function keyPem(keys: webcrypto.CryptoKeyPair): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey("pkcs8", keys.privateKey)).toString("base64");
  return `-----BEGIN PRIVATE KEY-----\n${der.replace(/.{64}(?=.)/g, "$&\n")}\n-----END PRIVATE KEY-----\n`;
}
