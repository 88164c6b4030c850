import { existsSync, readdirSync } from "node:fs";
import { mkdir, readFile, rmdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ClusterError } from "./errors.ts";
import { waitFor } from "./waiting.ts";

/** Where the machine's cgroups are. */
const ROOT = "/sys/fs/cgroup";

/**
 * Have the cgroup `path` (`/a/b`), which a kubelet then puts its pods under: it makes no group above its own.
 *
 * @param root where the cgroups are mounted. @default /sys/fs/cgroup
 */
export async function ensureCgroup(path: string, root = ROOT): Promise<void> {
  for (const hierarchy of hierarchies(root)) await mkdir(join(hierarchy, path), { recursive: true });
  if (isVersion2(root)) await handDown(path, root);
}

/**
 * Remove the cgroup `path` and all under it, once their processes are gone.
 *
 * @param root where the cgroups are mounted. @default /sys/fs/cgroup
 */
export async function removeCgroup(path: string, root = ROOT): Promise<void> {
  for (const hierarchy of hierarchies(root)) {
    // A group stays busy for a moment after its last process.
    await waitFor(`cgroup ${hierarchy}${path} to be free`, () => tryRemove(join(hierarchy, path)));
  }
}

/** The hierarchies of groups: one with version 2 of cgroups, one for each controller or so with version 1. */
function hierarchies(root: string): string[] {
  if (isVersion2(root)) return [root];
  return readdirSync(root, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && existsSync(join(root, entry.name, "cgroup.procs")))
    .map((entry) => join(root, entry.name));
}

function isVersion2(root: string): boolean {
  return existsSync(join(root, "cgroup.controllers"));
}

/** With version 2, a group has a controller only if every group above hands it down. */
async function handDown(path: string, root: string): Promise<void> {
  const words = async (file: string) =>
    (await readFile(file, "utf8")).split(/\s+/).filter((word) => word !== "");
  let group = root;
  for (const part of ["", ...path.split("/").filter((part) => part !== "")]) {
    group = join(group, part);
    const handed = join(group, "cgroup.subtree_control");
    const already = new Set(await words(handed));
    const lacking = (await words(join(group, "cgroup.controllers"))).filter((name) => !already.has(name));
    if (lacking.length === 0) continue;
    await writeFile(handed, lacking.map((name) => `+${name}`).join(" ")).catch((error) => {
      if (error.code !== "EBUSY") throw error;
      throw new ClusterError(
        `the cgroup ${group} has processes of its own, so ${lacking.join(", ")} cannot be had for pods; ` +
          "this happens in containers: start the clusters outside of one",
      );
    });
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
