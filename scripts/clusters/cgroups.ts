import { existsSync, readdirSync } from "node:fs";
import { mkdir, readFile, rmdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { waitFor } from "./waiting.ts";

const ROOT = "/sys/fs/cgroup";

/** The cgroup hierarchies of this machine: one with version 2, one for each controller with version 1. */
function hierarchies(): string[] {
  if (isVersion2()) return [ROOT];
  return readdirSync(ROOT, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && existsSync(join(ROOT, entry.name, "cgroup.procs")))
    .map((entry) => join(ROOT, entry.name));
}

function isVersion2(): boolean {
  return existsSync(join(ROOT, "cgroup.controllers"));
}

/** Have the cgroup `path` (`/a/b`), which a kubelet then puts its pods under. It takes no pods where its parent is missing. */
export async function ensureCgroup(path: string): Promise<void> {
  for (const hierarchy of hierarchies()) await mkdir(join(hierarchy, path), { recursive: true });
  if (isVersion2()) await delegate(path);
}

/** With version 2, a group has a controller only if every group above it hands it down. */
async function delegate(path: string): Promise<void> {
  let group = ROOT;
  for (const part of ["", ...path.split("/").filter((part) => part !== "")]) {
    group = join(group, part);
    const controllers = (await readFile(join(group, "cgroup.controllers"), "utf8")).trim().split(/\s+/);
    const wanted = controllers.filter((name) => name !== "").map((name) => `+${name}`);
    await writeFile(join(group, "cgroup.subtree_control"), wanted.join(" "));
  }
}

/** Remove the cgroup `path` and all under it, once their processes are gone. */
export async function removeCgroup(path: string): Promise<void> {
  for (const hierarchy of hierarchies()) {
    // A group stays busy for a moment after its last process.
    await waitFor(`cgroup ${hierarchy}${path} to be free`, () => tryRemove(join(hierarchy, path)));
  }
}

async function tryRemove(group: string): Promise<boolean> {
  try {
    for (const entry of readdirSync(group, { withFileTypes: true })) {
      if (entry.isDirectory() && !(await tryRemove(join(group, entry.name)))) return false;
    }
    await rmdir(group);
    return true;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "ENOENT") return true;
    if (code === "EBUSY") return false;
    throw error;
  }
}
