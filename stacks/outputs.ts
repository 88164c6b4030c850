import type { ApiServer, GatewayEndpoint, Issuer } from "../components/index.ts";

/** What the stacks of a mesh say to each other, and to `pulumi stack output`. */

/** Outputs of `<mesh>-trust`. */
export interface TrustOutputs {
  trustDomain: string;
  /** Certificates of all anchors, PEM. */
  trustBundle: string;
  /** The issuer of each cluster. A secret. */
  issuers: Record<string, Issuer>;
}

/** Outputs of `<mesh>-cluster-<name>`. */
export interface ClusterOutputs {
  cluster: string;
  /** Where other clusters reach the gateway. */
  gateway: GatewayEndpoint;
  /** How pods of other clusters reach the API server. */
  apiServer: ApiServer;
  /** The ServiceAccount of each source that is let in. */
  remoteAccess: Record<string, RemoteAccount>;
}

export interface RemoteAccount {
  namespace: string;
  serviceAccount: string;
}

/** Outputs of `<mesh>-links-<name>`. */
export interface LinksOutputs {
  /** The `Link` to each target. */
  links: Record<string, { name: string; namespace: string }>;
}
