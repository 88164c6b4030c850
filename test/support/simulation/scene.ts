import type { LabelSelector, LinkProbe } from "../../../contract/index.ts";

/** Everything that can be in a simulation, by name. */

/** Cluster `c` with a service `a-b`, and `b-c` with a service `a`, both want the mirror `a-b-c`. */
export const CLUSTERS = ["east", "c", "b-c"] as const;
export type ClusterName = (typeof CLUSTERS)[number];

/** Links by name: two clusters have two. */
export const LINK_TARGETS = {
  east: "east",
  "east-again": "east",
  c: "c",
  "b-c": "b-c",
  "b-c-again": "b-c",
} as const satisfies Record<string, ClusterName>;
export type LinkName = keyof typeof LINK_TARGETS;
/** Links that follow the Service of their target's gateway from the beginning. */
export const FOLLOWING_LINKS: readonly LinkName[] = ["c", "b-c-again"];
export const LINK_NAMES = Object.keys(LINK_TARGETS) as LinkName[];

export const OWN_NAMESPACE = "isthmus";
/** Of Linkerd's control plane. */
export const LINKERD_NAMESPACE = "linkerd";
/** Where the Services of gateways are in every target. */
export const GATEWAY_NAMESPACE = "gateways";
/** Namespaces in which exported services are; the last may have no mirrors. */
export const NAMESPACES_OF_SERVICES = ["shop", "pay", "lab", "kube-system"] as const;
export const PROTECTED = ["kube-system", "kube-public", "kube-node-lease", OWN_NAMESPACE];
/** Namespaces of the source that come and go. */
export const MORTAL_NAMESPACES = ["shop", "pay", "lab"] as const;

/** Namespaces in which services are now and then: they are in the source only if somebody makes them. */
export const LONELY_NAMESPACES = ["rare", "odd"] as const;

const LONG = `a-service-with-a-name-that-is-so-long-that-it-must-be-shortened`.slice(0, 61);
export const SERVICE_NAMES = ["web", "api", "a", "a-b", LONG] as const;

export const POD_NAMES = ["egress-0", "egress-1", "egress-2"] as const;

/** A place where an exported service can be. */
export interface Place {
  cluster: ClusterName;
  namespace: string;
  service: string;
}

/** An address of a pod that has nothing else to be called by. */
const NAMELESS = "10.2.0.9";
/**
 * What pods behind services can be called, and by what: names of services are among them, and such as no Service may have.
 */
export const HOSTS = [
  { host: "web-0", by: "hostname" },
  { host: "web-1", by: "hostname" },
  { host: "7", by: "hostname" },
  { host: "a-b", by: "hostname" },
  { host: "api", by: "pod" },
  { host: "pod.dotted", by: "pod" },
  { host: NAMELESS, by: "address" },
] as const;

/** Selectors that a Link can have. */
export const SELECTORS: Record<string, LabelSelector | undefined> = {
  default: undefined,
  gold: { matchLabels: { "example.com/tier": "gold" } },
  both: {
    matchExpressions: [
      { key: "mirror.linkerd.io/exported", operator: "Exists" },
      { key: "example.com/tier", operator: "In", values: ["gold", "silver"] },
    ],
  },
  nothing: {},
};
/** Likewise for what is called pod to pod, or federated. */
export const OTHER_SELECTORS: Record<string, LabelSelector | undefined> = {
  default: undefined,
  silver: { matchLabels: { "example.com/tier": "silver" } },
  nothing: {},
};

/** Host names of gateways: what they stand for changes. */
export const GATEWAY_HOST = "gateway.example";
/** Addresses of gateways that may be dead; those of the host name are among them. */
export const GATEWAY_IPS = ["192.0.2.127", "192.0.2.128", "192.0.2.129"] as const;
/** An address of a gateway that no gateway of another cluster can have. */
export const OWN_IP = "127.0.0.1";
/** Services of gateways that a target can have. */
export const GATEWAY_SERVICES = ["main", "side"] as const;
export type GatewayName = (typeof GATEWAY_SERVICES)[number];
/** Addresses that a Link can have. */
export const GATEWAYS: string[][] = [
  ["192.0.2.127"],
  ["192.0.2.127"],
  ["192.0.2.128"],
  ["192.0.2.127", "192.0.2.128"],
  [GATEWAY_HOST],
  [],
];
/** With less than 15 s from the death of a gateway to its being known. */
export const PROBE: LinkProbe = { period: "3s", timeout: "1s", failureThreshold: 3 };

/** Labels and annotations that services have, and whether their mirrors get them too. */
export const LABELS: Record<string, "copied" | "dropped"> = {
  "example.com/tier": "copied",
  "team.example/name": "copied",
  "app.kubernetes.io/managed-by": "dropped",
  "argocd.argoproj.io/instance": "dropped",
  "mirror.linkerd.io/exported": "dropped",
  "mirror.linkerd.io/federated": "dropped",
};
export const ANNOTATIONS: Record<string, "copied" | "dropped" | "always"> = {
  "example.com/note": "copied",
  "team.example/owner": "copied",
  "kubectl.kubernetes.io/last-applied-configuration": "dropped",
  "isthmus.dev/egress-ports": "dropped",
  "egress-ports.isthmus.dev/isthmus.east": "dropped",
  "mirror.linkerd.io/gateway-name": "dropped",
  "mirror.linkerd.io/gateway-ns": "dropped",
  "config.linkerd.io/opaque-ports": "always",
};
/** Exclusions that a Link can have. */
export const EXCLUSIONS = [[], ["team.example/*"], ["example.com/note", "config.linkerd.io/opaque-ports"]];
