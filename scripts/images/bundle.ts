import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { build } from "esbuild";

const root = join(import.meta.dirname, "../..");

/**
 * How Node runs the bundle; `controller/Dockerfile` says the same. A controller mostly waits, and in between has much to do for
 * seconds. So its heap stays small; new objects get room enough to be gone when it is looked through; and no code is compiled
 * a third time, for an hour of work that never comes. `npm run bench -- mirror`: with the first alone it takes a fifth more
 * memory and a tenth more processor time.
 */
export const NODE_FLAGS = [
  "--optimize-for-size",
  "--min-semi-space-size=4",
  "--max-semi-space-size=4",
  "--no-turbofan",
] as const;

/** Bundle the controller with all it imports. @returns the path of the bundle, `dist/isthmus-controller.mjs`. */
export async function buildController(): Promise<string> {
  const outfile = join(root, "dist", "isthmus-controller.mjs");
  await mkdir(join(root, "dist"), { recursive: true });
  await build({
    absWorkingDir: root,
    entryPoints: ["controller/main.ts"],
    outfile,
    bundle: true,
    platform: "node",
    target: "node22",
    format: "esm",
    // Packages that are not ES modules call `require`, which a module has only if it makes one.
    banner: {
      js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);',
    },
    // The text of a program stays in its memory: without blanks and comments, 6 MiB less. Names are kept, for stack traces.
    minifyWhitespace: true,
    minifySyntax: true,
    legalComments: "eof",
    logLevel: "warning",
  });
  return outfile;
}
