import {
  ALLOWED_CLUSTERS_ANNOTATION,
  EGRESS_PORTS_ANNOTATION,
  EXPORTED_LABEL,
  FEDERATED_BY_LABEL,
  federatedName,
  GATEWAY_ANNOTATION,
  gatewayIdentity,
  LINK_LABEL,
  type Link,
  type LinkGatewayStatus,
  linkLabelValue,
  MANAGED_BY_LABEL,
  MANAGER,
  MEMBER_PORTS_PREFIX,
  MIRRORED_LABEL,
  podMirrorName,
  REMOTE_HOST_ANNOTATION,
  REMOTE_SERVICE_ANNOTATION,
  routeServerName,
  SERVICE_NAME_LABEL,
  SOURCE_LABEL,
} from "../../contract/index.ts";
import type { EndpointSlice, Service, ServiceAccount } from "../../controller/kube/objects.ts";

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

/** The same Service without an address of its own. */
export function headless(service: Service): Service {
  return { ...service, spec: { ...service.spec, clusterIP: "None" } };
}

/** A slice of a Service whose hosts take calls to its first port at `port`. */
export function sliceOf(service: Service, port: number, slice: Partial<EndpointSlice>): EndpointSlice {
  const { namespace, name } = service.metadata;
  return {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: {
      namespace: namespace!,
      name: `${name}-abcde`,
      labels: { ...service.metadata.labels, [SERVICE_NAME_LABEL]: name },
    },
    addressType: "IPv4",
    ports: [{ name: service.spec!.ports![0]!.name ?? "", port, protocol: "TCP" }],
    ...slice,
  };
}

/** The mirror of one host of a headless Service. */
export function podMirrorOf(service: Service, host: string, cluster: string, egressPort: number): Service {
  const mirror = mirrorOf(service, cluster, egressPort);
  mirror.metadata.name = podMirrorName(host, cluster);
  mirror.metadata.annotations![REMOTE_HOST_ANNOTATION] = host;
  return mirror;
}

/** A mirror whose exported Service chooses the gateway `<namespace>/<name>`. */
export function throughGateway(mirror: Service, gateway: string): Service {
  const annotations = { ...mirror.metadata.annotations, [GATEWAY_ANNOTATION]: gateway };
  return { ...mirror, metadata: { ...mirror.metadata, annotations } };
}

/** The federated Service of members of this name, with the egress port of each member by its cluster. */
export function federatedOf(service: Service, members: Record<string, number>): Service {
  const { namespace, name } = service.metadata;
  const port = service.spec!.ports![0]!.port;
  const memberPorts = Object.entries(members).map(([cluster, egressPort]) => [
    `${MEMBER_PORTS_PREFIX}${linkLabelValue({ namespace: NAMESPACE, name: cluster })}`,
    `${port}=${egressPort}`,
  ]);
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: {
      namespace: namespace!,
      name: federatedName(name),
      creationTimestamp: "2026-11-20T00:00:00Z",
      labels: {
        [MIRRORED_LABEL]: "true",
        [MANAGED_BY_LABEL]: MANAGER,
        [FEDERATED_BY_LABEL]: NAMESPACE,
      },
      annotations: {
        [REMOTE_SERVICE_ANNOTATION]: `${namespace}/${name}`,
        ...Object.fromEntries(memberPorts),
      },
    },
    spec: { type: "ClusterIP", clusterIP: "10.0.0.2", ports: service.spec!.ports! },
  };
}

/** A Link of which the mirror controller has made out how these gateways are reached. */
export function linkWith(link: Link, ...gateways: LinkGatewayStatus[]): Link {
  return { ...link, status: { gateways } };
}
