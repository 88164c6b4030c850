import { existsSync, realpathSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { $ } from "zx";
import type { TarEntry } from "./tar.ts";

/** Libraries that no program names, because glibc loads them by itself to look up hosts and users. */
const LOADED_BY_NAME = ["libnss_files.so.2", "libnss_dns.so.2", "libresolv.so.2"];

/**
 * Programs of this machine with every library they are linked to, as entries of an image.
 *
 * @param programs where each goes in the image: what it is on this machine.
 */
export async function withLibraries(programs: Record<string, string>): Promise<TarEntry[]> {
  const entries = Object.entries(programs).map(([path, source]) => executable(path, realpathSync(source)));
  const libraries = new Set<string>();
  for (const source of Object.values(programs)) {
    for (const library of await librariesOf(source)) libraries.add(library);
  }
  for (const library of [...libraries].filter((path) => basename(path).startsWith("libc.so"))) {
    for (const name of LOADED_BY_NAME) libraries.add(join(dirname(library), name));
  }
  for (const library of libraries) {
    if (existsSync(library)) entries.push(executable(library, realpathSync(library)));
  }
  return entries;
}

/** Paths of the libraries that a program is linked to, and of the loader; none for a static one. */
async function librariesOf(program: string): Promise<string[]> {
  const listed = await $({ quiet: true, nothrow: true })`ldd ${program}`;
  if (listed.exitCode !== 0) {
    if (/not a dynamic executable/.test(listed.stdout + listed.stderr)) return [];
    throw new Error(`ldd ${program}: ${listed.stderr.trim()}`);
  }
  return parseLdd(program, listed.stdout);
}

/** The paths that `ldd` prints. @throws when it prints a library that is not there. */
export function parseLdd(program: string, output: string): string[] {
  const missing = /^\s*(\S+) => not found/m.exec(output);
  if (missing) throw new Error(`${program} needs ${missing[1]}, which this machine does not have`);
  return [...output.matchAll(/^\s*(?:\S+ => )?(\/\S+) \(0x/gm)].map((match) => String(match[1]));
}

function executable(path: string, source: string): TarEntry {
  return { path, type: "file", source, mode: 0o755 };
}
