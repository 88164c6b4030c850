import type * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { MESH_LABEL } from "../contract/index.ts";
import { Cluster } from "./cluster.ts";
import { type ControllerSettingsArgs, controllerRules } from "./controller-settings.ts";
import { linkCredentials } from "./credentials.ts";
import { ExportedService } from "./exported-service.ts";
import type { GatewayEndpoint } from "./gateway.ts";
import { type GatewaySettingsArgs, gatewayRules } from "./gateway-settings.ts";
import { type ImagesArgs, imagesRule } from "./images.ts";
import { type ApiServer, apiServerOf } from "./kubeconfig.ts";
import { Link } from "./link.ts";
import type { OperatorAccess } from "./operator.ts";
import { RemoteAccess } from "./remote-access.ts";
import { linksOf, type Topology, TopologyShape, topologyProblems } from "./topology.ts";
import { TrustAnchor } from "./trust-anchor.ts";
import * as rules from "./validation.ts";
import { ArgumentError, checked, required } from "./validation.ts";

/** A cluster of a mesh. */
export interface MeshClusterArgs {
  /** Its name in the mesh. Plain: it decides which resources there are. */
  name: string;
  /** What makes its resources. With `enableConfigMapMutable` and `enableSecretMutable`, or a changed trust bundle is replaced. */
  provider: k8s.Provider;
  /**
   * Context of the kubeconfig that reaches it: for its links' first tokens, which are asked for as you.
   *
   * @default its name
   */
  context?: string;
  /**
   * Path of that kubeconfig.
   *
   * @default KUBECONFIG, then `~/.kube/config`
   */
  kubeconfig?: string;
  /**
   * How the pods of other clusters reach its API server.
   *
   * @default as the kubeconfig does
   */
  apiServer?: pulumi.Input<ApiServer>;
  /** @default a load balancer and two pods each of ingress and egress */
  gateway?: GatewaySettingsArgs;
  /** @default one pod that logs at `info` */
  controller?: ControllerSettingsArgs;
}

/** A service that one cluster of a mesh lets others call. */
export interface MeshExportArgs {
  /** Name of the cluster that runs it. */
  cluster: string;
  namespace: string;
  /** Name of the Service. */
  service: string;
  /**
   * Names of the clusters that may call it.
   *
   * @default every cluster that is linked to its own
   */
  allowedClusters?: string[];
}

/** Arguments of a `Mesh`. */
export interface MeshArgs {
  /** The DNS name that all identities of the mesh end in, such as `demo.mesh`. */
  trustDomain: pulumi.Input<string>;
  /** The clusters. */
  clusters: MeshClusterArgs[];
  /** @default every cluster with every other */
  topology?: Topology;
  /** @default none */
  exports?: MeshExportArgs[];
  /**
   * The namespace to make for Isthmus in every cluster.
   *
   * @default "isthmus"
   */
  namespace?: pulumi.Input<string>;
  /** @default the images of this version */
  images?: pulumi.Input<ImagesArgs>;
}

/**
 * Clusters that call each other's services, all in one program: a trust anchor, every cluster, who may call whom, and what
 * is exported. Where one program must not hold every cluster's keys, run the stacks of `mesh.yaml` instead.
 */
export class Mesh extends pulumi.ComponentResource {
  /** Certificates of the trust anchors, PEM. */
  public readonly trustBundle: pulumi.Output<string>;
  /** Where each cluster's gateway is reached, by the cluster's name. */
  public readonly gateways: pulumi.Output<{ [cluster: string]: GatewayEndpoint }>;

