import { platform } from "node:os";
import type { Driver } from "./driver.ts";
import { ClusterError, UsageError } from "./errors.ts";
import { KindDriver } from "./kind.ts";
import { NetnsDriver } from "./netns.ts";
import { findCommand } from "./packages.ts";
import { shell } from "./shell.ts";

/**
 * The way in which this machine has clusters: kind where a Docker engine answers, else netns on Linux as root. The
 * environment variable `ISTHMUS_CLUSTERS` (`kind` or `netns`) decides instead.
 *
 * @throws ClusterError when this machine can have none.
 */
export async function chooseDriver(root: string): Promise<Driver> {
  const wanted = process.env.ISTHMUS_CLUSTERS;
  if (wanted !== undefined && wanted !== "" && wanted !== "kind" && wanted !== "netns") {
    throw new UsageError(`ISTHMUS_CLUSTERS is "${wanted}"; it can be "kind" or "netns"`);
  }
  if (wanted === "kind" || (wanted !== "netns" && (await dockerAnswers()))) return new KindDriver(root);
  const why = wanted === "netns" ? "ISTHMUS_CLUSTERS is netns" : "no Docker engine answers";
  if (platform() !== "linux") throw new ClusterError(`${why}, and clusters without Docker need Linux`);
  if (process.getuid?.() !== 0) {
    throw new ClusterError(
      `${why}, and clusters without Docker need root; run this as root, or start Docker`,
    );
  }
  return new NetnsDriver(root);
}

async function dockerAnswers(): Promise<boolean> {
  if (findCommand("docker") === undefined) return false;
  return (await shell({ nothrow: true })`docker version --format ${"{{.Server.Version}}"}`).exitCode === 0;
}
