import { existsSync } from "node:fs";
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { parse, stringify } from "yaml";
import { ClusterError } from "./errors.ts";

/** A kubeconfig, as far as it matters here. */
export interface Kubeconfig {
  apiVersion: "v1";
  kind: "Config";
  clusters: { name: string; cluster: KubeconfigCluster }[];
  users: { name: string; user: KubeconfigUser }[];
  contexts: { name: string; context: { cluster: string; user: string } }[];
  "current-context": string;
}

export interface KubeconfigCluster {
  server: string;
  "certificate-authority-data": string;
  extensions?: { name: string; extension: unknown }[];
}

export interface KubeconfigUser {
  "client-certificate-data": string;
  "client-key-data": string;
}

/** Name of the extension with the address of the API server that other clusters' pods can use. */
const API_SERVER_EXTENSION = "isthmus.dev/api-server";

/**
 * A kubeconfig for one cluster, context, cluster and user all named `name`.
 *
 * @param peerServer the API server's URL as other clusters' pods can use it; `server` may be one for this machine only.
 */
export function singleKubeconfig(
  name: string,
  server: string,
  peerServer: string,
  certificates: { authority: string; certificate: string; key: string },
): Kubeconfig {
  const encode = (pem: string) => Buffer.from(pem).toString("base64");
  return {
    apiVersion: "v1",
    kind: "Config",
    clusters: [
      {
        name,
        cluster: {
          server,
          "certificate-authority-data": encode(certificates.authority),
          extensions: [{ name: API_SERVER_EXTENSION, extension: { server: peerServer } }],
        },
      },
    ],
    users: [
      {
        name,
        user: {
          "client-certificate-data": encode(certificates.certificate),
          "client-key-data": encode(certificates.key),
        },
      },
    ],
    contexts: [{ name, context: { cluster: name, user: name } }],
    "current-context": name,
  };
}

/** The URL of the API server that other clusters' pods can use, of a kubeconfig made by `singleKubeconfig`. */
export function peerServerOf(config: Kubeconfig): string | undefined {
  const extensions = config.clusters[0]?.cluster.extensions ?? [];
  const found = extensions.find(({ name }) => name === API_SERVER_EXTENSION)?.extension;
  return (found as { server?: string } | undefined)?.server;
}

/** `base` with the context of `added` in place of one of the same name. The current context stays, if there is one. */
export function withContext(base: Kubeconfig | undefined, added: Kubeconfig): Kubeconfig {
  if (base === undefined) return added;
  const rest = withoutContext(base, added["current-context"]);
  return {
    ...rest,
    clusters: [...rest.clusters, ...added.clusters],
    users: [...rest.users, ...added.users],
    contexts: [...rest.contexts, ...added.contexts],
    "current-context": base["current-context"] || added["current-context"],
  };
}

/** `base` less the context `name`, its cluster and its user; another context becomes the current one if that was it. */
export function withoutContext(base: Kubeconfig, name: string): Kubeconfig {
  const other = <T extends { name: string }>(entries: T[]) => entries.filter((entry) => entry.name !== name);
  const contexts = other(base.contexts);
  const current = base["current-context"] === name ? (contexts[0]?.name ?? "") : base["current-context"];
  return {
    ...base,
    clusters: other(base.clusters),
    users: other(base.users),
    contexts,
    "current-context": current,
  };
}

/** Read a kubeconfig; undefined when there is none. */
export async function readKubeconfig(path: string): Promise<Kubeconfig | undefined> {
  if (!existsSync(path)) return undefined;
  const value = parse(await readFile(path, "utf8"));
  if (value?.kind !== "Config")
    throw new ClusterError(`${path} is no kubeconfig; move it away and run this again`);
  return {
    ...value,
    clusters: value.clusters ?? [],
    users: value.users ?? [],
    contexts: value.contexts ?? [],
  };
}

/** Write a kubeconfig that only its owner can read, or remove it when no context is left. Readers never see half a file. */
export async function writeKubeconfig(path: string, config: Kubeconfig): Promise<void> {
  if (config.contexts.length === 0) {
    await rm(path, { force: true });
    return;
  }
  await mkdir(dirname(path), { recursive: true });
  const partial = `${path}.${process.pid}.partial`;
  await writeFile(partial, stringify(config), { mode: 0o600 });
  await rename(partial, path);
}

/** Put the context of `added` into the kubeconfig at `path`, unless it is there already. */
export async function addContext(path: string, added: Kubeconfig): Promise<void> {
  const base = await readKubeconfig(path);
  const merged = withContext(base, added);
  const content = (config: Kubeconfig | undefined) =>
    config && JSON.stringify([byName(config.contexts), byName(config.clusters), byName(config.users)]);
  if (content(base) !== content(merged)) await writeKubeconfig(path, merged);
}

/** Take the context `name` out of the kubeconfig at `path`. */
export async function removeContext(path: string, name: string): Promise<void> {
  const base = await readKubeconfig(path);
  if (base?.contexts.some((context) => context.name === name)) {
    await writeKubeconfig(path, withoutContext(base, name));
  }
}

function byName<T extends { name: string }>(entries: readonly T[]): T[] {
  return [...entries].sort((a, b) => a.name.localeCompare(b.name));
}
