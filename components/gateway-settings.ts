import type * as pulumi from "@pulumi/pulumi";
import { egressPortsRule, type PortRangeArgs } from "./egress-ports.ts";
import { GatewayExposure } from "./exposure.ts";
import * as rules from "./validation.ts";

/** How a cluster's gateway is exposed, and how much of it there is. */
export interface GatewaySettingsArgs {
  /** @default GatewayExposure.LoadBalancer */
  exposure?: pulumi.Input<GatewayExposure>;
  /**
   * IP addresses or host names that other clusters reach the gateway at. With exposure NodePort they must be given.
   *
   * @default what the Service says: the load balancer's addresses, or its cluster IP
   */
  addresses?: pulumi.Input<pulumi.Input<string>[]>;
  /**
   * Port of the gateway's Service for calls.
   *
   * @default 4143
   */
  port?: pulumi.Input<number>;
  /**
   * Port of the gateway's Service for probes.
   *
   * @default 4191
   */
  probePort?: pulumi.Input<number>;
  /**
   * Port of the nodes for calls.
   *
   * @default chosen by the cluster
   */
  nodePort?: pulumi.Input<number>;
  /**
   * Port of the nodes for probes.
   *
   * @default chosen by the cluster
   */
  probeNodePort?: pulumi.Input<number>;
  /**
   * Pods each of the ingress and of the egress.
   *
   * @default 2
   */
  replicas?: pulumi.Input<number>;
  /**
   * The ports of the egress, one for each port of each mirror.
   *
   * @default 20000 to 28191
   */
  egressPorts?: pulumi.Input<PortRangeArgs>;
  /**
   * Annotations of the gateway's Service, such as a cloud's load balancer wants them.
   *
   * @default none
   */
  serviceAnnotations?: pulumi.Input<{ [key: string]: pulumi.Input<string> }>;
}

/** What each of a gateway's settings may be. */
export function gatewayRules(settings: GatewaySettingsArgs): rules.Rules<GatewaySettingsArgs> {
  return {
    exposure: rules.oneOf(GatewayExposure),
    addresses: settings.exposure === GatewayExposure.NodePort ? nodeAddresses : rules.addresses,
    port: rules.portNumber,
    probePort: rules.portNumber,
    nodePort: rules.portNumber,
    probeNodePort: rules.portNumber,
    replicas: rules.positiveInteger,
    egressPorts: egressPortsRule,
  };
}

/** A node's port is no use without the nodes' addresses, and Kubernetes does not say which of them others can reach. */
const nodeAddresses: rules.Rule = {
  allowed: "a list of 1 to 16 IP addresses or host names of nodes, since the exposure is NodePort",
  required: true,
  test: (value) => rules.addresses.test(value) && (value as unknown[]).length > 0,
};
