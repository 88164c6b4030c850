/** New credentials for links that exist, at once, by the operator's own access to their targets. */
import { setTimeout as delay } from "node:timers/promises";
import { coreApi, requestToken } from "../components/credentials.ts";
import { tokenKubeconfig } from "../components/kubeconfig.ts";
import { type OperatorAccess, operatorConfig, reasonOf } from "../components/operator.ts";
import {
  CREDENTIALS_SECRET_KEY,
  credentialsSecretName,
  LINK_CONDITION,
  LINK_GROUP,
  LINK_VERSION,
  type Link,
  remoteAccessName,
} from "../contract/index.ts";
import { loadMesh, type Mesh, type MeshCluster } from "./mesh.ts";
import { targetsOf } from "./plan.ts";
import { accessOf, apiServerFor, preflight } from "./preflight.ts";

export interface RotateOptions {
  /** @default "mesh.yaml" */
  file?: string;
  /** Only the links of this source. @default all */
  source?: string;
  /** Only the links to this target. @default all */
  target?: string;
  /** Called for each link as it is done. */
  onLink?: (rotation: Rotation) => void;
  signal?: AbortSignal;
}

/** A mesh has none of the links that are meant. */
export class NoSuchLinkError extends Error {
  override readonly name = "NoSuchLinkError";
}

/** What became of the credentials of one link. */
export interface Rotation {
  source: string;
  target: string;
  /** Why it has no new ones, or is not connected by them. */
  problem?: string;
}

/** How often a Secret that the controller writes at the same time is tried, and how long a Link may take to connect. */
const [TRIES, CONNECTED_WITHIN_MS, LOOK_EVERY_MS] = [5, 30_000, 500];

/**
 * Ask the targets of links for new tokens and put them in the links' credentials Secrets, where the controllers take them
 * up within seconds; mirrors stay as they are. For a token that has ended, or that may be in wrong hands. The tokens before
 * go on to their end: a remote access that is deleted and brought up again ends them at once.
 *
 * @throws MeshError for a declaration that is not valid, PreflightError where a cluster does not answer, NoSuchLinkError
 * where the mesh has no such link
 */
export async function rotateCredentials(options: RotateOptions = {}): Promise<Rotation[]> {
  const { file = "mesh.yaml", onLink, signal } = options;
  const mesh = loadMesh(file);
  const links = linksMeant(mesh, options);
  const clusters = new Set(links.flatMap(({ source, target }) => [source.name, target.name]));
  await preflight({ ...mesh, exports: [] }, [...clusters]);
  return await Promise.all(
    links.map(async ({ source, target }) => {
      const rotation: Rotation = { source: source.name, target: target.name };
      try {
        await rotate(mesh, source, target, signal);
      } catch (error) {
        signal?.throwIfAborted();
        rotation.problem = (error as Error).message;
      }
      onLink?.(rotation);
      return rotation;
    }),
  );
}

function linksMeant(mesh: Mesh, meant: RotateOptions): { source: MeshCluster; target: MeshCluster }[] {
  const byName = new Map(mesh.clusters.map((cluster) => [cluster.name, cluster]));
  for (const name of [meant.source, meant.target]) {
    if (name === undefined || byName.has(name)) continue;
    throw new NoSuchLinkError(
      `${JSON.stringify(name)} is no cluster of this mesh; the clusters are ${[...byName.keys()].join(", ")}`,
    );
  }
  const links = mesh.clusters.flatMap((source) =>
    targetsOf(mesh, source.name).map((target) => ({ source, target: byName.get(target)! })),
  );
  const found = links.filter(
    ({ source, target }) =>
      (meant.source ?? source.name) === source.name && (meant.target ?? target.name) === target.name,
  );
  if (found.length > 0) return found;
  const ends = `${meant.source === undefined ? "" : ` from ${meant.source}`}${meant.target === undefined ? "" : ` to ${meant.target}`}`;
  throw new NoSuchLinkError(`the mesh has no link${ends}`);
}

async function rotate(
  mesh: Mesh,
  source: MeshCluster,
  target: MeshCluster,
  signal: AbortSignal | undefined,
): Promise<void> {
  const access = accessOf(mesh, source);
  const account = { namespace: mesh.namespace, serviceAccount: remoteAccessName(source.name) };
  const token = await requestToken({ name: target.name, access: accessOf(mesh, target) }, account);
  const kubeconfig = tokenKubeconfig(target.name, apiServerFor(mesh, target), mesh.namespace, token);
  await replaceCredentials(source.name, access, mesh.namespace, target.name, kubeconfig);
  await untilConnected(source.name, access, mesh.namespace, target.name, signal);
}

async function replaceCredentials(
  cluster: string,
  access: OperatorAccess,
  namespace: string,
  target: string,
  kubeconfig: string,
): Promise<void> {
  const api = await coreApi(access);
  const name = credentialsSecretName(target);
  const data = { [CREDENTIALS_SECRET_KEY]: Buffer.from(kubeconfig).toString("base64") };
  for (let attempt = 1; ; attempt++) {
    try {
      const secret = await api.readNamespacedSecret({ name, namespace });
      const body = { ...secret, data: { ...secret.data, ...data } };
      await api.replaceNamespacedSecret({ name, namespace, body, fieldManager: "isthmus" });
      return;
    } catch (error) {
      const { code } = error as { code?: unknown };
      if (code === 409 && attempt < TRIES) continue;
      const hint = code === 404 ? ": bring the link up first, with isthmus up" : "";
      throw new Error(
        `the Secret ${namespace}/${name} of cluster ${cluster} cannot be replaced: ${reasonOf(error)}${hint}`,
        { cause: error },
      );
    }
  }
}

async function untilConnected(
  cluster: string,
  access: OperatorAccess,
  namespace: string,
  name: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { CustomObjectsApi } = await import("@kubernetes/client-node");
  const api = (await operatorConfig(access)).makeApiClient(CustomObjectsApi);
  const ref = { group: LINK_GROUP, version: LINK_VERSION, plural: "links", namespace, name };
  const until = performance.now() + CONNECTED_WITHIN_MS;
  for (;;) {
    const link = (await api.getNamespacedCustomObject(ref).catch((error: unknown) => {
      throw new Error(`the Link ${namespace}/${name} of cluster ${cluster}: ${reasonOf(error)}`, {
        cause: error,
      });
    })) as Link;
    const condition = link.status?.conditions?.find(({ type }) => type === LINK_CONDITION.connected);
    if (condition?.status === "True") return;
    if (performance.now() > until) {
      const why = condition === undefined ? "its controller says nothing" : condition.message;
      throw new Error(
        `the Link ${namespace}/${name} of cluster ${cluster} has new credentials and is not connected: ${why}`,
      );
    }
    await delay(LOOK_EVERY_MS, undefined, { signal });
  }
}
