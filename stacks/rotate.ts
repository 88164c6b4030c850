/** New credentials for links that exist, at once, by the operator's own access to their targets. */
import { setTimeout as delay } from "node:timers/promises";
import { requestToken } from "../components/credentials.ts";
import { tokenKubeconfig } from "../components/kubeconfig.ts";
import { coreApi, type OperatorAccess, operatorConfig, reasonOf } from "../components/operator.ts";
import {
  type Condition,
  CREDENTIALS_SECRET_KEY,
  credentialsSecretName,
  LINK_CONDITION,
  LINK_GROUP,
  LINK_VERSION,
  type Link,
  remoteAccessName,
  timestamp,
} from "../contract/index.ts";
import { Limit } from "./engines/limit.ts";
import { loadMesh, type Mesh, type MeshCluster } from "./mesh.ts";
import { PARALLEL } from "./parallel.ts";
import { targetsOf } from "./plan.ts";
import { accessOf, apiServerFor, inTime, preflight } from "./preflight.ts";

export interface RotateOptions {
  /** @default "mesh.yaml" */
  file?: string;
  /** Only the links of this source. @default all */
  source?: string;
  /** Only the links to this target. @default all */
  target?: string;
  /** How many links are worked on at once. @default 4 */
  parallel?: number;
  /** Called for each link as it is done. */
  onLink?: (rotation: Rotation) => void;
  /** Links that are not begun on when it is aborted keep what they have. */
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

/** How often a Secret that the controller writes at the same time is tried. */
const TRIES = 5;
/** How long a controller may take to use new credentials, and how often it is looked whether it does. */
const [TAKEN_UP_WITHIN, LOOK_EVERY] = [30_000, 500];
/** A target that refuses a token has shown it by then: the controller asks it at once. */
const PROVEN_AFTER = 3_000;

/** A link, by its two clusters. */
interface Ends {
  source: MeshCluster;
  target: MeshCluster;
}

/**
 * Ask the targets of links for new tokens and put them in the links' credentials Secrets, where the controllers take them
 * up within seconds; mirrors stay as they are. For a token that has ended, or that may be in wrong hands. The tokens before
 * go on to their end.
 *
 * @throws MeshError for a declaration that is not valid, PreflightError where a cluster does not answer, NoSuchLinkError
 * where the mesh has no such link
 */
export async function rotateCredentials(options: RotateOptions = {}): Promise<Rotation[]> {
  const { file = "mesh.yaml", parallel = PARALLEL, onLink, signal } = options;
  const limit = new Limit(parallel);
  const mesh = loadMesh(file);
  const links = linksMeant(mesh, options);
  const clusters = new Set(links.flatMap(({ source, target }) => [source.name, target.name]));
  await preflight({ ...mesh, exports: [] }, [...clusters]);
  const done = links.map((ends) =>
    limit.run(async () => {
      const rotation: Rotation = { source: ends.source.name, target: ends.target.name };
      try {
        await rotate(mesh, ends, signal);
      } catch (error) {
        rotation.problem = signal?.aborted ? "interrupted" : (error as Error).message;
      }
      onLink?.(rotation);
      return rotation;
    }),
  );
  return await Promise.all(done);
}

function linksMeant(mesh: Mesh, meant: RotateOptions): Ends[] {
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
  const from = meant.source === undefined ? "" : ` from ${meant.source}`;
  const to = meant.target === undefined ? "" : ` to ${meant.target}`;
  throw new NoSuchLinkError(`the mesh has no link${from}${to}`);
}

async function rotate(mesh: Mesh, { source, target }: Ends, signal: AbortSignal | undefined): Promise<void> {
  signal?.throwIfAborted();
  const account = { namespace: mesh.namespace, serviceAccount: remoteAccessName(source.name) };
  const token = await inTime(
    requestToken({ name: target.name, access: accessOf(mesh, target) }, account),
    `cluster ${target.name} gives no token for the ServiceAccount ${account.namespace}/${account.serviceAccount}`,
  );
  signal?.throwIfAborted();
  const kubeconfig = tokenKubeconfig(target.name, apiServerFor(mesh, target), mesh.namespace, token);
  const place = { cluster: source.name, access: accessOf(mesh, source), namespace: mesh.namespace };
  await replaceCredentials(place, target.name, kubeconfig);
  await untilConnected(place, target.name, endOf(token), signal);
}

/** Where a link is. */
interface Place {
  cluster: string;
  access: OperatorAccess;
  namespace: string;
}

async function replaceCredentials(place: Place, target: string, kubeconfig: string): Promise<void> {
  const { cluster, access, namespace } = place;
  const api = await coreApi(access);
  const name = credentialsSecretName(target);
  const data = { [CREDENTIALS_SECRET_KEY]: Buffer.from(kubeconfig).toString("base64") };
  for (let attempt = 1; ; attempt++) {
    try {
      const secret = await inTime(api.readNamespacedSecret({ name, namespace }));
      const body = { ...secret, data: { ...secret.data, ...data } };
      await inTime(api.replaceNamespacedSecret({ name, namespace, body, fieldManager: "isthmus" }));
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

/** Until the controller says that it goes by the token with this end, and the target has taken it. */
async function untilConnected(
  place: Place,
  name: string,
  end: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { cluster, access, namespace } = place;
  const { CustomObjectsApi } = await import("@kubernetes/client-node");
  const api = (await operatorConfig(access)).makeApiClient(CustomObjectsApi);
  const ref = { group: LINK_GROUP, version: LINK_VERSION, plural: "links", namespace, name };
  const what = `the Link ${namespace}/${name} of cluster ${cluster} has new credentials, and`;
  const until = performance.now() + TAKEN_UP_WITHIN;
  let provenAt: number | undefined;
  let last = "is not looked at by any controller";
  while (performance.now() < until) {
    try {
      const link = (await inTime(api.getNamespacedCustomObject(ref))) as Link;
      const [connected, fresh] = [LINK_CONDITION.connected, LINK_CONDITION.credentialsFresh].map((type) =>
        link.status?.conditions?.find((condition) => condition.type === type),
      );
      if (fresh?.message.includes(end)) provenAt ??= performance.now() + PROVEN_AFTER;
      last = provenAt === undefined ? "its controller does not use them" : notConnected(connected);
      if (provenAt !== undefined && performance.now() >= provenAt && connected?.status === "True") return;
    } catch (error) {
      last = `cannot be read: ${reasonOf(error)}`;
    }
    await delay(LOOK_EVERY, undefined, { signal });
  }
  throw new Error(`${what} ${last}`);
}

function notConnected(connected: Condition | undefined): string {
  return `is not connected: ${connected?.message ?? "its controller does not say why"}`;
}

/** When a token ends, as the controller writes it in the condition `CredentialsFresh`. */
function endOf(token: string): string {
  const { exp } = JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString());
  return timestamp(exp * 1000);
}
