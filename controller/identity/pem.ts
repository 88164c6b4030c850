/** The certificates of a PEM text, each as a text of its own, in order; what stands between them is left out. */
export function certificateBlocks(pem: string): string[] {
  return pem.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g) ?? [];
}

/** The common name in a subject or issuer as Node writes it, one attribute a line. */
export function commonName(distinguishedName: string): string | undefined {
  return /^CN=(.+)$/m.exec(distinguishedName)?.[1];
}
