import * as pulumi from "@pulumi/pulumi";
import * as tls from "@pulumi/tls";
import { checked, clusterNames, dnsLabels, dnsName, positiveInteger, required } from "./validation.ts";

/** A cluster's certificate authority: it signs the certificates of that cluster's gateway and of nothing else. */
export interface Issuer {
  /** The issuer's certificate, PEM. */
  certificatePem: string;
  /** Its private key, PEM. A secret. */
  privateKeyPem: string;
}

/** Arguments of a `TrustAnchor`. */
export interface TrustAnchorArgs {
  /** The DNS name that all identities of the mesh end in, such as `demo.mesh`. */
  trustDomain: pulumi.Input<string>;
  /** Names of the clusters that get an issuer. Plain values: they decide which resources there are. */
  clusters: string[];
  /**
   * Names of the anchors in the bundle. To rotate: add a name and `up`; make it the signer and `up`; drop the old name
   * and `up`. Each step is safe to stop after. Plain values: they decide which resources there are.
   *
   * @default ["root"]
   */
  anchors?: string[];
  /**
   * The anchor that signs the issuers, one of `anchors`.
   *
   * @default the first of `anchors`
   */
  signer?: string;
  /**
   * Life of an anchor, in hours. It is never renewed by itself: a replaced anchor is trusted by nobody yet.
   *
   * @default 87600 (ten years)
   */
  validityHours?: pulumi.Input<number>;
  /**
   * Life of an issuer, in hours.
   *
   * @default 17520 (two years)
   */
  issuerValidityHours?: pulumi.Input<number>;
  /**
   * How long before its end an issuer is renewed by the next `up`, in hours.
   *
   * @default 4380 (half a year)
   */
  issuerRenewalHours?: pulumi.Input<number>;
}

const CA_USES = ["cert_signing", "crl_signing"];

/**
 * The root certificates that every cluster of a mesh trusts, and one issuer a cluster signed by it. The root's private
 * key is an attribute of this component's stack and never leaves it.
 *
 * Give it the option `protect: true` where replacing an anchor by mistake must be impossible.
 */
export class TrustAnchor extends pulumi.ComponentResource {
  /** The DNS name that all identities of the mesh end in. */
  public readonly trustDomain: pulumi.Output<string>;
  /** Certificates of all anchors, PEM. */
  public readonly trustBundle: pulumi.Output<string>;
  /** The issuer of each cluster, by the cluster's name. A secret. */
  public readonly issuers: pulumi.Output<{ [cluster: string]: Issuer }>;

  constructor(name: string, args: TrustAnchorArgs, opts?: pulumi.ComponentResourceOptions) {
    const valid = checked("TrustAnchor", name, args, {
      trustDomain: required(dnsName),
      clusters: required(clusterNames),
      anchors: {
        allowed: `${dnsLabels.allowed}; at least one`,
        test: (value) => dnsLabels.test(value) && (value as string[]).length > 0,
      },
      signer: {
        allowed: `one of anchors: ${(args.anchors ?? ["root"]).join(", ")}`,
        test: (value) => (args.anchors ?? ["root"]).includes(value as string),
      },
      validityHours: positiveInteger,
      issuerValidityHours: positiveInteger,
      issuerRenewalHours: positiveInteger,
    });
    super("isthmus:index:TrustAnchor", name, valid, opts);

    const organization = pulumi.output(valid.trustDomain);
    const names = valid.anchors ?? ["root"];
    const signer = valid.signer ?? names[0];
    const anchors = names.map((anchor) => {
      const key = this.key(`${name}-anchor-${anchor}`);
      const certificate = new tls.SelfSignedCert(
        `${name}-anchor-${anchor}`,
        {
          privateKeyPem: key.privateKeyPem,
          subject: { commonName: `trust-anchor-${anchor}`, organization },
          isCaCertificate: true,
          // One step below the anchor are the issuers, and below them only leaves.
          maxPathLength: 1,
          setSubjectKeyId: true,
          allowedUses: CA_USES,
          validityPeriodHours: valid.validityHours ?? 87_600,
          earlyRenewalHours: 0,
        },
        { parent: this },
      );
      return { anchor, key, certificate };
    });
    // `checked` has made sure that the signer is one of them.
    const root = anchors.find(({ anchor }) => anchor === signer)!;

    const issuers: Record<string, pulumi.Output<Issuer>> = {};
    for (const cluster of valid.clusters) {
      const key = this.key(`${name}-issuer-${cluster}`);
      // The ingress tells callers apart by this common name: it is the contract between `trust` and the gateways.
      const subject = { commonName: cluster, organization };
      const request = new tls.CertRequest(
        `${name}-issuer-${cluster}`,
        { privateKeyPem: key.privateKeyPem, subject },
        { parent: this },
      );
      const certificate = new tls.LocallySignedCert(
        `${name}-issuer-${cluster}`,
        {
          certRequestPem: request.certRequestPem,
          caCertPem: root.certificate.certPem,
          caPrivateKeyPem: root.key.privateKeyPem,
          isCaCertificate: true,
          // An issuer that could make another could take any cluster's name.
          maxPathLength: 0,
          setSubjectKeyId: true,
          allowedUses: CA_USES,
          validityPeriodHours: valid.issuerValidityHours ?? 17_520,
          earlyRenewalHours: valid.issuerRenewalHours ?? 4_380,
        },
        { parent: this },
      );
      issuers[cluster] = pulumi
        .all([certificate.certPem, key.privateKeyPemPkcs8])
        .apply(([certificatePem, privateKeyPem]) => ({ certificatePem, privateKeyPem }));
    }

    this.trustDomain = organization;
    this.trustBundle = pulumi
      .all(anchors.map(({ certificate }) => certificate.certPem))
      .apply((certificates) => certificates.map((pem) => `${pem.trim()}\n`).join(""));
    this.issuers = pulumi.secret(pulumi.all(issuers));
    this.registerOutputs({
      trustDomain: this.trustDomain,
      trustBundle: this.trustBundle,
      issuers: this.issuers,
    });
  }

  private key(name: string): tls.PrivateKey {
    return new tls.PrivateKey(name, { algorithm: "ECDSA", ecdsaCurve: "P256" }, { parent: this });
  }
}
