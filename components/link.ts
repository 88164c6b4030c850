import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import {
  CREDENTIALS_SECRET_KEY,
  CREDENTIALS_SECRET_TYPE,
  credentialsRoleName,
  credentialsSecretName,
  DEFAULT_NAMESPACE,
  LINK_GROUP,
  LINK_KIND,
  LINK_VERSION,
  LINKERD_NAMESPACE,
  MIRROR,
} from "../contract/index.ts";
import type { GatewayEndpoint } from "./gateway.ts";
import { labelsOf } from "./labels.ts";
import { DataPlane } from "./mirror-controller.ts";
import * as rules from "./validation.ts";
import { checked, oneOf, required } from "./validation.ts";

/** How the values of a label are compared. */
export const SelectorOperator = {
  /** The label's value is one of those given. */
  In: "In",
  /** The label's value is none of those given, or the label is absent. */
  NotIn: "NotIn",
  /** The label is there. */
  Exists: "Exists",
  /** The label is absent. */
  DoesNotExist: "DoesNotExist",
} as const;

/** How the values of a label are compared. */
export type SelectorOperator = (typeof SelectorOperator)[keyof typeof SelectorOperator];

/** One condition on a label. */
export interface SelectorRequirementArgs {
  /** The label. */
  key: pulumi.Input<string>;
  operator: pulumi.Input<SelectorOperator>;
  /** @default none */
  values?: pulumi.Input<pulumi.Input<string>[]>;
}

/** Chooses objects by their labels. An empty selector chooses nothing: Linkerd's rule. */
export interface SelectorArgs {
  /** @default none */
  matchLabels?: pulumi.Input<{ [key: string]: pulumi.Input<string> }>;
  /** @default none */
  matchExpressions?: pulumi.Input<pulumi.Input<SelectorRequirementArgs>[]>;
}

/** Arguments of a `Link`. */
export interface LinkArgs {
  /** Name of the target cluster. Mirrors are named `<service>-<target>`. */
  target: pulumi.Input<string>;
  /** Where the target's gateway is reached: `Gateway.endpoint`, or any gateway of your own. */
  gateway: pulumi.Input<GatewayEndpoint>;
  /**
   * A kubeconfig for a remote access of the target. A secret. Used when the link is made and never after: whoever renews
   * the credentials later is not undone by the next `up`.
   */
  kubeconfig: pulumi.Input<string>;
  /**
   * The namespace of Isthmus in the source cluster; it must be there.
   *
   * @default "isthmus"
   */
  namespace?: pulumi.Input<string>;
  /** @default "cluster.local" */
  targetClusterDomain?: pulumi.Input<string>;
  /**
   * The trust domain of the target's Linkerd; of use with `DataPlane.Linkerd` only.
   *
   * @default "cluster.local"
   */
  targetTrustDomain?: pulumi.Input<string>;
  /**
   * Which Services of the target are mirrored.
   *
   * @default those labelled `mirror.linkerd.io/exported: "true"`
   */
  selector?: pulumi.Input<SelectorArgs>;
  /**
   * Which Services of the target are called from pod to pod: with `DataPlane.Linkerd` only.
   *
   * @default those labelled `mirror.linkerd.io/exported: "remote-discovery"`
   */
  remoteDiscoverySelector?: pulumi.Input<SelectorArgs>;
  /**
   * Which Services of the target are members of the federated service of their name.
   *
   * @default those labelled `mirror.linkerd.io/federated: "member"`
   */
  federatedServiceSelector?: pulumi.Input<SelectorArgs>;
  /**
   * Labels that mirrors do not get; an entry that ends in `/*` is a prefix.
   *
   * @default none
   */
  excludedLabels?: pulumi.Input<pulumi.Input<string>[]>;
  /**
   * Annotations that mirrors do not get; an entry that ends in `/*` is a prefix.
   *
   * @default none
   */
  excludedAnnotations?: pulumi.Input<pulumi.Input<string>[]>;
  /**
   * What carries the calls to mirrors in the source. With `DataPlane.Linkerd` the controller may also keep a copy of the
   * credentials where Linkerd reads them.
   *
   * @default DataPlane.Standalone
   */
  dataPlane?: DataPlane;
  /**
   * The namespace of Linkerd's control plane in the source; of use with `DataPlane.Linkerd` only.
   *
   * @default "linkerd"
   */
  linkerdNamespace?: pulumi.Input<string>;
  /**
   * Labels for every object that is made.
   *
   * @default none
   */
  labels?: pulumi.Input<{ [key: string]: pulumi.Input<string> }>;
}

const PART = "link";

type PolicyRule = k8s.types.input.rbac.v1.PolicyRule;

/**
 * Connects a source cluster, the one it is made in, to a target: exported services of the target get mirrors in the source.
 * Let it depend on the source's `MirrorController`, so that the controller is still there to clean up when the link goes.
 */
export class Link extends pulumi.ComponentResource {
  /** Name of the `Link` resource: the target's. */
  public readonly linkName: pulumi.Output<string>;
  /** Its namespace. */
  public readonly namespace: pulumi.Output<string>;

