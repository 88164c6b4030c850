import * as pulumi from "@pulumi/pulumi";
import { Cluster, ExportedService, GatewayExposure, RemoteAccess } from "../components/index.ts";
import { MESH_LABEL } from "../contract/index.ts";
import { across, present } from "./across.ts";
import type { Mesh, MeshCluster } from "./mesh.ts";
import type { ClusterOutputs, TrustOutputs } from "./outputs.ts";
import { sourcesOf, trustStack } from "./plan.ts";
import { accessOf, apiServerFor, nodeAddresses, preflight } from "./preflight.ts";
import { type Outputs, providerOf } from "./program.ts";

/**
 * The stack `<mesh>-cluster-<name>`: all that stands in one cluster but its links, which need the other clusters first.
 */
export async function cluster(mesh: Mesh, member: MeshCluster): Promise<Outputs<ClusterOutputs>> {
  await preflight(mesh, [member.name]);
  const access = accessOf(mesh, member);
  const stack = trustStack(mesh);
  const trust = await across<TrustOutputs>(stack);
  const issuer = present(
    trust.get("issuers").apply((issuers) => issuers[member.name]),
    stack,
    `issuer for the cluster ${member.name}`,
  );
  const labels = { [MESH_LABEL]: mesh.name };
  const providers = [providerOf(mesh, member)];
  const { gateway } = member;
  const reachable =
    gateway.exposure === GatewayExposure.NodePort && !gateway.addresses
      ? { ...gateway, addresses: await nodeAddresses(member.name, access) }
      : gateway;

  const made = new Cluster(
    mesh.name,
    {
      clusterName: member.name,
      trustDomain: mesh.trustDomain,
      trustBundle: trust.get("trustBundle"),
      issuer,
      namespace: mesh.namespace,
      gateway: reachable,
      controller: member.controller,
      images: mesh.images,
      labels,
    },
    { providers },
  );
  const remoteAccess = sourcesOf(mesh, member.name).map((source) => {
    const { namespace, serviceAccount } = new RemoteAccess(
      `${mesh.name}-access-${source}`,
      { source, namespace: made.namespace, labels },
      { providers },
    );
    return [source, pulumi.output({ namespace, serviceAccount })] as const;
  });
  for (const entry of mesh.exports.filter((entry) => entry.cluster === member.name)) {
    const { service, namespace, allowedClusters } = entry;
    new ExportedService(
      `${mesh.name}-export-${namespace}-${service}`,
      {
        service,
        namespace,
        ...(allowedClusters ? { allowedClusters } : {}),
      },
      { providers },
    );
  }

  return {
    cluster: pulumi.output(member.name),
    gateway: made.gateway,
    apiServer: pulumi.output(apiServerFor(mesh, member)),
    remoteAccess: pulumi.output(Object.fromEntries(remoteAccess)),
  };
}
