/**
 * Addresses of local clusters. Pods and Services have the same addresses in every cluster, on purpose: that is what
 * clusters look like that know nothing of each other. Only the nodes share a network, one `/24` a checkout.
 */
export const POD_CIDR = "10.244.0.0/16";
/** The one node's part of the pods' addresses. */
export const NODE_POD_CIDR = "10.244.0.0/24";
export const SERVICE_CIDR = "10.96.0.0/16";
/** ClusterIP of `kubernetes.default`. */
export const API_SERVICE_IP = "10.96.0.1";
/** ClusterIP of `kube-dns`. */
export const DNS_SERVICE_IP = "10.96.0.10";
export const API_PORT = 6443;

/** Clusters of one checkout have the indexes 1 to this. */
export const MAX_INDEX = 200;

/**
 * The networks for nodes, the checkout's own choice first: the 512 networks `/24` of 198.18.0.0/15, which RFC 2544 sets
 * aside for test networks, so that nothing else on the machine is likely to use them.
 */
export function* nodeNetworks(checkout: string): Generator<string> {
  const first = Number.parseInt(checkout, 16) % 512;
  for (let step = 0; step < 512; step++) {
    const n = (first + step) % 512;
    yield `198.${18 + (n >> 8)}.${n & 255}.0/24`;
  }
}

/** The first of `candidates` that shares no address with `taken`. Both IPv4, as `a.b.c.d/n` or `a.b.c.d`. */
export function freeNetwork(candidates: Iterable<string>, taken: readonly string[]): string | undefined {
  for (const candidate of candidates) {
    if (!taken.some((other) => overlaps(candidate, other))) return candidate;
  }
  return undefined;
}

/** Whether two IPv4 networks share an address. */
export function overlaps(a: string, b: string): boolean {
  const [first, second] = [parse(a), parse(b)];
  const bits = Math.min(first.bits, second.bits);
  // Shifting a number by 32 shifts it by nothing, so the whole Internet is a case of its own.
  return bits === 0 || first.address >>> (32 - bits) === second.address >>> (32 - bits);
}

function parse(network: string): { address: number; bits: number } {
  const [address = "", bits = "32"] = network.split("/");
  const number = address.split(".").reduce((sum, part) => ((sum << 8) | Number(part)) >>> 0, 0);
  return { address: number, bits: Number(bits) };
}

/** The address of this machine in the nodes' network, where the clusters' bridge is. */
export function bridgeAddress(network: string): string {
  return host(network, 1);
}

/** The address of the node of the cluster with that index. */
export function nodeAddress(network: string, index: number): string {
  return host(network, 10 + index);
}

function host(network: string, number: number): string {
  return network.replace(/\.0\/24$/, `.${number}`);
}

/** The smallest index that no cluster has. */
export function freeIndex(taken: ReadonlySet<number>): number | undefined {
  for (let index = 1; index <= MAX_INDEX; index++) if (!taken.has(index)) return index;
  return undefined;
}

/** Name of a checkout's bridge. An interface's name has at most 15 characters. */
export function bridgeName(checkout: string): string {
  return `ist-${checkout}`;
}

/** Name, on this machine, of the cable to the cluster with that index. */
export function cableName(checkout: string, index: number): string {
  return `ist-${checkout}-${index}`;
}
