import { platform } from "node:os";
import type { Driver } from "./driver.ts";
import { ClusterError } from "./errors.ts";
import { NetnsDriver } from "./netns.ts";

/** The driver that this machine can have: kind where a Docker engine answers, else netns on Linux as root. */
export async function chooseDriver(root: string): Promise<Driver> {
  if (platform() !== "linux")
    throw new ClusterError("no Docker engine answers, and clusters without one need Linux");
  if (process.getuid?.() !== 0)
    throw new ClusterError("no Docker engine answers, and clusters without one need root");
  return new NetnsDriver(root);
}
