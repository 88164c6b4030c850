import { createHash } from "node:crypto";
import { mkdtemp, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { type TarEntry, writeTar } from "./tar.ts";

/** A container image made of files of this machine. */
export interface ImageDefinition {
  /** `name:tag` */
  reference: string;
  /** Each a list of files; the later ones lie over the earlier. */
  layers: TarEntry[][];
  entrypoint: string[];
  cmd?: string[];
  /** `name=value` */
  env?: string[];
  /** User and group id of its processes. */
  user?: number;
  /** Ports it listens on, for the reader. */
  ports?: number[];
}

/**
 * Write an image as a docker archive, which `ctr`, `docker load` and `kind load image-archive` take. The same files give
 * the same bytes. Whoever reads `path` sees a whole archive or none.
 */
export async function writeArchive(path: string, image: ImageDefinition): Promise<void> {
  const folder = await mkdtemp(join(dirname(path), `.${basename(path)}-`));
  try {
    const layers: { digest: string; file: string }[] = [];
    for (const [index, entries] of image.layers.entries()) {
      const file = join(folder, `${index}.tar`);
      layers.push({ digest: await writeTar(file, entries), file });
    }
    const config = JSON.stringify(
      configOf(
        image,
        layers.map(({ digest }) => digest),
      ),
    );
    const configName = `${createHash("sha256").update(config).digest("hex")}.json`;
    const manifest = [
      {
        Config: configName,
        RepoTags: [image.reference],
        Layers: layers.map(({ digest }) => `${digest}.tar`),
      },
    ];
    const whole = join(folder, "image.tar");
    await writeTar(whole, [
      { path: "manifest.json", type: "text", text: JSON.stringify(manifest) },
      { path: configName, type: "text", text: config },
      ...layers.map(({ digest, file }): TarEntry => ({ path: `${digest}.tar`, type: "file", source: file })),
    ]);
    await rename(whole, path);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The image's configuration, as the OCI image specification has it. */
function configOf(image: ImageDefinition, digests: string[]): object {
  return {
    architecture: process.arch === "x64" ? "amd64" : process.arch,
    os: "linux",
    config: {
      Entrypoint: image.entrypoint,
      Cmd: image.cmd,
      Env: image.env ?? ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
      User: image.user === undefined ? undefined : `${image.user}:${image.user}`,
      ExposedPorts: image.ports && Object.fromEntries(image.ports.map((port) => [`${port}/tcp`, {}])),
    },
    rootfs: { type: "layers", diff_ids: digests.map((digest) => `sha256:${digest}`) },
  };
}
