/** Certificates and requests, from the same arguments that the tls package's resources take. */
// The certificate library refuses to load without it.
import "reflect-metadata";
import { randomBytes, type webcrypto } from "node:crypto";
import * as x509 from "@peculiar/x509";
import { isObject, type Properties, type Value } from "../../wire.ts";
import { signingPair } from "./keys.ts";

const HOUR = 3_600_000;
const SUBJECT_ALTERNATIVE_NAME = "2.5.29.17";

const KEY_USAGES: Record<string, x509.KeyUsageFlags> = {
  digital_signature: x509.KeyUsageFlags.digitalSignature,
  content_commitment: x509.KeyUsageFlags.nonRepudiation,
  key_encipherment: x509.KeyUsageFlags.keyEncipherment,
  data_encipherment: x509.KeyUsageFlags.dataEncipherment,
  key_agreement: x509.KeyUsageFlags.keyAgreement,
  cert_signing: x509.KeyUsageFlags.keyCertSign,
  crl_signing: x509.KeyUsageFlags.cRLSign,
  encipher_only: x509.KeyUsageFlags.encipherOnly,
  decipher_only: x509.KeyUsageFlags.decipherOnly,
};

const EXTENDED_KEY_USAGES: Record<string, x509.ExtendedKeyUsage> = {
  server_auth: x509.ExtendedKeyUsage.serverAuth,
  client_auth: x509.ExtendedKeyUsage.clientAuth,
  code_signing: x509.ExtendedKeyUsage.codeSigning,
  email_protection: x509.ExtendedKeyUsage.emailProtection,
  timestamping: x509.ExtendedKeyUsage.timeStamping,
  ocsp_signing: x509.ExtendedKeyUsage.ocspSigning,
};

const SUBJECT_FIELDS: Record<string, string> = {
  commonName: "CN",
  organization: "O",
  organizationalUnit: "OU",
  country: "C",
  province: "ST",
  locality: "L",
};

export interface MadeCertificate {
  pem: string;
  algorithm: string;
  notBefore: Date;
  notAfter: Date;
}

export async function selfSigned(inputs: Properties, now: Date): Promise<MadeCertificate> {
  const { keys, signingAlgorithm, algorithm } = await signingPair(text(inputs, "privateKeyPem"));
  const extensions = [...(await commonExtensions(inputs, keys.publicKey)), ...alternativeNames(inputs)];
  if (inputs.setAuthorityKeyId === true) {
    extensions.push(await x509.AuthorityKeyIdentifierExtension.create(keys.publicKey));
  }
  const notAfter = new Date(now.getTime() + number(inputs, "validityPeriodHours") * HOUR);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name: subjectName(inputs.subject),
    notBefore: now,
    notAfter,
    keys,
    signingAlgorithm,
    extensions,
  });
  return {
    pem: pemOf(certificate),
    algorithm,
    notBefore: certificate.notBefore,
    notAfter: certificate.notAfter,
  };
}

export async function certificateRequest(inputs: Properties): Promise<{ pem: string; algorithm: string }> {
  const { keys, signingAlgorithm, algorithm } = await signingPair(text(inputs, "privateKeyPem"));
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    name: subjectName(inputs.subject),
    keys,
    signingAlgorithm,
    extensions: alternativeNames(inputs),
  });
  return { pem: pemOf(request), algorithm };
}

/** Subject and alternative names come from the request, all else from the arguments. */
export async function locallySigned(inputs: Properties, now: Date): Promise<MadeCertificate> {
  const issuer = new x509.X509Certificate(text(inputs, "caCertPem"));
  const request = new x509.Pkcs10CertificateRequest(text(inputs, "certRequestPem"));
  if (!(await request.verify())) throw new Error("certRequestPem is not signed by the key that it is for");
  const { keys, signingAlgorithm, algorithm } = await signingPair(text(inputs, "caPrivateKeyPem"));
  const publicKey = await request.publicKey.export();
  const names = request.getExtension(SUBJECT_ALTERNATIVE_NAME);
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject: request.subjectName,
    issuer: issuer.subjectName,
    notBefore: now,
    notAfter: new Date(now.getTime() + number(inputs, "validityPeriodHours") * HOUR),
    publicKey,
    signingKey: keys.privateKey,
    signingAlgorithm,
    extensions: [
      ...(await commonExtensions(inputs, publicKey)),
      await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey),
      ...(names === null ? [] : [names]),
    ],
  });
  if (!(await certificate.verify({ publicKey: issuer.publicKey, signatureOnly: true }))) {
    throw new Error("caPrivateKeyPem is not the key of caCertPem");
  }
  return {
    pem: pemOf(certificate),
    algorithm,
    notBefore: certificate.notBefore,
    notAfter: certificate.notAfter,
  };
}

