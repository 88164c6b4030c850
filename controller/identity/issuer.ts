import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { certificateBlocks, commonName } from "./pem.ts";

/** A cluster's issuer: the intermediate CA that signs the certificates of this cluster's gateway. */
export interface Issuer {
  readonly certificate: X509Certificate;
  /** The issuer's certificate alone: it follows the leaf in `tls.crt`. */
  readonly certificatePem: string;
  readonly key: KeyObject;
}

/**
 * Read an issuer from PEM. The key may be PKCS#8 or SEC1 (as `@pulumi/tls` writes it).
 *
 * @throws Error that says which of the two parts is wrong and how.
 */
export function parseIssuer(certificatePem: string, keyPem: string): Issuer {
  const certificate = attempt("tls.crt is not a certificate", () => new X509Certificate(certificatePem));
  const key = attempt("tls.key is not a private key", () => createPrivateKey(keyPem));
  if (!certificate.ca)
    throw new Error("tls.crt is not the certificate of an authority (basic constraints: CA)");
  if (key.asymmetricKeyType !== "ec" || key.asymmetricKeyDetails?.namedCurve !== "prime256v1") {
    throw new Error("tls.key is not an ECDSA key on the curve P-256");
  }
  if (!certificate.checkPrivateKey(key))
    throw new Error("tls.key is not the key of the certificate in tls.crt");
  return { certificate, certificatePem: certificate.toString(), key };
}

/** The common name of an issuer is the name of its cluster: by it the other side knows who calls. */
export function issuerName(certificate: X509Certificate): string | undefined {
  return commonName(certificate.subject);
}

/** All certificates of a PEM bundle, in order. @throws Error when there is none, or one cannot be read. */
export function parseBundle(pem: string): X509Certificate[] {
  const blocks = certificateBlocks(pem);
  if (blocks.length === 0) throw new Error("there is no certificate in it");
  return blocks.map((block, index) =>
    attempt(`certificate ${index + 1} cannot be read`, () => new X509Certificate(block)),
  );
}

/** Why `certificate` is not signed by an anchor of `bundle` that is valid at `now`; undefined when it is. */
export function distrust(
  certificate: X509Certificate,
  bundle: readonly X509Certificate[],
  now: Date,
): string | undefined {
  const signers = bundle.filter(
    (anchor) => certificate.checkIssued(anchor) && certificate.verify(anchor.publicKey),
  );
  if (signers.length === 0) return "no anchor of the trust bundle signed it";
  if (!signers.some((anchor) => validAt(anchor, now))) return "the trust anchor that signed it has expired";
  return undefined;
}

/** Whether `now` lies in the certificate's life. */
export function validAt(certificate: X509Certificate, now: Date): boolean {
  return certificate.validFromDate <= now && now < certificate.validToDate;
}

function attempt<T>(what: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new Error(`${what}: ${error instanceof Error ? error.message : String(error)}`);
  }
}
