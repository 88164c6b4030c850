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

/** A Service of the target with a gateway behind it. */
export interface GatewayReference {
  namespace: string;
  name: string;
}

export interface LinkSpec {
  /** Name of the target; the suffix of the mirrors. */
  targetClusterName: string;
  /** The target's cluster domain. @default "cluster.local" */
  targetClusterDomain?: string;
  /** The trust domain of the target's Linkerd; of use to the data plane `linkerd` only. @default "cluster.local" */
  targetTrustDomain?: string;
  /** Secret beside the Link, type `mirror.linkerd.io/remote-kubeconfig`. */
  clusterCredentialsSecret: string;
  /** IP addresses or host names of the target's gateway. Empty: exported services are mirrored without endpoints. */
  gatewayAddresses?: string[];
  /** @default 4143 */
  gatewayPort?: number;
  /**
   * The Service of the target's gateway: its addresses and port are followed, and go before `gatewayAddresses` and
   * `gatewayPort`, for as long as it has addresses of a load balancer. @default none is followed
   */
  gateway?: GatewayReference;
  /** TLS identity to expect of the target's gateway. */
  gatewayIdentity?: string;
  probe?: LinkProbe;
  /** Which Services of the target are mirrored through its gateway. @default exported=true */
  selector?: LabelSelector;
  /** Which Services of the target are called pod to pod. @default exported=remote-discovery */
  remoteDiscoverySelector?: LabelSelector;
  /** Which Services of the target are members of the federated service of their name. @default federated=member */
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

/** A gateway of the target as it is reached now. */
export interface LinkGatewayStatus {
  /** Absent, as `name` is: the Link's own. */
  namespace?: string;
  name?: string;
  /** As the Link or the gateway's Service gives them; `alive` is false once probes have failed. */
  addresses: { address: string; alive: boolean }[];
  port: number;
  identity?: string;
}

export interface LinkStatus {
  observedGeneration?: number;
  conditions?: Condition[];
  /** The Link's own gateway first, then those that exported services choose. */
  gateways?: LinkGatewayStatus[];
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
  /** The target's gateway answers its probes. */
  gatewayAlive: "GatewayAlive",
  /** The credentials are renewed in time, or need not be. */
  credentialsFresh: "CredentialsFresh",
  /** Linkerd has a copy of the credentials; only with the data plane `linkerd`. */
  credentialsCopied: "CredentialsCopied",
} as const;

/** Reasons of the conditions on a Link. */
export const LINK_REASON = {
  connected: "Connected",
  connecting: "Connecting",
  invalidSpec: "InvalidSpec",
  credentialsMissing: "CredentialsMissing",
  credentialsInvalid: "CredentialsInvalid",
  /** The controller may not read the Secret. */
  credentialsForbidden: "CredentialsForbidden",
  unauthorized: "Unauthorized",
  forbidden: "Forbidden",
  /** The target's API server does not prove to be the one that the credentials name. */
  tlsFailed: "TLSFailed",
  unreachable: "Unreachable",
  /** What answers is no API server, or one that does not keep to the rules. */
  badAnswer: "BadAnswer",
  /** The target has more of something than one target may have here. */
  limitExceeded: "LimitExceeded",
  duplicateTarget: "DuplicateTarget",
  synced: "Synced",
  syncing: "Syncing",
  servicesFailed: "ServicesFailed",
  gatewayAlive: "GatewayAlive",
  gatewayDead: "GatewayDead",
  /** The Link has no probe: its gateway is taken to be alive. */
  gatewayNotProbed: "GatewayNotProbed",
  noGateway: "NoGateway",
  credentialsFresh: "CredentialsFresh",
  /** A client certificate, or a token that tells nothing of its end. */
  credentialsNotRenewable: "CredentialsNotRenewable",
  credentialsExpired: "CredentialsExpired",
  renewalFailed: "RenewalFailed",
  credentialsCopied: "CredentialsCopied",
  /** A Secret of that name is in Linkerd's namespace already, and not ours. */
  copyConflict: "CopyConflict",
  copyFailed: "CopyFailed",
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
  /** This cluster's data plane cannot carry calls to it in the way it is exported. */
  unsupportedMode: "UnsupportedMode",
  /** The gateway that it chooses by its annotations is not there, or does not say how it is reached. */
  gatewayNotFound: "GatewayNotFound",
  /** A headless service has pods without a mirror. */
  podsNotMirrored: "PodsNotMirrored",
  /** No egress port is left. */
  portsExhausted: "PortsExhausted",
  /** The source's API server refused the write. */
  refused: "Refused",
} as const;

/** Reasons of Events on a Link that are no reason of a condition or of a service. */
export const EVENT_REASON = {
  namespaceCreated: "NamespaceCreated",
  namespaceRemoved: "NamespaceRemoved",
  /** It is not empty, or cannot be seen to be. */
  namespaceKept: "NamespaceKept",
} as const;
