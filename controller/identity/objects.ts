import {
  COMPONENT,
  COMPONENT_LABEL,
  GATEWAY_CERTIFICATE_SECRET,
  MANAGED_BY_LABEL,
  MANAGER,
  PART_OF_LABEL,
  TRUST_BUNDLE_KEY,
} from "../../contract/index.ts";
import type { ConfigMap, Secret } from "../kube/objects.ts";
import { distrust, type Issuer, issuerName, parseBundle, parseIssuer, validAt } from "./issuer.ts";
import type { CertificateAndKey } from "./leaf.ts";
import type { PresentCertificate } from "./renewal.ts";

/** A value of a Secret, decoded. */
export function secretText(secret: Secret | undefined, key: string): string | undefined {
  const value = secret?.data?.[key];
  return value === undefined ? undefined : Buffer.from(value, "base64").toString("utf8");
}

/**
 * The issuer of this cluster, if it can be used at `now`: sound, valid, and signed by an anchor that the other clusters
 * trust.
 *
 * @throws Error that says why it cannot, and what to do
 */
export function usableIssuer(
  secret: Secret | undefined,
  bundle: ConfigMap | undefined,
  where: { issuer: string; bundle: string },
  now: Date,
): Issuer {
  if (secret === undefined)
    throw new Error(`Secret ${where.issuer} is missing: the cluster's stack makes it`);
  const issuer = explain(`Secret ${where.issuer} is no issuer`, () =>
    parseIssuer(secretText(secret, "tls.crt") ?? "", secretText(secret, "tls.key") ?? ""),
  );
  const name = issuerName(issuer.certificate);
  if (!validAt(issuer.certificate, now)) {
    const { validFrom, validTo } = issuer.certificate;
    throw new Error(
      `the issuer ${name} is valid from ${validFrom} to ${validTo}, not now: bring up the trust stack, then this cluster's`,
    );
  }
  const pem = bundle?.data?.[TRUST_BUNDLE_KEY];
  if (pem === undefined) {
    throw new Error(
      `ConfigMap ${where.bundle} with the key ${TRUST_BUNDLE_KEY} is missing: the cluster's stack makes it`,
    );
  }
  const anchors = explain(`ConfigMap ${where.bundle} is no trust bundle`, () => parseBundle(pem));
  const why = distrust(issuer.certificate, anchors, now);
  if (why !== undefined) {
    throw new Error(
      `the issuer ${name} is not trusted: ${why}; add its anchor to the trust bundle, or reissue the issuer`,
    );
  }
  return issuer;
}

export function presentCertificate(secret: Secret | undefined): PresentCertificate {
  return { certificatePem: secretText(secret, "tls.crt"), privateKeyPem: secretText(secret, "tls.key") };
}

/** Whether this role made the Secret, and so may write it. */
export function isOurs(secret: Secret): boolean {
  return secret.metadata.labels?.[MANAGED_BY_LABEL] === MANAGER;
}

/** The Secret with a certificate in it: the present one changed, or a new one. */
export function certificateSecret(
  namespace: string,
  present: Secret | undefined,
  { certificatePem, privateKeyPem }: CertificateAndKey,
): Secret {
  return {
    apiVersion: "v1",
    kind: "Secret",
    metadata: {
      ...(present?.metadata ?? { name: GATEWAY_CERTIFICATE_SECRET, namespace }),
      labels: {
        ...present?.metadata.labels,
        [MANAGED_BY_LABEL]: MANAGER,
        [PART_OF_LABEL]: MANAGER,
        [COMPONENT_LABEL]: COMPONENT.identity,
      },
    },
    type: "kubernetes.io/tls",
    data: {
      "tls.crt": Buffer.from(certificatePem).toString("base64"),
      "tls.key": Buffer.from(privateKeyPem).toString("base64"),
    },
  };
}

function explain<T>(what: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new Error(`${what}: ${error instanceof Error ? error.message : String(error)}`);
  }
}
