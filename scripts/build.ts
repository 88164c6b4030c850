import { join } from "node:path";
import { $ } from "zx";
import { buildController } from "./images/bundle.ts";

/**
 * `npm run build`: what is published, in `dist/`: the package compiled, and the controller as one file. The second alone:
 * `npm run build -- controller`.
 */

const root = join(import.meta.dirname, "..");
const [what, ...rest] = process.argv.slice(2);
if (rest.length > 0 || (what !== undefined && what !== "controller")) {
  console.error("usage: npm run build [-- controller]");
  process.exit(2);
}
if (what === undefined) {
  const compiled = await $({ cwd: root, stdio: "inherit", nothrow: true })`tsc --project tsconfig.build.json`;
  if (compiled.exitCode !== 0) process.exit(1);
}
try {
  console.log(await buildController());
} catch {
  // esbuild has said what is wrong.
  process.exitCode = 1;
}
