import { readFile, rename, writeFile } from "node:fs/promises";

/**
 * Give `file` this content, all at once: a reader finds the old content or the new. Nothing is written where it has it
 * already.
 *
 * @returns whether it was written
 */
export async function writeAtomically(file: string, content: string, mode = 0o600): Promise<boolean> {
  if ((await readIfThere(file)) === content) return false;
  const temporary = `${file}.new`;
  await writeFile(temporary, content, { mode });
  await rename(temporary, file);
  return true;
}

/** The content of `file`; undefined where there is no such file. */
export async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}