  constructor(name: string, args: MeshArgs, opts?: pulumi.ComponentResourceOptions) {
    const names = (args.clusters ?? []).map((cluster) => cluster.name);
    const topology = args.topology ?? { shape: TopologyShape.FullMesh };
    const valid = checked("Mesh", name, args, {
      trustDomain: required(rules.dnsName),
      clusters: required({
        allowed:
          "a list of clusters, each with a provider and a name of its own that is a DNS label, and not federated",
        test: () => rules.clusterNames.test(names) && args.clusters.every(({ provider }) => provider),
      }),
      exports: {
        allowed: `a list of { cluster, namespace, service }, each cluster one of ${names.join(", ")}`,
        test: () =>
          (args.exports ?? []).every((entry) =>
            [entry.cluster, ...(entry.allowedClusters ?? [])].every((cluster) => names.includes(cluster)),
          ),
      },
      namespace: rules.dnsLabel,
      images: imagesRule,
    });
    const [wrong] = topologyProblems(names, topology);
    if (wrong) {
      const key = ["topology", ...wrong.path].join(".");
      throw new ArgumentError(`Mesh ${JSON.stringify(name)}: ${key} ${wrong.message}`);
    }
    for (const [index, { gateway = {}, controller = {} }] of valid.clusters.entries()) {
      const within = `clusters[${index}].`;
      checked("Mesh", name, gateway, gatewayRules(gateway), `${within}gateway.`);
      checked("Mesh", name, controller, controllerRules, `${within}controller.`);
    }
    super("isthmus:index:Mesh", name, valid, opts);
    const labels = { [MESH_LABEL]: name };
    const trust = new TrustAnchor(
      `${name}-trust`,
      { trustDomain: valid.trustDomain, clusters: names },
      { parent: this },
    );

    const links = linksOf(names, topology);
    const members = new Map(
      valid.clusters.map((entry) => [entry.name, this.member(name, entry, valid, trust)]),
    );
    const accesses = new Map<string, RemoteAccess>();
    for (const { source, target } of links) {
      const { cluster, provider } = members.get(target)!;
      const access = new RemoteAccess(
        `${name}-${target}-access-${source}`,
        { source, namespace: cluster.namespace, labels },
        { parent: this, providers: [provider] },
      );
      accesses.set(`${source} ${target}`, access);
    }
    for (const { source, target } of links) {
      const from = members.get(source)!;
      const to = members.get(target)!;
      const access = accesses.get(`${source} ${target}`)!;
      const kubeconfig = linkCredentials({
        source: from,
        target: to,
        namespace: from.cluster.namespace,
        account: pulumi.output({ namespace: access.namespace, serviceAccount: access.serviceAccount }),
      });
      new Link(
        `${name}-${source}-link-${target}`,
        { target, namespace: from.cluster.namespace, gateway: to.cluster.gateway, kubeconfig, labels },
        { parent: this, providers: [from.provider], dependsOn: [from.cluster] },
      );
    }
    for (const entry of valid.exports ?? []) {
      const { provider } = members.get(entry.cluster)!;
      new ExportedService(
        `${name}-${entry.cluster}-export-${entry.namespace}-${entry.service}`,
        {
          service: entry.service,
          namespace: entry.namespace,
          ...(entry.allowedClusters ? { allowedClusters: entry.allowedClusters } : {}),
        },
        { parent: this, providers: [provider] },
      );
    }

    this.trustBundle = trust.trustBundle;
    this.gateways = pulumi.output(
      Object.fromEntries([...members].map(([member, { cluster }]) => [member, cluster.gateway])),
    );
    this.registerOutputs({ trustBundle: this.trustBundle, gateways: this.gateways });
  }

  private member(name: string, entry: MeshClusterArgs, args: MeshArgs, trust: TrustAnchor): Member {
    const access: OperatorAccess = { kubeconfig: entry.kubeconfig, context: entry.context ?? entry.name };
    const cluster = new Cluster(
      `${name}-${entry.name}`,
      {
        clusterName: entry.name,
        trustDomain: trust.trustDomain,
        trustBundle: trust.trustBundle,
        issuer: trust.issuers.apply((issuers) => issuers[entry.name]!),
        labels: { [MESH_LABEL]: name },
        ...(args.namespace === undefined ? {} : { namespace: args.namespace }),
        ...(args.images === undefined ? {} : { images: args.images }),
        ...(entry.gateway === undefined ? {} : { gateway: entry.gateway }),
        ...(entry.controller === undefined ? {} : { controller: entry.controller }),
      },
      { parent: this, providers: [entry.provider] },
    );
    const apiServer = entry.apiServer ?? apiServerOf(access.context, entry.kubeconfig);
    return { name: entry.name, cluster, access, apiServer, provider: entry.provider };
  }
}

interface Member {
  name: string;
  cluster: Cluster;
  access: OperatorAccess;
  apiServer: pulumi.Input<ApiServer>;
  provider: k8s.Provider;
}
