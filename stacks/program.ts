import * as k8s from "@pulumi/kubernetes";
import type * as pulumi from "@pulumi/pulumi";
import type { Mesh, MeshCluster } from "./mesh.ts";

/** What a stack's program returns: its outputs, each as it becomes known. */
export type Outputs<T> = { [K in keyof T]: pulumi.Output<T[K]> };

/** What makes the objects of a cluster: by the path of the operator's kubeconfig, never by its content. */
export function providerOf(mesh: Mesh, cluster: MeshCluster): k8s.Provider {
  return new k8s.Provider(cluster.name, {
    ...(mesh.kubeconfig === undefined ? {} : { kubeconfig: mesh.kubeconfig }),
    context: cluster.context,
    // The same cluster stays the same, whatever context or file it is reached by.
    clusterIdentifier: `${mesh.name}/${cluster.name}`,
    enableServerSideApply: true,
    // A changed trust bundle or issuer is an update; replacing it would leave the gateways without one for a while.
    enableConfigMapMutable: true,
    enableSecretMutable: true,
  });
}
