import { existsSync, readdirSync, readFileSync } from "node:fs";
import { rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ClusterError } from "./errors.ts";

/** What is noted of a cluster in its directory, `cluster.json`. Whether it runs is not: see sandbox.ts. */
export interface ClusterRecord {
  /** Tells its address from those of the checkout's other clusters. */
  index: number;
  /** The network of the checkout's nodes, `198.18.7.0/24`. */
  network: string;
  /** Address of its node, and of its API server. */
  address: string;
  controlPlaneOnly: boolean;
}

/** Read what is noted in a cluster's directory; undefined when nothing is. */
export function readRecord(directory: string): ClusterRecord | undefined {
  const path = join(directory, "cluster.json");
  if (!existsSync(path)) return undefined;
  try {
    return JSON.parse(readFileSync(path, "utf8"));
  } catch {
    throw new ClusterError(`${path} is damaged; take the cluster down and up again`);
  }
}

/** Note it, so that a reader sees the old or the new, never half. */
export async function writeRecord(directory: string, record: ClusterRecord): Promise<void> {
  const path = join(directory, "cluster.json");
  await writeFile(`${path}.partial`, `${JSON.stringify(record, undefined, 2)}\n`);
  await rename(`${path}.partial`, path);
}

/** Names of the clusters that have a directory. */
export function directoriesIn(clusters: string): string[] {
  if (!existsSync(clusters)) return [];
  return readdirSync(clusters, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name);
}
