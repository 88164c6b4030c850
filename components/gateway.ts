import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import {
  COMPONENT,
  DEFAULT_NAMESPACE,
  GATEWAY_IDENTITY_ANNOTATION,
  GATEWAY_PORT,
  GATEWAY_SERVICE,
  PROBE_PATH,
  PROBE_PATH_ANNOTATION,
  PROBE_PERIOD_ANNOTATION,
  PROBE_PORT,
} from "../contract/index.ts";
import { makeAccount } from "./account.ts";
import { GatewayExposure, isFollowed, reachedAt, servicePorts } from "./exposure.ts";
import { EGRESS_WAY, gatewayPod, INGRESS_WAY, type Way } from "./gateway-pod.ts";
import { type GatewaySettingsArgs, gatewayRules } from "./gateway-settings.ts";
import { Identity } from "./identity.ts";
import { type Images, type ImagesArgs, imagesOf, imagesRule } from "./images.ts";
import { labelsOf, partLabels } from "./labels.ts";
import type { Issuer } from "./trust-anchor.ts";
import * as rules from "./validation.ts";
import { checked, required } from "./validation.ts";

/** How a gateway is probed from other clusters. */
export interface GatewayProbe {
  /** Path of the request, answered with 200 by a gateway that can serve. */
  path: string;
  /** Port of the gateway that answers. */
  port: number;
  /** Time from one probe to the next, such as `3s`. */
  period: string;
}

/** Where other clusters reach a gateway, and whom they must find there. */
export interface GatewayEndpoint {
  /** IP addresses or host names. */
  addresses: string[];
  /** Port for calls. */
  port: number;
  /** The DNS name that the gateway proves by its certificate. */
  identity: string;
  probe: GatewayProbe;
  /**
   * The gateway's Service, for links to follow the addresses of its load balancer.
   *
   * @default none: the addresses stay as they are
   */
  service?: GatewayServiceReference;
}

/** The Service of a gateway. */
export interface GatewayServiceReference {
  namespace: string;
  name: string;
}

/** Arguments of a `Gateway`. */
export interface GatewayArgs extends GatewaySettingsArgs {
  /** The DNS name that the gateway proves by its certificate: `gateway.<cluster>.<trust domain>`. */
  identity: pulumi.Input<string>;
  /** Certificates of the trust anchors, PEM: `TrustAnchor.trustBundle`. */
  trustBundle: pulumi.Input<string>;
  /** The cluster's issuer, one of `TrustAnchor.issuers`. A secret. */
  issuer: pulumi.Input<Issuer>;
  /**
   * The namespace of Isthmus in the cluster; it must be there.
   *
   * @default "isthmus"
   */
  namespace?: pulumi.Input<string>;
  /** @default the images of this version */
  images?: pulumi.Input<ImagesArgs>;
  /**
   * Labels for every object that is made.
   *
   * @default none
   */
  labels?: pulumi.Input<{ [key: string]: pulumi.Input<string> }>;
}

const PROBE_PERIOD_SECONDS = 3;

/**
 * The way into and out of a cluster: HAProxy in two Deployments, ingress and egress, with the Deployment that signs their
 * certificates. Between clusters everything is mutual TLS; the hops inside a cluster are as the cluster's own traffic is.
 *
 * One a cluster: its objects have fixed names.
 */
export class Gateway extends pulumi.ComponentResource {
  /** Where other clusters reach it, and whom they must find there: what a `Link` takes. */
  public readonly endpoint: pulumi.Output<GatewayEndpoint>;

