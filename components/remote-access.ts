import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import {
  DEFAULT_NAMESPACE,
  remoteAccessName,
  SOURCE_LABEL,
  TOKEN_LIFETIME_SECONDS,
} from "../contract/index.ts";
import { makeAccount } from "./account.ts";
import { labelsOf } from "./labels.ts";
import { checked, clusterName, dnsLabel, type Rule, required } from "./validation.ts";

/** Arguments of a `RemoteAccess`. */
export interface RemoteAccessArgs {
  /** Name of the cluster that is let in. */
  source: pulumi.Input<string>;
  /**
   * The namespace of Isthmus in this cluster; it must be there.
   *
   * @default "isthmus"
   */
  namespace?: pulumi.Input<string>;
  /**
   * Longest life of a token that an operator asks for, in seconds.
   *
   * @default 604800 (a week)
   */
  maxTokenLifetimeSeconds?: pulumi.Input<number>;
  /**
   * Longest life of a token that the account asks for itself, in seconds: what a stolen token can buy.
   *
   * @default 604800 (a week)
   */
  maxRenewedTokenLifetimeSeconds?: pulumi.Input<number>;
  /**
   * Labels for every object that is made.
   *
   * @default none
   */
  labels?: pulumi.Input<{ [key: string]: pulumi.Input<string> }>;
}

const PART = "remote-access";

const lifetime: Rule = {
  allowed: "a number of seconds from 600, the shortest life that Kubernetes gives a token, to 4294967296",
  test: (value) => Number.isInteger(value) && Number(value) >= 600 && Number(value) <= 2 ** 32,
};

/**
 * Lets one other cluster, a source, read the exported services of this one: a ServiceAccount, what it may do, and a policy
 * that caps the life of its tokens (Kubernetes 1.30 or newer). Deleting it revokes every token at once, and the ingress
 * then refuses the source.
 */
export class RemoteAccess extends pulumi.ComponentResource {
  /** Namespace of the ServiceAccount. */
  public readonly namespace: pulumi.Output<string>;
  /** Name of the ServiceAccount. Known once it may do its work. */
  public readonly serviceAccount: pulumi.Output<string>;

  constructor(name: string, args: RemoteAccessArgs, opts?: pulumi.ComponentResourceOptions) {
    const valid = checked("RemoteAccess", name, args, {
      source: required(clusterName),
      namespace: dnsLabel,
      maxTokenLifetimeSeconds: lifetime,
      maxRenewedTokenLifetimeSeconds: lifetime,
    });
    super("isthmus:index:RemoteAccess", name, valid, opts);
    const child = { parent: this };
    const namespace = valid.namespace ?? DEFAULT_NAMESPACE;
    const accountName = pulumi.output(valid.source).apply(remoteAccessName);
    const account = makeAccount(
      name,
      {
        account: accountName,
        namespace,
        part: PART,
        labels: valid.labels,
        accountLabels: { [SOURCE_LABEL]: valid.source },
        clusterRules: [
          { apiGroups: [""], resources: ["services"], verbs: ["get", "list", "watch"] },
          { apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"], verbs: ["get", "list", "watch"] },
        ],
        namespaceRules: [
          {
            apiGroups: [""],
            resources: ["serviceaccounts/token"],
            resourceNames: [accountName],
            verbs: ["create"],
          },
        ],
      },
      child,
    );
    const policy = new k8s.admissionregistration.v1.ValidatingAdmissionPolicy(
      name,
      {
        metadata: { name: accountName, labels: labelsOf(PART, valid.labels) },
        spec: tokenPolicy(
          accountName,
          namespace,
          valid.maxTokenLifetimeSeconds ?? TOKEN_LIFETIME_SECONDS,
          valid.maxRenewedTokenLifetimeSeconds ?? TOKEN_LIFETIME_SECONDS,
        ),
      },
      child,
    );
    const binding = new k8s.admissionregistration.v1.ValidatingAdmissionPolicyBinding(
      name,
      {
        metadata: { name: accountName, labels: labelsOf(PART, valid.labels) },
        spec: { policyName: policy.metadata.name, validationActions: ["Deny"] },
      },
      child,
    );
    const ready = pulumi.all([...account.resources, binding].map((resource) => resource.urn));
    this.namespace = account.namespace;
    this.serviceAccount = pulumi.all([account.name, ready]).apply(([serviceAccount]) => serviceAccount);
    this.registerOutputs({ namespace: this.namespace, serviceAccount: this.serviceAccount });
  }
}

/**
 * Caps the life of the tokens of one account. Without it a stolen token, which may ask for its own successor, would buy
 * itself a year.
 */
function tokenPolicy(
  account: pulumi.Output<string>,
  namespace: pulumi.Input<string>,
  others: pulumi.Input<number>,
  itself: pulumi.Input<number>,
): pulumi.Output<k8s.types.input.admissionregistration.v1.ValidatingAdmissionPolicySpec> {
  return pulumi.all([account, namespace, others, itself]).apply(([name, home, most, renewed]) => ({
    failurePolicy: "Fail",
    matchConstraints: {
      namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": home } },
      resourceRules: [
        {
          apiGroups: [""],
          apiVersions: ["v1"],
          operations: ["CREATE"],
          resources: ["serviceaccounts/token"],
          resourceNames: [name],
        },
      ],
    },
    variables: [
      {
        name: "most",
        expression: `request.userInfo.username == "system:serviceaccount:${home}:${name}" ? ${renewed} : ${most}`,
      },
    ],
    validations: [
      {
        expression: "object.spec.expirationSeconds <= variables.most",
        messageExpression: `"a token of ${name} may live " + string(variables.most) + " s at most for this user, not " + string(object.spec.expirationSeconds) + " s"`,
        reason: "Invalid",
      },
    ],
  }));
}
