import { mkdir, mkdtemp, readlink, rename, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";

/**
 * Put files where a pod would see them, the way a kubelet does: into a directory of their own, which takes the place of
 * the one before by the renaming of one link.
 */
export async function mountFiles(directory: string, files: Record<string, string>): Promise<void> {
  await mkdir(directory, { recursive: true });
  const data = join(directory, "..data");
  const before = await readlink(data).catch(() => undefined);
  const fresh = await mkdtemp(`${directory}/..data-`);
  for (const [name, text] of Object.entries(files)) await writeFile(join(fresh, name), text);
  await symlink(fresh, join(directory, "..data_tmp"));
  await rename(join(directory, "..data_tmp"), data);
  if (before !== undefined) await rm(before, { recursive: true });
  else for (const name of Object.keys(files)) await symlink(join("..data", name), join(directory, name));
}
