import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { type Labels, labelsOf } from "./labels.ts";

type PolicyRule = k8s.types.input.rbac.v1.PolicyRule;

export interface AccountArgs {
  /** Name of the ServiceAccount and of every role and binding. */
  account: pulumi.Input<string>;
  namespace: pulumi.Input<string>;
  /** The part of Isthmus it is for. */
  part: string;
  /** What it may do in the whole cluster. */
  clusterRules?: pulumi.Input<PolicyRule[]>;
  /** What it may do in its own namespace. */
  namespaceRules?: PolicyRule[];
  /** More labels for the ServiceAccount alone. */
  accountLabels?: Labels;
  labels?: pulumi.Input<Labels> | undefined;
}

/** What was made: the ServiceAccount, and all of it, for those who must wait until it may do its work. */
export interface Account {
  name: pulumi.Output<string>;
  namespace: pulumi.Output<string>;
  resources: pulumi.Resource[];
}

/** A ServiceAccount with exactly the permissions given. Not a component: its objects belong to the caller's. */
export function makeAccount(name: string, args: AccountArgs, opts: pulumi.CustomResourceOptions): Account {
  const labels = labelsOf(args.part, args.labels);
  const metadata = { name: args.account, namespace: args.namespace, labels };
  const account = new k8s.core.v1.ServiceAccount(
    name,
    {
      metadata: {
        ...metadata,
        labels: pulumi.all([labels, args.accountLabels ?? {}]).apply(([all, own]) => ({ ...all, ...own })),
      },
    },
    opts,
  );
  const subjects = [{ kind: "ServiceAccount", name: args.account, namespace: args.namespace }];
  const resources: pulumi.Resource[] = [account];
  if (args.clusterRules) {
    const role = new k8s.rbac.v1.ClusterRole(
      name,
      { metadata: { name: args.account, labels }, rules: args.clusterRules },
      opts,
    );
    const roleRef = { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: role.metadata.name };
    resources.push(
      role,
      new k8s.rbac.v1.ClusterRoleBinding(
        name,
        { metadata: { name: args.account, labels }, roleRef, subjects },
        opts,
      ),
    );
  }
  if (args.namespaceRules) {
    const role = new k8s.rbac.v1.Role(name, { metadata, rules: args.namespaceRules }, opts);
    const roleRef = { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: role.metadata.name };
    resources.push(role, new k8s.rbac.v1.RoleBinding(name, { metadata, roleRef, subjects }, opts));
  }
  return { name: account.metadata.name, namespace: account.metadata.namespace, resources };
}
