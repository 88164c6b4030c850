import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { certificateBlocks, commonName } from "../identity/pem.ts";

/** The gateway's certificate and whom it trusts, read from the mounted Secret and ConfigMap and found to be sound. */
export interface Material {
  /** Leaf, issuer and key in one PEM, as HAProxy loads it. */
  certificatePem: string;
  trustPem: string;
  notBefore: Date;
  notAfter: Date;
  /** Name of this cluster as the others see it: the issuer's common name. */
  issuer: string | undefined;
}

export interface MaterialSource {
  /** Where the Secret `isthmus-gateway-certificate` is mounted. */
  certificateDirectory: string;
  /** File of the trust bundle. */
  trustBundle: string;
  /** The identity that the certificate must be for. */
  identity: string;
}

/**
 * Read the mounted files. The kubelet exchanges them together but two reads are two moments: a key that does not belong
 * to the certificate is an error now and well at the next try.
 *
 * @throws Error that says which file is wrong and how
 */
export async function readMaterial(source: MaterialSource): Promise<Material> {
  const certificateFile = join(source.certificateDirectory, "tls.crt");
  const keyFile = join(source.certificateDirectory, "tls.key");
  const [certificate, key, trust] = await Promise.all(
    [certificateFile, keyFile, source.trustBundle].map((file) => readFile(file, "utf8")),
  );
  return checkMaterial(
    { certificate: certificate!, key: key!, trust: trust! },
    { certificate: certificateFile, key: keyFile, trust: source.trustBundle },
    source.identity,
  );
}

/** What `readMaterial` makes of the texts. */
function checkMaterial(
  texts: { certificate: string; key: string; trust: string },
  files: { certificate: string; key: string; trust: string },
  identity: string,
): Material {
  const leaf = parse(files.certificate, () => new X509Certificate(texts.certificate));
  const key = parse(files.key, () => createPrivateKey(texts.key));
  if (!leaf.checkPrivateKey(key)) throw new Error(`${files.key} is not the key of ${files.certificate}`);
  if (leaf.checkHost(identity, { wildcards: false }) === undefined) {
    throw new Error(
      `${files.certificate} is not for ${identity}: it is for ${leaf.subjectAltName ?? "nobody"}`,
    );
  }
  const anchors = certificateBlocks(texts.trust);
  if (anchors.length === 0) throw new Error(`${files.trust} has no certificate in it`);
  for (const anchor of anchors) parse(files.trust, () => new X509Certificate(anchor));
  return {
    certificatePem: `${texts.certificate.trim()}\n${texts.key.trim()}\n`,
    trustPem: `${anchors.join("\n")}\n`,
    notBefore: leaf.validFromDate,
    notAfter: leaf.validToDate,
    issuer: commonName(leaf.issuer),
  };
}

function parse<T>(file: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new Error(`${file} cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  }
}
