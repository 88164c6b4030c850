/** One run at a time a mesh. The lock names its holder, so that a lock of the dead is recognised and taken over. */
import { randomUUID } from "node:crypto";
import { link, readFile, rm, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { dirname } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { makeStateDirectory } from "./file.ts";

/** How often to look whether another run is done with removing a stale lock, in milliseconds. */
const POLL = 10;

interface Holder {
  pid: number;
  host: string;
  /** When the holder's process started, so that a reused process id is not taken for it. Empty where it cannot be told. */
  started: string;
  since: string;
}

export class LockedError extends Error {
  override readonly name = "LockedError";
}

/**
 * Takes the lock at once or not at all.
 * @returns a function that gives it back
 * @throws LockedError naming the holder
 */
export async function takeLock(path: string): Promise<() => Promise<void>> {
  await makeStateDirectory(dirname(path));
  while (!(await create(path))) await removeIfStale(path);
  return () => rm(path, { force: true });
}

/** Puts a lock of ours there, with its content or not at all, and never over another. */
async function create(path: string): Promise<boolean> {
  const mine: Holder = {
    pid: process.pid,
    host: hostname(),
    started: await startOf(process.pid),
    since: new Date().toISOString(),
  };
  const candidate = `${path}.${randomUUID()}`;
  await writeFile(candidate, JSON.stringify(mine), { mode: 0o600 });
  try {
    return await linked(candidate, path);
  } finally {
    await rm(candidate, { force: true });
  }
}

async function linked(candidate: string, path: string): Promise<boolean> {
  try {
    await link(candidate, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

/** @throws LockedError when its holder is at work */
async function removeIfStale(path: string): Promise<void> {
  if ((await staleHolder(path)) === undefined) return;
  // Of many that find it stale one removes it, and looks again before it does: another lock may be there by then.
  const removal = `${path}.removal`;
  if (!(await create(removal))) {
    const remover = await holderOf(removal);
    if (remover !== undefined && !(await isAlive(remover))) {
      throw new LockedError(`A run was killed while it took over a lock. Remove ${removal} and try again`);
    }
    await delay(POLL);
    return;
  }
  try {
    if ((await staleHolder(path)) !== undefined) await rm(path, { force: true });
  } finally {
    await rm(removal, { force: true });
  }
}

/** @returns undefined when the lock is gone. @throws LockedError when its holder is at work, or may be */
async function staleHolder(path: string): Promise<Holder | undefined> {
  const holder = await holderOf(path);
  if (holder === undefined) return undefined;
  if (holder.host !== hostname() || (await isAlive(holder))) {
    throw new LockedError(
      `Another run is at work on this mesh: process ${holder.pid} on ${holder.host}, since ${holder.since}. ` +
        `Wait for it to end; if it is not running any more, remove ${path}`,
    );
  }
  return holder;
}

async function holderOf(path: string): Promise<Holder | undefined> {
  try {
    return JSON.parse(await readFile(path, "utf8")) as Holder;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new Error(
      `The lock ${path} cannot be read (${(error as Error).message}). Remove it if no run is at work`,
    );
  }
}

async function isAlive(holder: Holder): Promise<boolean> {
  try {
    process.kill(holder.pid, 0);
  } catch (error) {
    // EPERM: it is there, and someone else's.
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
  const started = await startOf(holder.pid);
  return started === "" || holder.started === "" || started === holder.started;
}

/** Clock ticks from boot to the start of the process: field 22 of Linux's stat, counted after the command's name. */
async function startOf(pid: number): Promise<string> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? "";
  } catch {
    return "";
  }
}
