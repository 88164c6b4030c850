/**
 * Names of what stands in the namespace of Isthmus in every cluster. The Pulumi components make these; the controller's
 * roles and the command line find each other by them.
 */

/** Where everything of ours lives unless told otherwise. */
export const DEFAULT_NAMESPACE = "isthmus";

/** Where Linkerd's control plane lives unless told otherwise. */
export const LINKERD_NAMESPACE = "linkerd";

/** Deployment and ServiceAccount of the mirror controller, and the Lease its replicas hold. */
export const MIRROR = "isthmus-mirror";
/** Deployment and ServiceAccount of the role that signs gateway certificates. */
export const IDENTITY = "isthmus-identity";
/** Deployment and ServiceAccount of the gateway's way in, and the Service in front of it. */
export const INGRESS = "isthmus-gateway-ingress";
export const GATEWAY_SERVICE = "isthmus-gateway";
/** Deployment and ServiceAccount of the gateway's way out. */
export const EGRESS = "isthmus-gateway-egress";

/** Secret (`kubernetes.io/tls`) with the cluster's issuer: only the identity role uses it. */
export const ISSUER_SECRET = "isthmus-issuer";
/** Secret (`kubernetes.io/tls`) with the gateway's certificate: leaf and issuer in `tls.crt`, key in `tls.key`. */
export const GATEWAY_CERTIFICATE_SECRET = "isthmus-gateway-certificate";
/** ConfigMap with the trust bundle, PEM certificates, under this key. */
export const TRUST_BUNDLE_CONFIG_MAP = "isthmus-trust-bundle";
export const TRUST_BUNDLE_KEY = "ca.crt";

/** ResourceQuota by which the controller learns whether a namespace that it made is empty; there for seconds only. */
export const EMPTINESS_QUOTA = "isthmus-emptiness";
/** What Kubernetes and others put into every namespace: no sign that somebody uses it. */
export const STANDARD_CONFIG_MAPS = ["kube-root-ca.crt", "istio-ca-root-cert"] as const;
export const STANDARD_SERVICE_ACCOUNTS = ["default"] as const;

/** Values of `app.kubernetes.io/component` on the pods. */
export const COMPONENT = {
  mirror: "mirror",
  identity: "identity",
  ingress: "gateway-ingress",
  egress: "gateway-egress",
} as const;

/** Port of the ingress for calls from other clusters. */
export const GATEWAY_PORT = 4143;
/** Port of the ingress that answers `GET /ready` for probes from other clusters. */
export const PROBE_PORT = 4191;
export const PROBE_PATH = "/ready";
/** Admin port of every role: `/live /ready /metrics /state`. */
export const ADMIN_PORT = 9990;
/** The ports an egress binds for mirrors: below the kernel's ephemeral range. First and last. */
export const EGRESS_PORTS = { first: 20_000, last: 28_191 } as const;

/**
 * How long a token for a target lives, in seconds: a link's first, those that it is renewed by, and the most that a target
 * allows by default. A week: a cluster may be off over a weekend, and a copy that leaked dies by itself.
 */
export const TOKEN_LIFETIME_SECONDS = 7 * 24 * 3600;
