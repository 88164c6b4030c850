import { createHash } from "node:crypto";

/** Longest DNS label, and so the longest name of a Service (RFC 1123). */
const MAX_LABEL = 63;

/** What a name stands for in full, as 16 characters of base 32 (80 bits of SHA-256): none can be found to collide. */
function digest(text: string): string {
  const alphabet = "abcdefghijklmnopqrstuvwxyz234567";
  const bytes = createHash("sha256").update(text).digest();
  let bits = 0n;
  for (const byte of bytes.subarray(0, 10)) bits = (bits << 8n) | BigInt(byte);
  let out = "";
  for (let i = 0; i < 16; i++) {
    out = alphabet[Number(bits & 31n)] + out;
    bits >>= 5n;
  }
  return out;
}

/** A DNS label that starts readable and always ends in the digest of `full`. */
function labelWithDigest(readable: string, full: string): string {
  const room = MAX_LABEL - 17;
  const start = readable
    .toLowerCase()
    .replace(/[^a-z0-9-]+/g, "-")
    .slice(0, room)
    .replace(/^-+|-+$/g, "");
  return start === "" ? `s-${digest(full)}` : `${start}-${digest(full)}`;
}

/** Whether `text` is a DNS label as Kubernetes wants it (RFC 1123): 1 to 63 of a-z, 0-9 and `-`, no `-` at the ends. */
export function isDnsLabel(text: string): boolean {
  return /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(text);
}

/** Whether `text` is a DNS name: labels joined by dots, 253 characters at most. */
export function isDnsName(text: string): boolean {
  return text.length <= 253 && text.split(".").every(isDnsLabel);
}

/**
 * Whether `text` is what Kubernetes calls a DNS subdomain, as the names of most objects must be: as a DNS name, but that
 * its labels may have any length.
 */
export function isSubdomain(text: string): boolean {
  return (
    text.length <= 253 && text.split(".").every((label) => /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/.test(label))
  );
}

/** What the names of federated services end in, and no cluster's mirrors. */
const FEDERATED = "federated";

/** Whether a cluster may be called so: a DNS label, and not what federated services are called by. */
export function isClusterName(text: string): boolean {
  return isDnsLabel(text) && text !== FEDERATED;
}

/**
 * Name of the mirror of `service` of the cluster `cluster`: `<service>-<cluster>`. Where that is over 63 characters, a
 * readable start and a digest of the whole: deterministic, never refused.
 */
export function mirrorName(service: string, cluster: string): string {
  const plain = `${service}-${cluster}`;
  return plain.length <= MAX_LABEL ? plain : labelWithDigest(plain, plain);
}

/** Whether a Service of this name may be the mirror of a service or pod of the cluster: one that was shortened may be anybody's. */
export function mayBeMirrorOf(cluster: string, name: string): boolean {
  return name.endsWith(`-${cluster}`) || /-[a-z2-7]{16}$/.test(name);
}

/** Name of the Service that all clusters' members of that name are behind: `<service>-federated`, shortened as a mirror's. */
export function federatedName(service: string): string {
  return mirrorName(service, FEDERATED);
}

/**
 * Name of the mirror of one pod of a headless service, `<host>-<cluster>`: a Service must begin with a letter, which pods
 * need not, so others get a readable start and a digest.
 */
export function podMirrorName(host: string, cluster: string): string {
  const plain = `${host}-${cluster}`;
  if (plain.length <= MAX_LABEL && /^[a-z]/.test(plain) && isDnsLabel(plain)) return plain;
  return labelWithDigest(/^[a-zA-Z]/.test(plain) ? plain : `pod-${plain}`, plain);
}

/**
 * What one endpoint of a headless service is called on both sides: its hostname, else its pod's name, else its address.
 * Any text; `hostLabel` makes a DNS label of it.
 */
export function endpointHost(endpoint: {
  addresses: readonly string[];
  hostname?: string;
  targetRef?: { kind?: string; name?: string };
}): string {
  const { hostname, targetRef, addresses } = endpoint;
  return hostname || (targetRef?.kind === "Pod" && targetRef.name) || addresses[0] || "";
}

