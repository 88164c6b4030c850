/** The resource `links.isthmus.dev/v1alpha1`; its schema, with the rules, is `crd/links.isthmus.dev.yaml`. */
export const LINK_GROUP = "isthmus.dev";
export const LINK_VERSION = "v1alpha1";
export const LINK_KIND = "Link";
export const LINK_PLURAL = "links";

/** As Kubernetes' own, but an empty one matches nothing here (Linkerd's rule). */
export interface LabelSelector {
  matchLabels?: Record<string, string>;
  matchExpressions?: {
    key: string;
    operator: "In" | "NotIn" | "Exists" | "DoesNotExist";
    values?: string[];
  }[];
}

/** How a target's gateway is probed. Durations as Go writes them: `3s`, `500ms`. */
export interface LinkProbe {
  path?: string;
  port?: number;
  period?: string;
  timeout?: string;
  failureThreshold?: number;
}

export interface LinkSpec {
  /** Name of the target; the suffix of the mirrors. */
  targetClusterName: string;
  /** The target's cluster domain. @default "cluster.local" */
  targetClusterDomain?: string;
  /** Secret beside the Link, type `mirror.linkerd.io/remote-kubeconfig`. */
  clusterCredentialsSecret: string;
  /** IP addresses or host names of the target's gateway. Empty: exported services are mirrored without endpoints. */
  gatewayAddresses?: string[];
  /** @default 4143 */
  gatewayPort?: number;
  /** TLS identity to expect of the target's gateway. */
  gatewayIdentity?: string;
  probe?: LinkProbe;
  /** Which Services of the target are mirrored through its gateway. @default exported=true */
  selector?: LabelSelector;
  remoteDiscoverySelector?: LabelSelector;
  federatedServiceSelector?: LabelSelector;
  /** Labels not copied to mirrors: keys, or prefixes written `example.com/*`. */
  excludedLabels?: string[];
  excludedAnnotations?: string[];
}

export type ConditionStatus = "True" | "False" | "Unknown";

export interface Condition {
  type: string;
  status: ConditionStatus;
  reason: string;
  message: string;
  lastTransitionTime: string;
  observedGeneration?: number;
}

/** One exported service that is not mirrored as it should be, or is. */
export interface LinkServiceStatus {
  namespace: string;
  name: string;
  /** Name of the mirror, in the same namespace of the source. */
  mirror: string;
  mirrored: boolean;
  /** One of `ServiceReason`. */
  reason: string;
  message?: string;
}

export interface LinkStatus {
  observedGeneration?: number;
  conditions?: Condition[];
  /** Mirrors in place. */
  mirroredServices?: number;
  /** Exported services without a mirror. */
  failedServices?: number;
  /** Failures first; bounded, so that a Link never outgrows what an API server stores. */
  services?: LinkServiceStatus[];
}

export interface Link {
  apiVersion: string;
  kind: string;
  metadata: {
    name: string;
    namespace: string;
    uid?: string;
    resourceVersion?: string;
    generation?: number;
    creationTimestamp?: string;
    deletionTimestamp?: string;
    finalizers?: string[];
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
  };
  spec: LinkSpec;
  status?: LinkStatus;
}

/** Types of the conditions on a Link. */
export const LINK_CONDITION = {
  /** The target's API server answers with these credentials, and the list of its exported services is complete. */
  connected: "Connected",
  /** Everything exported is mirrored. */
  synced: "Synced",
} as const;

/** Reasons of the conditions on a Link. */
export const LINK_REASON = {
  connected: "Connected",
  connecting: "Connecting",
  invalidSpec: "InvalidSpec",
  credentialsMissing: "CredentialsMissing",
  credentialsInvalid: "CredentialsInvalid",
  unauthorized: "Unauthorized",
  forbidden: "Forbidden",
  /** The target's API server does not prove to be the one that the credentials name. */
  tlsFailed: "TLSFailed",
  unreachable: "Unreachable",
  duplicateTarget: "DuplicateTarget",
  synced: "Synced",
  syncing: "Syncing",
  servicesFailed: "ServicesFailed",
} as const;

/** Why a service is, or is not, mirrored. */
export const SERVICE_REASON = {
  mirrored: "Mirrored",
  /** The namespace does not exist in the source. */
  missingNamespace: "MissingNamespace",
  /** A Service of that name is there already, and not ours. */
  nameConflict: "NameConflict",
  /** No TCP port, or of a type that cannot be mirrored. */
  invalidService: "InvalidService",
  /** The service is itself a mirror. */
  mirrorOfMirror: "MirrorOfMirror",
  /** The namespace is one that no target may put a Service into. */
  protectedNamespace: "ProtectedNamespace",
  /** No egress port is left. */
  portsExhausted: "PortsExhausted",
  /** The source's API server refused the write. */
  refused: "Refused",
} as const;
