import type { Link, LinkSpec } from "../../contract/index.ts";
import type { Pod, Service, ServicePort } from "../../controller/kube/objects.ts";
import type { MirrorPolicy } from "../../controller/mirror/desired.ts";

/** A Link as the API server hands it out, to cluster `remote` unless told otherwise. */
export function aLink(spec: Partial<LinkSpec> = {}, metadata: Partial<Link["metadata"]> = {}): Link {
  return {
    apiVersion: "isthmus.dev/v1alpha1",
    kind: "Link",
    metadata: {
      namespace: "isthmus",
      name: "remote",
      uid: "11111111-1111-1111-1111-111111111111",
      generation: 1,
      creationTimestamp: "2026-01-01T00:00:00Z",
      ...metadata,
    },
    spec: {
      targetClusterName: "remote",
      targetClusterDomain: "cluster.local",
      clusterCredentialsSecret: "cluster-credentials-remote",
      gatewayAddresses: ["192.0.2.127"],
      gatewayPort: 4143,
      gatewayIdentity: "gateway.remote.demo.mesh",
      ...spec,
    },
  };
}

/** An exported Service of the target. */
export function anExport(
  name = "service-one",
  options: {
    namespace?: string;
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
    ports?: ServicePort[];
    spec?: Service["spec"];
  } = {},
): Service {
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: {
      namespace: options.namespace ?? "ns1",
      name,
      uid: `uid-${name}`,
      resourceVersion: "111",
      labels: { "mirror.linkerd.io/exported": "true", ...options.labels },
      annotations: options.annotations ?? {},
    },
    spec: {
      clusterIP: "10.0.0.1",
      ports: options.ports ?? [
        { name: "port1", port: 555, protocol: "TCP" },
        { name: "port2", port: 666, protocol: "TCP" },
      ],
      ...options.spec,
    },
  };
}

/** An egress pod whose containers are ready. */
export function anEgressPod(name: string, ip: string, changes: Partial<Pod["metadata"]> = {}): Pod {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      namespace: "isthmus",
      name,
      labels: { "app.kubernetes.io/component": "gateway-egress" },
      ...changes,
    },
    spec: { readinessGates: [{ conditionType: "isthmus.dev/in-slices" }] },
    status: {
      phase: "Running",
      podIP: ip,
      podIPs: [{ ip }],
      conditions: [{ type: "ContainersReady", status: "True" }],
    },
  };
}

export const standalone: MirrorPolicy = {
  dataPlane: "standalone",
  namespace: "isthmus",
  localExclusions: {},
  protectedNamespaces: new Set(["kube-system"]),
};

export const meshed: MirrorPolicy = { ...standalone, dataPlane: "linkerd" };

/** Addresses that calls may go to. */
export function ready(...ips: string[]): { ip: string; ready: boolean }[] {
  return ips.map((ip) => ({ ip, ready: true }));
}

/** The Service of a target's gateway, behind a load balancer. */
export function aGatewayService(
  options: {
    name?: string;
    identity?: string;
    ingress?: { ip?: string; hostname?: string }[];
    spec?: Service["spec"];
  } = {},
): Service {
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: {
      namespace: "isthmus",
      name: options.name ?? "isthmus-gateway",
      annotations: { "mirror.linkerd.io/gateway-identity": options.identity ?? "gateway.remote.demo.mesh" },
    },
    spec: {
      type: "LoadBalancer",
      ports: [
        { name: "mc-gateway", port: 4143, protocol: "TCP" },
        { name: "mc-probe", port: 4191, protocol: "TCP" },
      ],
      ...options.spec,
    },
    status: { loadBalancer: { ingress: options.ingress ?? [{ ip: "203.0.113.1" }] } },
  };
}