  constructor(name: string, args: GatewayArgs, opts?: pulumi.ComponentResourceOptions) {
    const valid = checked("Gateway", name, args, {
      identity: required(rules.dnsName),
      trustBundle: required(rules.certificates),
      issuer: required(rules.issuer),
      namespace: rules.dnsLabel,
      images: imagesRule,
      ...gatewayRules(args),
    });
    const issuer = pulumi.secret(valid.issuer);
    super("isthmus:index:Gateway", name, { ...valid, issuer }, opts);

    const { identity, labels, trustBundle } = valid;
    const namespace = valid.namespace ?? DEFAULT_NAMESPACE;
    const images = imagesOf(valid.images);
    new Identity(
      `${name}-identity`,
      { namespace, identity, trustBundle, issuer, images, labels },
      { parent: this },
    );
    this.way(`${name}-ingress`, INGRESS_WAY, namespace, images, valid);
    this.way(`${name}-egress`, EGRESS_WAY, namespace, images, valid);

    const exposure = pulumi.output(valid.exposure ?? GatewayExposure.LoadBalancer);
    const ports = pulumi.output({
      port: valid.port ?? GATEWAY_PORT,
      probePort: valid.probePort ?? PROBE_PORT,
      nodePort: valid.nodePort,
      probeNodePort: valid.probeNodePort,
    });
    const service = new k8s.core.v1.Service(
      `${name}-service`,
      {
        metadata: {
          name: GATEWAY_SERVICE,
          namespace,
          labels: labelsOf(COMPONENT.ingress, labels),
          annotations: pulumi.all([valid.serviceAnnotations ?? {}, identity]).apply(([added, name]) => ({
            ...added,
            [GATEWAY_IDENTITY_ANNOTATION]: name,
            [PROBE_PATH_ANNOTATION]: PROBE_PATH,
            [PROBE_PERIOD_ANNOTATION]: String(PROBE_PERIOD_SECONDS),
          })),
        },
        spec: {
          type: exposure,
          selector: partLabels(COMPONENT.ingress),
          ports: pulumi.all([exposure, ports]).apply(([type, numbers]) => servicePorts(type, numbers)),
        },
      },
      { parent: this },
    );

    this.endpoint = pulumi
      // The id is unknown until the Service is there: in the preview of a new gateway, so is where it is reached.
      .all([service.id, exposure, ports, valid.addresses, service.spec, service.status, identity, namespace])
      .apply(([, type, numbers, given, spec, status, proved, home]) => {
        const at = reachedAt(type, numbers, given, {
          clusterIP: spec?.clusterIP,
          ports: spec?.ports,
          ingress: status?.loadBalancer?.ingress,
        });
        const probe = { path: PROBE_PATH, port: at.probePort, period: `${PROBE_PERIOD_SECONDS}s` };
        return {
          ...{ addresses: at.addresses, port: at.port, identity: proved, probe },
          ...(isFollowed(type, given) ? { service: { namespace: home, name: GATEWAY_SERVICE } } : {}),
        };
      });
    this.registerOutputs({ endpoint: this.endpoint });
  }

  private way(
    name: string,
    way: Way,
    namespace: pulumi.Input<string>,
    images: Images,
    args: GatewayArgs,
  ): void {
    const { component, clusterRules, namespaceRules } = way;
    const labels = labelsOf(component, args.labels);
    const metadata = { name: way.name, namespace, labels };
    const selector = { matchLabels: partLabels(component) };
    const account = makeAccount(
      name,
      { account: way.name, namespace, part: component, labels: args.labels, clusterRules, namespaceRules },
      { parent: this },
    );
    new k8s.apps.v1.Deployment(
      name,
      {
        metadata,
        spec: {
          replicas: args.replicas ?? 2,
          strategy: { type: "RollingUpdate", rollingUpdate: { maxUnavailable: 0, maxSurge: 1 } },
          selector,
          template: {
            metadata: { labels },
            spec: gatewayPod(way, {
              ...{ namespace, identity: args.identity, images },
              egressPorts: args.egressPorts,
            }),
          },
        },
      },
      { parent: this, dependsOn: account.resources },
    );
    new k8s.policy.v1.PodDisruptionBudget(
      name,
      { metadata, spec: { maxUnavailable: 1, selector } },
      { parent: this },
    );
  }
}
