import { createHash } from "node:crypto";
import { realpathSync } from "node:fs";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { isDnsLabel } from "../../contract/index.ts";
import { UsageError } from "./errors.ts";

/** The checkout that these scripts belong to. */
export const checkoutRoot = realpathSync(join(import.meta.dirname, "../.."));

/** Short name of a checkout: six hexadecimal digits of the hash of its path, so that two checkouts do not collide. */
export function checkoutId(root: string): string {
  return createHash("sha256").update(root).digest("hex").slice(0, 6);
}

/** What everything of a cluster is called on this machine: `isthmus-<checkout>-<name>`. */
export function clusterId(checkout: string, name: string): string {
  return `isthmus-${checkout}-${name}`;
}

/** Where a checkout keeps its clusters: a directory each. */
export function clustersDirectory(root: string): string {
  return join(root, ".isthmus", "clusters");
}

/** Where one cluster's files are. */
export function clusterDirectory(root: string, name: string): string {
  return join(clustersDirectory(root), name);
}

/** Path of the administrator's kubeconfig of that one cluster. */
export function clusterKubeconfig(root: string, name: string): string {
  return join(clusterDirectory(root, name), "kubeconfig");
}

/** The kubeconfig with a context for every cluster; `ISTHMUS_KUBECONFIG` chooses another file. */
export function projectKubeconfig(root: string, env: NodeJS.ProcessEnv = process.env): string {
  const chosen = env.ISTHMUS_KUBECONFIG;
  return chosen ? resolve(chosen) : join(root, ".isthmus", "kubeconfig");
}

/** Where what is slow to make is kept, for all checkouts: `ISTHMUS_CACHE`, else `~/.cache/isthmus`. */
export function cacheDirectory(env: NodeJS.ProcessEnv = process.env): string {
  const chosen = env.ISTHMUS_CACHE;
  return chosen ? resolve(chosen) : join(env.XDG_CACHE_HOME || join(homedir(), ".cache"), "isthmus");
}

/** Throws `UsageError` for what cannot name a cluster, and for a name given twice. */
export function checkNames(names: readonly string[]): void {
  for (const name of names) {
    if (!isDnsLabel(name)) {
      throw new UsageError(
        `"${name}" cannot name a cluster: a name is 1 to 63 of a-z, 0-9 and "-", with no "-" at the ends`,
      );
    }
  }
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) throw new UsageError(`the cluster "${twice}" is named twice`);
}
