import {
  ALLOWED_CLUSTERS_ANNOTATION,
  EGRESS_PORTS_ANNOTATION,
  EXPORTED_LABEL,
  gatewayIdentity,
  LINK_LABEL,
  type Link,
  linkLabelValue,
  MANAGED_BY_LABEL,
  MANAGER,
  MIRRORED_LABEL,
  REMOTE_SERVICE_ANNOTATION,
  routeServerName,
  SOURCE_LABEL,
} from "../../contract/index.ts";
import type { Service, ServiceAccount } from "../../controller/kube/objects.ts";

/** The objects that gateways are told by, as the API server would have them. */

export const TRUST_DOMAIN = "demo.mesh";
export const NAMESPACE = "isthmus";

/** The identity of a cluster's gateway in these tests. */
export const identityOf = (cluster: string) => gatewayIdentity(cluster, TRUST_DOMAIN);

export interface ExportOptions {
  name?: string;
  port: number;
  allowed?: string;
  exported?: boolean;
  address?: string;
}

/** An exported Service whose cluster IP is on loopback. */
export function exportedService({
  name = "echo",
  port,
  allowed,
  exported = true,
  address,
}: ExportOptions): Service {
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: {
      namespace: "default",
      name,
      labels: exported ? { [EXPORTED_LABEL]: "true" } : {},
      ...(allowed !== undefined && { annotations: { [ALLOWED_CLUSTERS_ANNOTATION]: allowed } }),
    },
    spec: { type: "ClusterIP", clusterIP: address ?? "127.0.0.1", ports: [{ name: "tcp", port }] },
  };
}

export function remoteAccess(source: string): ServiceAccount {
  return {
    apiVersion: "v1",
    kind: "ServiceAccount",
    metadata: {
      namespace: NAMESPACE,
      name: `isthmus-remote-access-${source}`,
      labels: { [SOURCE_LABEL]: source },
    },
  };
}

/** A Link to the gateway of `cluster` on loopback. */
export function linkTo(cluster: string, port: number, addresses = ["127.0.0.1"]): Link {
  return {
    apiVersion: "isthmus.dev/v1alpha1",
    kind: "Link",
    metadata: { namespace: NAMESPACE, name: cluster },
    spec: {
      targetClusterName: cluster,
      clusterCredentialsSecret: `cluster-credentials-${cluster}`,
      gatewayAddresses: addresses,
      gatewayPort: port,
      gatewayIdentity: identityOf(cluster),
      probe: { period: "500ms", timeout: "2s", failureThreshold: 2 },
    },
  };
}

/** The mirror of an exported Service, as the mirror role writes it. */
export function mirrorOf(service: Service, cluster: string, egressPort: number): Service {
  const { namespace, name } = service.metadata;
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: {
      namespace: namespace!,
      name: `${name}-${cluster}`,
      creationTimestamp: "2026-11-20T00:00:00Z",
      labels: {
        [MIRRORED_LABEL]: "true",
        [MANAGED_BY_LABEL]: MANAGER,
        [LINK_LABEL]: linkLabelValue({ namespace: NAMESPACE, name: cluster }),
      },
      annotations: {
        [REMOTE_SERVICE_ANNOTATION]: `${namespace}/${name}`,
        [EGRESS_PORTS_ANNOTATION]: `${service.spec!.ports![0]!.port}=${egressPort}`,
      },
    },
    spec: { type: "ClusterIP", clusterIP: "10.0.0.1", ports: service.spec!.ports! },
  };
}

/** The server name of the first port of an exported Service. */
export function serverNameOf(service: Service, cluster: string): string {
  const { namespace, name } = service.metadata;
  const route = { namespace: namespace!, service: name, port: service.spec!.ports![0]!.port };
  return routeServerName(route, identityOf(cluster));
}
