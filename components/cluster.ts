import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { DEFAULT_NAMESPACE, gatewayIdentity } from "../contract/index.ts";
import { type ControllerSettingsArgs, controllerRules } from "./controller-settings.ts";
import { linkDefinition } from "./crd.ts";
import { Gateway, type GatewayEndpoint } from "./gateway.ts";
import { type GatewaySettingsArgs, gatewayRules } from "./gateway-settings.ts";
import { type ImagesArgs, imagesRule } from "./images.ts";
import { labelsOf } from "./labels.ts";
import { MirrorController } from "./mirror-controller.ts";
import { RESTRICTED } from "./pod.ts";
import type { Issuer } from "./trust-anchor.ts";
import * as rules from "./validation.ts";
import { checked, required } from "./validation.ts";

/** Arguments of a `Cluster`. */
export interface ClusterArgs {
  /** Name of the cluster in the mesh. */
  clusterName: pulumi.Input<string>;
  /** The DNS name that all identities of the mesh end in. */
  trustDomain: pulumi.Input<string>;
  /** Certificates of the trust anchors, PEM: `TrustAnchor.trustBundle`. */
  trustBundle: pulumi.Input<string>;
  /** The cluster's issuer, one of `TrustAnchor.issuers`. A secret. */
  issuer: pulumi.Input<Issuer>;
  /**
   * The namespace to make for Isthmus.
   *
   * @default "isthmus"
   */
  namespace?: pulumi.Input<string>;
  /** @default a load balancer and two pods each of ingress and egress */
  gateway?: GatewaySettingsArgs;
  /** @default one pod that logs at `info` */
  controller?: ControllerSettingsArgs;
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
 * Everything a cluster needs to take part in a mesh: the namespace, the definition of `Link`, the gateway and the mirror
 * controller. Who may call in is a `RemoteAccess` each; where it calls out to is a `Link` each.
 */
export class Cluster extends pulumi.ComponentResource {
  /** Name of the cluster in the mesh. */
  public readonly clusterName: pulumi.Output<string>;
  /** The namespace of Isthmus in the cluster. */
  public readonly namespace: pulumi.Output<string>;
  /** Where other clusters reach the gateway. */
  public readonly gateway: pulumi.Output<GatewayEndpoint>;

  constructor(name: string, args: ClusterArgs, opts?: pulumi.ComponentResourceOptions) {
    const valid = checked("Cluster", name, args, {
      clusterName: required(rules.clusterName),
      trustDomain: required(rules.dnsName),
      trustBundle: required(rules.certificates),
      issuer: required(rules.issuer),
      namespace: rules.dnsLabel,
      images: imagesRule,
    });
    const { gateway: settings = {}, controller = {} } = valid;
    const gatewaySettings = checked("Cluster", name, settings, gatewayRules(settings), "gateway.");
    const controllerSettings = checked("Cluster", name, controller, controllerRules, "controller.");
    const issuer = pulumi.secret(valid.issuer);
    super("isthmus:index:Cluster", name, { ...valid, issuer }, opts);
    const { labels, images } = valid;
    const home = new k8s.core.v1.Namespace(
      `${name}-namespace`,
      {
        metadata: {
          name: valid.namespace ?? DEFAULT_NAMESPACE,
          labels: labelsOf("namespace", labels).apply((all) => ({ ...all, ...RESTRICTED })),
        },
      },
      { parent: this },
    );
    const definition = linkDefinition();
    const links = new k8s.apiextensions.v1.CustomResourceDefinition(
      `${name}-links`,
      {
        ...definition,
        metadata: { ...definition.metadata, labels: labelsOf("definitions", labels) },
      },
      { parent: this },
    );

    const namespace = home.metadata.name;
    const identity = pulumi
      .all([valid.clusterName, valid.trustDomain])
      .apply(([cluster, domain]) => gatewayIdentity(cluster, domain));
    // Both watch Links from their start.
    const child = { parent: this, dependsOn: [home, links] };
    const gateway = new Gateway(
      `${name}-gateway`,
      {
        ...gatewaySettings,
        identity,
        namespace,
        trustBundle: valid.trustBundle,
        issuer,
        ...(images === undefined ? {} : { images }),
        ...(labels === undefined ? {} : { labels }),
      },
      child,
    );
    new MirrorController(
      `${name}-mirror`,
      {
        ...controllerSettings,
        namespace,
        ...(gatewaySettings.egressPorts && { egressPorts: gatewaySettings.egressPorts }),
        ...(images === undefined ? {} : { images }),
        ...(labels === undefined ? {} : { labels }),
      },
      child,
    );
    this.clusterName = pulumi.output(valid.clusterName);
    this.namespace = namespace;
    this.gateway = gateway.endpoint;
    this.registerOutputs({
      clusterName: this.clusterName,
      namespace: this.namespace,
      gateway: this.gateway,
    });
  }
}
