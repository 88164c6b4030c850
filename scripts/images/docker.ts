import { join } from "node:path";
import { $ } from "zx";
import { checkoutRoot } from "../clusters/checkout.ts";
import { ClusterError } from "../clusters/errors.ts";
import type { Progress } from "../clusters/progress.ts";
import { IMAGES, type ImageName } from "./definitions.ts";

/** How Docker builds each image: its Dockerfile and its context, in the checkout. */
const DOCKERFILES: Record<ImageName, { file: string; context: string }> = {
  controller: { file: "controller/Dockerfile", context: "." },
  haproxy: { file: "scripts/images/haproxy/Dockerfile", context: "scripts/images/haproxy" },
  demo: { file: "scripts/images/demo/Dockerfile", context: "scripts/images/demo" },
};

/** Build an image with Docker and write it to `archive`. Docker's own progress is shown. */
export async function dockerBuild(name: ImageName, archive: string, progress: Progress): Promise<void> {
  const { file, context } = DOCKERFILES[name];
  const docker = $({ cwd: checkoutRoot, stdio: ["ignore", process.stderr, process.stderr], nothrow: true });
  progress(`docker build --file ${file} ${context}`);
  const built =
    await docker`docker build --tag ${IMAGES[name]} --file ${join(checkoutRoot, file)} ${context}`;
  if (built.exitCode !== 0) throw new ClusterError(`docker could not build ${IMAGES[name]} from ${file}`);
  const saved = await docker`docker save --output ${archive} ${IMAGES[name]}`;
  if (saved.exitCode !== 0) throw new ClusterError(`docker could not save ${IMAGES[name]} to ${archive}`);
}