async function commonExtensions(
  inputs: Properties,
  publicKey: webcrypto.CryptoKey,
): Promise<x509.Extension[]> {
  const ca = inputs.isCaCertificate === true;
  // Zero is a length like any other: it is what keeps an issuer from making another one.
  const length =
    typeof inputs.maxPathLength === "number" && inputs.maxPathLength >= 0 ? inputs.maxPathLength : undefined;
  const extensions: x509.Extension[] = [
    new x509.BasicConstraintsExtension(ca, ca ? length : undefined, true),
  ];
  const { flags, extended } = usages(inputs.allowedUses);
  if (flags !== 0) extensions.push(new x509.KeyUsagesExtension(flags, true));
  if (extended.length > 0) extensions.push(new x509.ExtendedKeyUsageExtension(extended, false));
  if (ca || inputs.setSubjectKeyId === true) {
    extensions.push(await x509.SubjectKeyIdentifierExtension.create(publicKey));
  }
  return extensions;
}

function usages(uses: Value | undefined): { flags: number; extended: x509.ExtendedKeyUsage[] } {
  let flags = 0;
  const extended: x509.ExtendedKeyUsage[] = [];
  for (const use of Array.isArray(uses) ? uses : []) {
    const flag = KEY_USAGES[String(use)];
    const purpose = EXTENDED_KEY_USAGES[String(use)];
    if (flag !== undefined) flags |= flag;
    else if (purpose !== undefined) extended.push(purpose);
    else {
      const known = [...Object.keys(KEY_USAGES), ...Object.keys(EXTENDED_KEY_USAGES)].join(", ");
      throw new Error(`allowedUses has "${String(use)}"; the embedded engine knows ${known}`);
    }
  }
  return { flags, extended };
}

function alternativeNames(inputs: Properties): x509.Extension[] {
  const names: x509.JsonGeneralNames = [
    ...list(inputs.dnsNames).map((value) => ({ type: "dns" as const, value })),
    ...list(inputs.ipAddresses).map((value) => ({ type: "ip" as const, value })),
    ...list(inputs.uris).map((value) => ({ type: "url" as const, value })),
  ];
  return names.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension(names)];
}

function subjectName(subject: Value | undefined): x509.JsonName {
  return Object.entries(isObject(subject) ? subject : {}).map(([field, value]) => {
    const attribute = SUBJECT_FIELDS[field];
    if (attribute === undefined) {
      throw new Error(
        `subject has "${field}"; the embedded engine knows ${Object.keys(SUBJECT_FIELDS).join(", ")}`,
      );
    }
    return { [attribute]: [String(value)] };
  });
}

/** 127 random bits: positive, and never the same twice. */
function serialNumber(): string {
  const bytes = randomBytes(16);
  bytes.writeUInt8(((bytes[0] ?? 0) & 0x7f) | 0x40);
  return bytes.toString("hex");
}

function pemOf(data: x509.X509Certificate | x509.Pkcs10CertificateRequest): string {
  return `${data.toString("pem").trimEnd()}\n`;
}

function list(value: Value | undefined): string[] {
  return Array.isArray(value) ? value.map(String) : [];
}

function text(inputs: Properties, name: string): string {
  const value = inputs[name];
  if (typeof value !== "string") throw new Error(`${name} is missing`);
  return value;
}

function number(inputs: Properties, name: string): number {
  const value = inputs[name];
  if (typeof value !== "number") throw new Error(`${name} is missing`);
  return value;
}
