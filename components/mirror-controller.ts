import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import {
  COMPONENT,
  DEFAULT_NAMESPACE,
  EMPTINESS_QUOTA,
  LINK_GROUP,
  LINKERD_NAMESPACE,
  MIRROR,
  STANDARD_CONFIG_MAPS,
  STANDARD_SERVICE_ACCOUNTS,
} from "../contract/index.ts";
import { makeAccount } from "./account.ts";
import { type ControllerSettingsArgs, controllerRules, controllerVariables } from "./controller-settings.ts";
import { egressPortsRule, egressPortsVariable, type PortRangeArgs } from "./egress-ports.ts";
import { type ImagesArgs, imagesOf, imagesRule } from "./images.ts";
import { labelsOf, partLabels } from "./labels.ts";
import { ADMIN, LOCKED, POD, requests, spread, variable } from "./pod.ts";
import { checked, dnsLabel, oneOf } from "./validation.ts";

/** What carries the traffic of mirrors. */
export const DataPlane = {
  /** The gateway of Isthmus. */
  Standalone: "standalone",
  /** Linkerd's proxies, in a cluster that has Linkerd. */
  Linkerd: "linkerd",
} as const;

/** What carries the traffic of mirrors. */
export type DataPlane = (typeof DataPlane)[keyof typeof DataPlane];

/** Arguments of a `MirrorController`. */
export interface MirrorControllerArgs extends ControllerSettingsArgs {
  /**
   * The namespace of Isthmus in the cluster; it must be there.
   *
   * @default "isthmus"
   */
  namespace?: pulumi.Input<string>;
  /** @default DataPlane.Standalone */
  dataPlane?: pulumi.Input<DataPlane>;
  /**
   * The namespace of Linkerd's control plane, which gets copies of the credentials with `DataPlane.Linkerd`.
   *
   * @default "linkerd"
   */
  linkerdNamespace?: pulumi.Input<string>;
  /**
   * The ports of the egress, one for each port of each mirror: those of the cluster's `Gateway`.
   *
   * @default 20000 to 28191
   */
  egressPorts?: pulumi.Input<PortRangeArgs>;
  /** @default the images of this version */
  images?: pulumi.Input<ImagesArgs>;
  /**
   * Labels for every object that is made.
   *
   * @default none
   */
  labels?: pulumi.Input<{ [key: string]: pulumi.Input<string> }>;
}

/**
 * The controller that keeps the mirrors of all of a cluster's links. The definition of `Link` must be in the cluster:
 * `Cluster` sees to both.
 */
export class MirrorController extends pulumi.ComponentResource {
  /** Name of the Deployment, known once it is rolled out. */
  public readonly deployment: pulumi.Output<string>;

  constructor(name: string, args: MirrorControllerArgs, opts?: pulumi.ComponentResourceOptions) {
    const valid = checked("MirrorController", name, args, {
      namespace: dnsLabel,
      dataPlane: oneOf(DataPlane),
      linkerdNamespace: dnsLabel,
      egressPorts: egressPortsRule,
      images: imagesRule,
      ...controllerRules,
    });
    super("isthmus:index:MirrorController", name, valid, opts);
    const child = { parent: this };
    const namespace = valid.namespace ?? DEFAULT_NAMESPACE;
    const labels = labelsOf(COMPONENT.mirror, valid.labels);
    const images = imagesOf(valid.images);
    const metadata = { name: MIRROR, namespace, labels };
    const selector = { matchLabels: partLabels(COMPONENT.mirror) };
    const account = makeAccount(
      name,
      {
        account: MIRROR,
        namespace,
        part: COMPONENT.mirror,
        labels: valid.labels,
        clusterRules: pulumi
          .output(valid.createNamespaces)
          .apply((make) => (make ? [...CLUSTER_RULES, ...NAMESPACE_MAKER_RULES] : CLUSTER_RULES)),
        namespaceRules: NAMESPACE_RULES,
      },
      child,
    );
    const deployment = new k8s.apps.v1.Deployment(
      name,
      {
        metadata,
        spec: {
          replicas: valid.replicas ?? 1,
          selector,
          template: {
            metadata: { labels },
            spec: {
              ...POD,
              serviceAccountName: account.name,
              containers: [
                {
                  name: "mirror",
                  image: images.controller,
                  imagePullPolicy: images.pullPolicy,
                  args: ["mirror"],
                  env: [
                    variable("NAMESPACE", namespace),
                    variable("DATA_PLANE", valid.dataPlane ?? DataPlane.Standalone),
                    variable("LINKERD_NAMESPACE", valid.linkerdNamespace ?? LINKERD_NAMESPACE),
                    ...controllerVariables(valid),
                    ...egressPortsVariable(valid.egressPorts),
                  ],
                  ...ADMIN,
                  ...requests("50m", "96Mi"),
                  securityContext: LOCKED,
                },
              ],
              ...spread(selector.matchLabels),
            },
          },
        },
      },
      { ...child, dependsOn: account.resources },
    );
    new k8s.policy.v1.PodDisruptionBudget(name, { metadata, spec: { maxUnavailable: 1, selector } }, child);
    this.deployment = deployment.metadata.name;
    this.registerOutputs({ deployment: this.deployment });
  }
}

type PolicyRule = k8s.types.input.rbac.v1.PolicyRule;

const READ = ["get", "list", "watch"];
const WRITE = ["create", "update", "patch", "delete"];

/** Mirrors stand in the namespaces of the services they mirror: in any. `docs/controller.md` says what each is for. */
const CLUSTER_RULES: PolicyRule[] = [
  { apiGroups: [""], resources: ["services"], verbs: [...READ, ...WRITE] },
  { apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"], verbs: [...READ, ...WRITE] },
  { apiGroups: [""], resources: ["namespaces"], verbs: READ },
];

/** Which of the namespaces made are empty, it learns from a quota: it cannot read what others have in them. */
const NAMESPACE_MAKER_RULES: PolicyRule[] = [
  { apiGroups: [""], resources: ["namespaces"], verbs: ["create", "delete"] },
  { apiGroups: [""], resources: ["resourcequotas"], verbs: ["create"] },
  {
    apiGroups: [""],
    resources: ["resourcequotas"],
    resourceNames: [EMPTINESS_QUOTA],
    verbs: ["get", "update", "delete"],
  },
  {
    apiGroups: [""],
    resources: ["configmaps"],
    resourceNames: [...STANDARD_CONFIG_MAPS],
    verbs: ["get"],
  },
  {
    apiGroups: [""],
    resources: ["serviceaccounts"],
    resourceNames: [...STANDARD_SERVICE_ACCOUNTS],
    verbs: ["get"],
  },
];

/** No Secret is among them: each link brings the permission for its own credentials. */
const NAMESPACE_RULES: PolicyRule[] = [
  { apiGroups: [LINK_GROUP], resources: ["links"], verbs: [...READ, "update", "patch"] },
  {
    apiGroups: [LINK_GROUP],
    resources: ["links/status", "links/finalizers"],
    verbs: ["get", "update", "patch"],
  },
  { apiGroups: [""], resources: ["pods"], verbs: READ },
  { apiGroups: [""], resources: ["pods/status"], verbs: ["patch"] },
  { apiGroups: [""], resources: ["events"], verbs: ["create", "patch"] },
  { apiGroups: ["coordination.k8s.io"], resources: ["leases"], verbs: ["get", "create", "update", "patch"] },
];
