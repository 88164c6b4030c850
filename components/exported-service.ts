import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import {
  ALLOWED_CLUSTERS_ANNOTATION,
  DEFAULT_NAMESPACE,
  EXPORTED_LABEL,
  GATEWAY_NAME_ANNOTATION,
  GATEWAY_NAMESPACE_ANNOTATION,
} from "../contract/index.ts";
import { checked, clusterNames, dnsLabel, required } from "./validation.ts";

/** Arguments of an `ExportedService`. */
export interface ExportedServiceArgs {
  /** Name of the Service. It must be there. */
  service: pulumi.Input<string>;
  /** Namespace of the Service. */
  namespace: pulumi.Input<string>;
  /**
   * Names of the clusters that may call it.
   *
   * @default every cluster that has a remote access
   */
  allowedClusters?: pulumi.Input<pulumi.Input<string>[]>;
  /**
   * The Service of the gateway that carries it, where that is not the one that the callers' links lead to.
   *
   * @default the gateway of each link
   */
  gatewayName?: pulumi.Input<string>;
  /**
   * The namespace of that gateway. Only with `gatewayName`.
   *
   * @default "isthmus"
   */
  gatewayNamespace?: pulumi.Input<string>;
}

/** Who owns the label and the annotations of an export, beside the owner of the Service. */
const EXPORT_FIELD_MANAGER = "isthmus-export";

/**
 * Exports a Service to the clusters that are linked to this one. The Service stays its owner's: this adds a label and
 * annotations under a field manager of its own, and removing it takes away just those.
 */
export class ExportedService extends pulumi.ComponentResource {
  /** `<namespace>/<name>` of the Service. */
  public readonly exported: pulumi.Output<string>;

  constructor(name: string, args: ExportedServiceArgs, opts?: pulumi.ComponentResourceOptions) {
    const valid = checked("ExportedService", name, args, {
      service: required(dnsLabel),
      namespace: required(dnsLabel),
      allowedClusters: {
        allowed: `${clusterNames.allowed}; leave it out to allow every cluster, remove the export to allow none`,
        test: (value) => clusterNames.test(value) && (value as string[]).length > 0,
      },
      gatewayName: dnsLabel,
      gatewayNamespace: {
        allowed: `${dnsLabel.allowed}, beside a gatewayName`,
        test: (value) => dnsLabel.test(value) && args.gatewayName !== undefined,
      },
    });
    super("isthmus:index:ExportedService", name, valid, opts);
    const annotations = pulumi
      .all([valid.gatewayName, valid.gatewayNamespace ?? DEFAULT_NAMESPACE, valid.allowedClusters])
      .apply(([gateway, gatewayNamespace, clusters]) => ({
        ...(gateway
          ? { [GATEWAY_NAME_ANNOTATION]: gateway, [GATEWAY_NAMESPACE_ANNOTATION]: gatewayNamespace }
          : {}),
        ...(clusters ? { [ALLOWED_CLUSTERS_ANNOTATION]: [...clusters].sort().join(",") } : {}),
        "pulumi.com/patchFieldManager": EXPORT_FIELD_MANAGER,
        // A Service may be exported before anything stands behind it.
        "pulumi.com/skipAwait": "true",
      }));
    const patch = new k8s.core.v1.ServicePatch(
      name,
      {
        metadata: {
          name: valid.service,
          namespace: valid.namespace,
          labels: { [EXPORTED_LABEL]: "true" },
          annotations,
        },
      },
      { parent: this },
    );
    this.exported = pulumi
      .all([patch.urn, valid.namespace, valid.service])
      .apply(([, namespace, service]) => `${namespace}/${service}`);
    this.registerOutputs({ exported: this.exported });
  }
}
