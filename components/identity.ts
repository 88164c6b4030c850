import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import {
  COMPONENT,
  GATEWAY_CERTIFICATE_SECRET,
  IDENTITY,
  ISSUER_SECRET,
  TRUST_BUNDLE_CONFIG_MAP,
  TRUST_BUNDLE_KEY,
} from "../contract/index.ts";
import { makeAccount } from "./account.ts";
import type { Images } from "./images.ts";
import { type Labels, labelsOf, partLabels } from "./labels.ts";
import { ADMIN, LOCKED, POD, requests, variable } from "./pod.ts";
import type { Issuer } from "./trust-anchor.ts";

/** Arguments of an `Identity`, which only `Gateway` makes. */
export interface IdentityArgs {
  namespace: pulumi.Input<string>;
  /** DNS name that the gateway's certificates carry. */
  identity: pulumi.Input<string>;
  trustBundle: pulumi.Input<string>;
  issuer: pulumi.Input<Issuer>;
  images: Images;
  labels?: pulumi.Input<Labels> | undefined;
}

/**
 * Who signs a gateway's certificates: the issuer's key, the trust bundle, and the one Deployment that may read the key.
 * Neither the controller, which parses what other clusters say, nor the ingress, which faces them, holds a CA key.
 */
export class Identity extends pulumi.ComponentResource {
  constructor(name: string, args: IdentityArgs, opts?: pulumi.ComponentResourceOptions) {
    super("isthmus:index:Identity", name, {}, opts);
    const child = { parent: this };
    const labels = labelsOf(COMPONENT.identity, args.labels);
    const { namespace } = args;
    const issuer = pulumi.secret(args.issuer);

    new k8s.core.v1.Secret(
      `${name}-issuer`,
      {
        metadata: { name: ISSUER_SECRET, namespace, labels },
        type: "kubernetes.io/tls",
        stringData: { "tls.crt": issuer.certificatePem, "tls.key": issuer.privateKeyPem },
      },
      child,
    );
    new k8s.core.v1.ConfigMap(
      `${name}-trust-bundle`,
      {
        metadata: { name: TRUST_BUNDLE_CONFIG_MAP, namespace, labels },
        data: { [TRUST_BUNDLE_KEY]: args.trustBundle },
      },
      child,
    );
    const account = makeAccount(
      name,
      {
        account: IDENTITY,
        namespace,
        part: COMPONENT.identity,
        labels: args.labels,
        namespaceRules: [
          {
            apiGroups: [""],
            resources: ["secrets"],
            resourceNames: [ISSUER_SECRET],
            verbs: ["get", "list", "watch"],
          },
          {
            apiGroups: [""],
            resources: ["secrets"],
            resourceNames: [GATEWAY_CERTIFICATE_SECRET],
            verbs: ["get", "list", "watch", "update"],
          },
          // A Secret that is not there yet cannot be named.
          { apiGroups: [""], resources: ["secrets"], verbs: ["create"] },
          {
            apiGroups: [""],
            resources: ["configmaps"],
            resourceNames: [TRUST_BUNDLE_CONFIG_MAP],
            verbs: ["get", "list", "watch"],
          },
        ],
      },
      child,
    );
    new k8s.apps.v1.Deployment(
      name,
      {
        metadata: { name: IDENTITY, namespace, labels },
        spec: {
          replicas: 1,
          selector: { matchLabels: partLabels(COMPONENT.identity) },
          template: {
            metadata: { labels },
            spec: {
              ...POD,
              serviceAccountName: account.name,
              containers: [
                {
                  name: "identity",
                  image: args.images.controller,
                  imagePullPolicy: args.images.pullPolicy,
                  args: ["identity"],
                  env: [variable("NAMESPACE", namespace), variable("IDENTITY", args.identity)],
                  ...ADMIN,
                  ...requests("10m", "64Mi"),
                  securityContext: LOCKED,
                },
              ],
            },
          },
        },
      },
      { ...child, dependsOn: account.resources },
    );
    this.registerOutputs({});
  }
}
