import { freeIndex, freeNetwork, MAX_INDEX, nodeAddress, nodeNetworks } from "./addresses.ts";
import type { ClusterRecord } from "./cluster-files.ts";
import { ClusterError } from "./errors.ts";

/**
 * Choose index, network and address of a new cluster: beside the checkout's other clusters, and clear of what the machine
 * uses already.
 *
 * @param taken networks in use on the machine, less the checkout's own.
 */
export function allocate(
  checkout: string,
  others: readonly ClusterRecord[],
  taken: readonly string[],
  controlPlaneOnly: boolean,
): ClusterRecord {
  const network = others[0]?.network ?? freeNetwork(nodeNetworks(checkout), taken);
  if (network === undefined) {
    throw new ClusterError("every network in 198.18.0.0/15 is in use on this machine; see `ip route`");
  }
  const index = freeIndex(new Set(others.map((other) => other.index)));
  if (index === undefined) {
    throw new ClusterError(`this checkout has ${MAX_INDEX} clusters already; take some down`);
  }
  return { index, network, address: nodeAddress(network, index), controlPlaneOnly };
}