  constructor(name: string, args: LinkArgs, opts?: pulumi.ComponentResourceOptions) {
    const valid = checked("Link", name, args, {
      target: required(rules.clusterName),
      gateway: required(endpoint),
      kubeconfig: required(kubeconfigText),
      namespace: rules.dnsLabel,
      targetClusterDomain: rules.dnsName,
      targetTrustDomain: rules.dnsName,
      dataPlane: oneOf(DataPlane),
      linkerdNamespace: rules.dnsLabel,
    });
    const kubeconfig = pulumi.secret(valid.kubeconfig);
    super("isthmus:index:Link", name, { ...valid, kubeconfig }, opts);
    const target = pulumi.output(valid.target);
    const gateway = pulumi.output(valid.gateway);
    const namespace = valid.namespace ?? DEFAULT_NAMESPACE;
    const labels = labelsOf(PART, valid.labels);

    const secret = new k8s.core.v1.Secret(
      `${name}-credentials`,
      {
        metadata: { name: target.apply(credentialsSecretName), namespace, labels },
        type: CREDENTIALS_SECRET_TYPE,
        stringData: { [CREDENTIALS_SECRET_KEY]: kubeconfig },
      },
      // Whoever renews the token does so in the cluster: a program that put its first one back would undo that.
      { parent: this, ignoreChanges: ["data", "stringData"] },
    );
    const permissions = this.permitController(name, valid, secret.metadata.name);
    const link = new k8s.apiextensions.CustomResource(
      name,
      {
        apiVersion: `${LINK_GROUP}/${LINK_VERSION}`,
        kind: LINK_KIND,
        metadata: { name: target, namespace, labels },
        spec: {
          targetClusterName: target,
          targetClusterDomain: valid.targetClusterDomain ?? "cluster.local",
          clusterCredentialsSecret: secret.metadata.name,
          gatewayAddresses: gateway.addresses,
          gatewayPort: gateway.port,
          gateway: gateway.service,
          gatewayIdentity: gateway.identity,
          probe: {
            path: gateway.probe.path,
            port: gateway.probe.port,
            period: gateway.probe.period,
          },
          targetTrustDomain: valid.targetTrustDomain,
          selector: valid.selector,
          remoteDiscoverySelector: valid.remoteDiscoverySelector,
          federatedServiceSelector: valid.federatedServiceSelector,
          excludedLabels: valid.excludedLabels,
          excludedAnnotations: valid.excludedAnnotations,
        },
      },
      // What the component depends on, its resource must too: destroying goes by the resources.
      pulumi.mergeOptions(
        { dependsOn: opts?.dependsOn ?? [] },
        { parent: this, dependsOn: [secret, ...permissions] },
      ),
    );
    this.linkName = link.metadata.name;
    this.namespace = link.metadata.namespace;
    this.registerOutputs({ linkName: this.linkName, namespace: this.namespace });
  }

  /** Let the mirror controller use these credentials and no other Secret. */
  private permitController(name: string, args: LinkArgs, secret: pulumi.Output<string>): pulumi.Resource[] {
    const namespace = args.namespace ?? DEFAULT_NAMESPACE;
    const account = { kind: "ServiceAccount", name: MIRROR, namespace };
    const role = pulumi.output(args.target).apply(credentialsRoleName);
    const permit = (part: string, where: pulumi.Input<string>, rules: PolicyRule[]) => {
      const metadata = { name: role, namespace: where, labels: labelsOf(PART, args.labels) };
      const made = new k8s.rbac.v1.Role(`${name}-${part}`, { metadata, rules }, { parent: this });
      const roleRef = { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: made.metadata.name };
      return [
        made,
        new k8s.rbac.v1.RoleBinding(
          `${name}-${part}`,
          { metadata, roleRef, subjects: [account] },
          { parent: this },
        ),
      ];
    };
    const secrets = { apiGroups: [""], resources: ["secrets"] };
    const own = permit("credentials", namespace, [
      { ...secrets, resourceNames: [secret], verbs: ["get", "list", "watch", "update", "patch"] },
    ]);
    if (args.dataPlane !== DataPlane.Linkerd) return own;
    const copy = permit("credentials-copy", args.linkerdNamespace ?? LINKERD_NAMESPACE, [
      { ...secrets, resourceNames: [secret], verbs: ["get", "delete"] },
      // RBAC cannot name what is not there yet.
      { ...secrets, verbs: ["create"] },
    ]);
    return [...own, ...copy];
  }
}

const kubeconfigText: rules.Rule = {
  allowed: "the text of a kubeconfig, not the path of one",
  secret: true,
  test: (value) => typeof value === "string" && value.includes("clusters"),
};

const endpoint: rules.Rule = {
  allowed:
    "where a gateway is reached: { addresses: [IP address or host name], port: 1 to 65535, identity: DNS name, probe }, with service: { namespace, name } where it is to be followed",
  test: (value) => {
    const given = value as Partial<GatewayEndpoint>;
    return (
      typeof value === "object" &&
      rules.addresses.test(given.addresses) &&
      rules.portNumber.test(given.port) &&
      rules.dnsName.test(given.identity) &&
      (given.service === undefined || isServiceReference(given.service))
    );
  },
};

function isServiceReference({ namespace, name }: { namespace?: unknown; name?: unknown }): boolean {
  return rules.dnsLabel.test(namespace) && rules.dnsLabel.test(name);
}
