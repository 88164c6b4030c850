import "reflect-metadata";
import { randomBytes, webcrypto } from "node:crypto";
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
  X509Certificate as X509Parsed,
} from "@peculiar/x509";
import type { Issuer } from "./issuer.ts";

/** Life of a gateway's certificate. */
export const LEAF_LIFE_MS = 24 * 60 * 60 * 1000;
/** A certificate begins a little in the past: the other cluster's clock may be behind. */
export const CLOCK_SKEW_MS = 5 * 60 * 1000;
/** Longest common name that X.509 allows. */
const MAX_COMMON_NAME = 64;

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;

/** A certificate with its key, as they stand in a Secret of type `kubernetes.io/tls`. */
export interface CertificateAndKey {
  /** Leaf, then issuer. */
  certificatePem: string;
  /** PKCS#8. */
  privateKeyPem: string;
}

/**
 * Sign a fresh key for the gateway `identity`: server and client of TLS, for `<identity>` and every name one label below
 * it. Lives 24 hours, never longer than the issuer.
 */
export async function signLeaf(issuer: Issuer, identity: string, now: Date): Promise<CertificateAndKey> {
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
  const signingKey = await webcrypto.subtle.importKey(
    "pkcs8",
    issuer.key.export({ type: "pkcs8", format: "der" }),
    ALGORITHM,
    false,
    ["sign"],
  );
  const authority = new X509Parsed(issuer.certificatePem);
  const notAfter = new Date(Math.min(now.getTime() + LEAF_LIFE_MS, issuer.certificate.validToDate.getTime()));
  const leaf = await X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    // The names that count are the alternative ones; the common name is what a gateway's access log shows.
    subject: [{ CN: [identity.slice(0, MAX_COMMON_NAME)] }],
    issuer: authority.subjectName,
    notBefore: new Date(now.getTime() - CLOCK_SKEW_MS),
    notAfter,
    publicKey: keys.publicKey,
    signingKey,
    signingAlgorithm: ALGORITHM,
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth, ExtendedKeyUsage.clientAuth]),
      new SubjectAlternativeNameExtension([
        { type: "dns", value: identity },
        { type: "dns", value: `*.${identity}` },
      ]),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
      await AuthorityKeyIdentifierExtension.create(authority.publicKey),
    ],
  });
  const key = Buffer.from(await webcrypto.subtle.exportKey("pkcs8", keys.privateKey)).toString("base64");
  return {
    certificatePem: `${leaf.toString("pem").trim()}\n${issuer.certificatePem.trim()}\n`,
    privateKeyPem: `-----BEGIN PRIVATE KEY-----\n${key.replace(/.{64}(?=.)/g, "$&\n")}\n-----END PRIVATE KEY-----\n`,
  };
}

/** 127 random bits: positive, and never the same twice. */
function serialNumber(): string {
  const bytes = randomBytes(16);
  bytes[0] = (bytes[0]! & 0x7f) | 0x40;
  return bytes.toString("hex");
}
