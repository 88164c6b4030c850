import { createPrivateKey, X509Certificate } from "node:crypto";
import { type Issuer, issuerName } from "./issuer.ts";
import { CLOCK_SKEW_MS } from "./leaf.ts";

/** What should be done about the present certificate. */
export type Verdict =
  | { renew: true; because: string }
  /** `renewAt` is absent where a new certificate would live no longer than this one: until the issuer changes. */
  | { renew: false; expires: Date; renewAt: Date | undefined };

/** The certificate that is there; either may be missing. PEM. */
export interface PresentCertificate {
  certificatePem: string | undefined;
  privateKeyPem: string | undefined;
}

/** Whether `present` is a good certificate of `issuer` for the gateway `identity` at `now`, and until when. */
export function judge(present: PresentCertificate, issuer: Issuer, identity: string, now: Date): Verdict {
  const renew = (because: string): Verdict => ({ renew: true, because });
  const { certificatePem, privateKeyPem } = present;
  if (!certificatePem || !privateKeyPem) return renew("there is no certificate");

  const leaf = readable(() => new X509Certificate(certificatePem));
  const key = readable(() => createPrivateKey(privateKeyPem));
  if (leaf === undefined || key === undefined) return renew("the certificate or its key cannot be read");
  if (!leaf.checkPrivateKey(key)) return renew("the key is not that of the certificate");
  if (!leaf.checkIssued(issuer.certificate) || !leaf.verify(issuer.certificate.publicKey)) {
    return renew(`the issuer ${issuerName(issuer.certificate) ?? ""} did not sign it`);
  }
  if (!certificatePem.includes(issuer.certificatePem.trim()))
    return renew("the issuer has a new certificate");
  if (!isFor(leaf, identity)) return renew(`it is not for ${identity}`);

  const [begins, ends] = [leaf.validFromDate.getTime(), leaf.validToDate.getTime()];
  if (now.getTime() < begins) return renew("it is not valid yet");
  if (ends <= now.getTime()) return renew("it has expired");
  const issuerEnds = issuer.certificate.validToDate.getTime();
  if (ends > issuerEnds) return renew("it outlives its issuer");
  if (ends === issuerEnds) return { renew: false, expires: leaf.validToDate, renewAt: undefined };
  // Its life began when it was signed, a little after the moment written in it.
  const signed = begins + CLOCK_SKEW_MS;
  const renewAt = new Date(signed + (ends - signed) * (2 / 3));
  if (renewAt.getTime() <= now.getTime()) return renew("two thirds of its life are over");
  return { renew: false, expires: leaf.validToDate, renewAt };
}

/** The alternative names must be exactly the identity and what is one label below it. */
function isFor(leaf: X509Certificate, identity: string): boolean {
  const names = (leaf.subjectAltName ?? "").split(", ").sort();
  return names.join() === [`DNS:${identity}`, `DNS:*.${identity}`].sort().join();
}

function readable<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    // What is wrong with it does not matter: it is replaced.
    return undefined;
  }
}
