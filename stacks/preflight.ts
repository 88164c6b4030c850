import { type ApiServer, apiServerOf } from "../components/kubeconfig.ts";
import { coreApi, type OperatorAccess, operatorConfig, reasonOf } from "../components/operator.ts";
import type { Mesh, MeshCluster, MeshExport } from "./mesh.ts";

/** How long an API server may take to answer a call, in milliseconds. */
const PATIENCE = 15_000;
/** How many addresses a Link takes. */
const MAX_ADDRESSES = 16;

/** A cluster is not as a mesh.yaml says. The message has one line a problem: which cluster, what, and what to do. */
export class PreflightError extends Error {
  override readonly name = "PreflightError";
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(problems.join("\n"));
    this.problems = problems;
  }
}

export function accessOf(mesh: Mesh, cluster: MeshCluster): OperatorAccess {
  return { kubeconfig: mesh.kubeconfig, context: cluster.context };
}

/** How pods of other clusters reach the API server of one. */
export function apiServerFor(mesh: Mesh, cluster: MeshCluster): ApiServer {
  const { context, kubeconfig } = accessOf(mesh, cluster);
  const { server, certificateAuthorityData } = apiServerOf(context, kubeconfig);
  return { server: cluster.apiServer ?? server, certificateAuthorityData };
}

/**
 * Look whether clusters are as a mesh says, before anything is changed: the kubeconfig has their contexts, their API
 * servers answer, and the services that they export are there.
 *
 * @param only names of the clusters to look at. @default all of them
 * @throws PreflightError with every problem of every cluster
 */
export async function preflight(mesh: Mesh, only?: readonly string[]): Promise<void> {
  const clusters = mesh.clusters.filter(({ name }) => only?.includes(name) ?? true);
  const problems = await Promise.all(clusters.map((cluster) => problemsOf(mesh, cluster)));
  if (problems.flat().length > 0) throw new PreflightError(problems.flat());
}

async function problemsOf(mesh: Mesh, cluster: MeshCluster): Promise<string[]> {
  const access = accessOf(mesh, cluster);
  const exported = mesh.exports.filter((entry) => entry.cluster === cluster.name);
  try {
    const { ownAddress } = apiServerOf(access.context, access.kubeconfig);
    await mustAnswer(access, ownAddress);
    const missing = await Promise.all(exported.map((entry) => missingExport(access, entry)));
    return missing.flat().map((problem) => `cluster ${cluster.name}: ${problem}`);
  } catch (error) {
    return [`cluster ${cluster.name}: ${(error as Error).message}`];
  }
}

async function mustAnswer(access: OperatorAccess, server: string): Promise<void> {
  const { VersionApi } = await import("@kubernetes/client-node");
  const api = (await operatorConfig(access)).makeApiClient(VersionApi);
  try {
    await inTime(api.getCode());
  } catch (error) {
    throw new Error(
      `its API server ${server} cannot be reached by context ${JSON.stringify(access.context)}: ${reasonOf(error)}`,
      { cause: error },
    );
  }
}

/**
 * What a call to an API server answers, or an error once that takes too long; the call itself goes on.
 *
 * @param what that it takes too long means, where the caller does not say so
 */
export async function inTime<T>(call: Promise<T>, what?: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new Error(`${what === undefined ? "" : `${what}: `}no answer in ${PATIENCE / 1000} s`)),
      PATIENCE,
    );
  });
  try {
    return await Promise.race([call, late]);
  } finally {
    clearTimeout(timer);
  }
}

async function missingExport(access: OperatorAccess, entry: MeshExport): Promise<string[]> {
  const api = await coreApi(access);
  const { namespace, service: name } = entry;
  try {
    await api.readNamespacedService({ name, namespace });
    return [];
  } catch (error) {
    if ((error as { code?: unknown }).code !== 404) {
      return [`the Service ${namespace}/${name}, which it exports, cannot be read: ${reasonOf(error)}`];
    }
    return [
      `there is no Service ${namespace}/${name} to export: create it, or take the export out of the mesh`,
    ];
  }
}

/**
 * Internal addresses of a cluster's nodes, where a gateway exposed by NodePort is reached if nothing else is said. As many
 * as a Link takes, in order, so that they only change when the nodes do.
 *
 * @throws Error if there are none
 */
export async function nodeAddresses(cluster: string, access: OperatorAccess): Promise<string[]> {
  const api = await coreApi(access);
  const { items } = await api.listNode();
  const addresses = items
    .flatMap((node) => node.status?.addresses ?? [])
    .filter(({ type }) => type === "InternalIP")
    .map(({ address }) => address)
    .sort();
  if (addresses.length === 0) {
    throw new Error(
      `cluster ${cluster}: no node has an internal address, so its gateway cannot be reached by NodePort: ` +
        "give gateway.addresses in the mesh",
    );
  }
  return addresses.slice(0, MAX_ADDRESSES);
}
