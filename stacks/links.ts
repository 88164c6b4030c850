import * as pulumi from "@pulumi/pulumi";
import { linkCredentials } from "../components/credentials.ts";
import { Link } from "../components/index.ts";
import { MESH_LABEL } from "../contract/index.ts";
import { across, present } from "./across.ts";
import type { Mesh, MeshCluster } from "./mesh.ts";
import type { ClusterOutputs, LinksOutputs } from "./outputs.ts";
import { clusterStack, targetsOf } from "./plan.ts";
import { accessOf, preflight } from "./preflight.ts";
import { type Outputs, providerOf } from "./program.ts";

/** The stack `<mesh>-links-<name>`: the links of one source, from what its targets' stacks say. */
export async function links(mesh: Mesh, source: MeshCluster): Promise<Outputs<LinksOutputs>> {
  const targets = targetsOf(mesh, source.name).map(
    (name) => mesh.clusters.find((cluster) => cluster.name === name)!,
  );
  // The targets too: a first token is asked of each.
  await preflight(
    { ...mesh, exports: [] },
    [source, ...targets].map(({ name }) => name),
  );
  const providers = [providerOf(mesh, source)];
  const made: Record<string, pulumi.Output<{ name: string; namespace: string }>> = {};
  for (const target of targets) {
    const stack = clusterStack(mesh, target.name);
    const there = await across<ClusterOutputs>(stack);
    const account = present(
      there.get("remoteAccess").apply((all) => all[source.name]),
      stack,
      `remote access for the cluster ${source.name}`,
    );
    const kubeconfig = linkCredentials({
      source: { name: source.name, access: accessOf(mesh, source) },
      target: { name: target.name, access: accessOf(mesh, target), apiServer: there.get("apiServer") },
      namespace: mesh.namespace,
      account,
    });
    const { linkName, namespace } = new Link(
      `${mesh.name}-${target.name}`,
      {
        target: target.name,
        namespace: mesh.namespace,
        gateway: there.get("gateway"),
        kubeconfig,
        labels: { [MESH_LABEL]: mesh.name },
      },
      { providers },
    );
    made[target.name] = pulumi.output({ name: linkName, namespace });
  }
  return { links: pulumi.output(made) };
}
