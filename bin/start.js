import { existsSync } from "node:fs";

/**
 * Run a program of this package: its compiled form where the package is installed, its TypeScript source in a
 * checkout (Node strips the types itself, from 22.18 on). Returns what its module exports.
 */
export async function start(program) {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  if (major < 22 || (major === 22 && minor < 18)) {
    console.error(
      `isthmus needs Node 22.18 or newer, this is ${process.versions.node} (${process.execPath})`,
    );
    process.exit(1);
  }
  const source = new URL(`../${program}.ts`, import.meta.url);
  return await import(
    existsSync(source) ? source.href : new URL(`../dist/${program}.js`, import.meta.url).href
  );
}