/** A host as the DNS label under which it is found beside its siblings: itself, where it is one. */
export function hostLabel(host: string): string {
  return isDnsLabel(host) ? host : labelWithDigest(host, host);
}

/** The TLS identity of a cluster's gateway: `gateway.<cluster>.<trust domain>`. */
export function gatewayIdentity(cluster: string, trustDomain: string): string {
  return `gateway.${cluster}.${trustDomain}`;
}

/** One port of an exported service, as both ends of a crossing name it. */
export interface Route {
  /** Namespace of the exported Service, in the target. */
  namespace: string;
  /** Name of the exported Service. */
  service: string;
  /** Number of the Service's port. */
  port: number;
  /** Hostname of one pod of a headless service; absent for the service as a whole. */
  hostname?: string;
}

/**
 * The server name (SNI) of a call: one label under the gateway's identity. Source and target compute it alike; the
 * gateway's certificate covers it with `*.<identity>`.
 */
export function routeServerName(route: Route, identity: string): string {
  const { namespace, service, port, hostname } = route;
  const readable = [hostname, service, String(port)].filter((part) => part !== undefined).join("-");
  return `${labelWithDigest(readable, JSON.stringify([namespace, service, port, hostname ?? ""]))}.${identity}`;
}

/** Name of the credentials Secret in the source for the target `cluster`. */
export function credentialsSecretName(cluster: string): string {
  return `cluster-credentials-${cluster}`;
}

/**
 * Name of the Role and RoleBinding by which the mirror controller may use the credentials for the target `cluster`: in the
 * namespace of Isthmus, and in Linkerd's where that has a copy.
 */
export function credentialsRoleName(cluster: string): string {
  return shorten(`isthmus-credentials-${cluster}`);
}

/** Name of the ServiceAccount, ClusterRole and ClusterRoleBinding in a target that let `source` read it. */
export function remoteAccessName(source: string): string {
  return shorten(`isthmus-remote-access-${source}`);
}

/** Value of the label `isthmus.dev/link` on what was made for a Link: `<namespace>.<name>`, shortened to fit a label. */
export function linkLabelValue(link: { namespace: string; name: string }): string {
  return shorten(`${link.namespace}.${link.name}`);
}

/** Name of an EndpointSlice of a mirror Service: one address family each; those with many endpoints have several. */
export function sliceName(mirror: string, family: "IPv4" | "IPv6" = "IPv4", number = 0): string {
  const plain = family === "IPv4" ? `${mirror}-isthmus` : `${mirror}-isthmus-6`;
  return shorten(number === 0 ? plain : `${plain}-n${number}`);
}

/** Name of the EndpointSlice of a federated Service that leads to its member in another cluster. */
export function memberSliceName(
  federated: string,
  cluster: string,
  family: "IPv4" | "IPv6" = "IPv4",
): string {
  return labelWithDigest(`${federated}-${cluster}`, JSON.stringify([federated, cluster, family]));
}

function shorten(plain: string): string {
  return plain.length <= MAX_LABEL ? plain : labelWithDigest(plain, plain);
}

/** Read the annotation `isthmus.dev/egress-ports`; entries that are not `port=port` are left out. */
export function parseEgressPorts(text: string | undefined): Map<number, number> {
  const ports = new Map<number, number>();
  for (const entry of (text ?? "").split(",")) {
    const match = /^(\d{1,5})=(\d{1,5})$/.exec(entry);
    if (match) ports.set(Number(match[1]), Number(match[2]));
  }
  return ports;
}

/** Write the annotation `isthmus.dev/egress-ports`, in the order of the service ports. */
export function formatEgressPorts(ports: ReadonlyMap<number, number>): string {
  return [...ports]
    .sort(([a], [b]) => a - b)
    .map(([port, egress]) => `${port}=${egress}`)
    .join(",");
}
