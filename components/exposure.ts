import { GATEWAY_PORT_NAME, PROBE_PORT_NAME } from "../contract/index.ts";

/** How other clusters reach a gateway. */
export const GatewayExposure = {
  /** By a load balancer that the cluster's cloud provides. */
  LoadBalancer: "LoadBalancer",
  /** By a port of every node. */
  NodePort: "NodePort",
  /** By its address inside the cluster, where clusters share a network, or by addresses that you route yourself. */
  ClusterIP: "ClusterIP",
} as const;

/** How other clusters reach a gateway. */
export type GatewayExposure = (typeof GatewayExposure)[keyof typeof GatewayExposure];

/** Ports of a gateway's Service: `port` and `probePort` of the Service itself, the others of the nodes. */
export interface ExposedPorts {
  port: number;
  probePort: number;
  nodePort?: number | undefined;
  probeNodePort?: number | undefined;
}

/** Ports of the Service that exposes a gateway. */
export function servicePorts(exposure: GatewayExposure, ports: ExposedPorts) {
  const onNodes = exposure !== GatewayExposure.ClusterIP;
  const entry = (name: string, port: number, nodePort: number | undefined) => ({
    name,
    port,
    targetPort: name,
    protocol: "TCP",
    ...(onNodes && nodePort !== undefined ? { nodePort } : {}),
  });
  return [
    entry(GATEWAY_PORT_NAME, ports.port, ports.nodePort),
    entry(PROBE_PORT_NAME, ports.probePort, ports.probeNodePort),
  ];
}

/** As much of a Service as tells where it is reached. */
export interface ServiceState {
  clusterIP?: string | undefined;
  ports?: { name?: string | undefined; nodePort?: number | undefined }[] | undefined;
  ingress?: { ip?: string | undefined; hostname?: string | undefined }[] | undefined;
}

/** Where other clusters reach a gateway: addresses given by hand go before what the Service says. */
export function reachedAt(
  exposure: GatewayExposure,
  ports: ExposedPorts,
  given: string[] | undefined,
  service: ServiceState,
): { addresses: string[]; port: number; probePort: number } {
  const isNodePort = exposure === GatewayExposure.NodePort;
  const outside = (name: string, port: number, nodePort: number | undefined) =>
    isNodePort ? (nodePort ?? service.ports?.find((entry) => entry.name === name)?.nodePort ?? port) : port;
  return {
    addresses: given && given.length > 0 ? given : addressesOf(exposure, service),
    port: outside(GATEWAY_PORT_NAME, ports.port, ports.nodePort),
    probePort: outside(PROBE_PORT_NAME, ports.probePort, ports.probeNodePort),
  };
}

/** Whether the addresses are a load balancer's own, which may change: those given by hand are to stay. */
export function isFollowed(exposure: GatewayExposure, given: string[] | undefined): boolean {
  return exposure === GatewayExposure.LoadBalancer && !(given && given.length > 0);
}

function addressesOf(exposure: GatewayExposure, service: ServiceState): string[] {
  if (exposure === GatewayExposure.LoadBalancer) {
    return (service.ingress ?? []).flatMap((entry) => entry.ip ?? entry.hostname ?? []);
  }
  if (exposure === GatewayExposure.ClusterIP && service.clusterIP && service.clusterIP !== "None") {
    return [service.clusterIP];
  }
  return [];
}
