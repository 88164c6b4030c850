import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { checkoutRoot } from "../clusters/checkout.ts";
import { driverName, kubeconfigPath, loadImage } from "../clusters/index.ts";
import { progressOf } from "../clusters/progress.ts";
import { writeArchive } from "./archive.ts";
import { defineImage, type ImageName } from "./definitions.ts";
import { dockerBuild } from "./docker.ts";

/**
 * Build images of the project: with Docker where its engine answers, else of files of this machine.
 *
 * @returns where each is, as a docker archive.
 */
export async function buildImages(names: readonly ImageName[]): Promise<Map<ImageName, string>> {
  const directory = join(checkoutRoot, ".isthmus", "images");
  await mkdir(directory, { recursive: true });
  const withDocker = (await driverName()) === "kind";
  const archives = new Map<ImageName, string>();
  for (const name of names) {
    const progress = progressOf(name);
    const archive = join(directory, `${name}.tar`);
    if (withDocker) await dockerBuild(name, archive, progress);
    else await writeArchive(archive, await defineImage(name, progress));
    progress(`built ${archive}`);
    archives.set(name, archive);
  }
  return archives;
}

/**
 * Build images of the project and load them into clusters.
 *
 * @throws ClusterError when one of `clusters` is no cluster of the checkout, before anything is built.
 */
export async function loadImages(names: readonly ImageName[], clusters: readonly string[]): Promise<void> {
  for (const cluster of clusters) await kubeconfigPath(cluster);
  const archives = await buildImages(names);
  for (const [name, archive] of archives) {
    const progress = progressOf(name);
    await Promise.all(clusters.map((cluster) => loadImage(cluster, archive)));
    progress(`loaded into ${clusters.join(", ")}`);
  }
}
