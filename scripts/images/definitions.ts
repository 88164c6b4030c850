import { existsSync } from "node:fs";
import { mkdir, rename } from "node:fs/promises";
import { join } from "node:path";
import { $ } from "zx";
import { cacheDirectory } from "../clusters/checkout.ts";
import { ClusterError } from "../clusters/errors.ts";
import { ensurePackages, findCommand } from "../clusters/packages.ts";
import type { Progress } from "../clusters/progress.ts";
import type { ImageDefinition } from "./archive.ts";
import { buildController, NODE_FLAGS } from "./bundle.ts";
import { withLibraries } from "./libraries.ts";
import type { TarEntry } from "./tar.ts";

/** The user of the processes in all images; Kubernetes' examples and many images use the same number. */
export const USER = 65532;

/** What the project's images are called, and their references. */
export const IMAGES = {
  controller: "isthmus-controller:dev",
  haproxy: "isthmus-haproxy:dev",
  demo: "isthmus-demo:dev",
} as const;
export type ImageName = keyof typeof IMAGES;

/** What the test pod has beside curl: enough to look around and to call in a loop. */
const TOOLS = [
  "bash",
  "cat",
  "date",
  "env",
  "getent",
  "grep",
  "head",
  "id",
  "ls",
  "sed",
  "seq",
  "sleep",
  "tail",
  "wc",
];

/** Say what is in an image, made of files of this machine: no registry is asked for anything. */
export async function defineImage(name: ImageName, progress: Progress): Promise<ImageDefinition> {
  return { ...(await contents[name](progress)), reference: IMAGES[name], user: USER };
}

type Contents = Omit<ImageDefinition, "reference" | "user">;

const contents: Record<ImageName, (progress: Progress) => Promise<Contents>> = {
  async controller() {
    const bundle = await buildController();
    return {
      layers: [await nodeLayer(), [{ path: "isthmus-controller.mjs", type: "file", source: bundle }]],
      entrypoint: ["node", ...NODE_FLAGS, "/isthmus-controller.mjs"],
    };
  },

  async haproxy(progress) {
    await ensurePackages([{ command: "haproxy", package: "haproxy" }], progress);
    return {
      layers: [[...base, ...(await withLibraries({ "/usr/sbin/haproxy": command("haproxy") }))]],
      entrypoint: ["haproxy"],
    };
  },

  async demo(progress) {
    await ensurePackages([{ command: "curl", package: "curl" }], progress);
    const programs = Object.fromEntries(
      [...TOOLS, "curl"].map((tool) => [`/usr/bin/${tool}`, command(tool)]),
    );
    const tools: TarEntry[] = [
      ...(await withLibraries(programs)),
      { path: "bin/sh", type: "link", target: "/usr/bin/bash" },
    ];
    const server: TarEntry = {
      path: "server.mjs",
      type: "file",
      source: join(import.meta.dirname, "demo/server.mjs"),
    };
    return {
      layers: [await nodeLayer(), tools, [server]],
      entrypoint: ["node", "/server.mjs"],
      ports: [8888],
    };
  },
};

/** What programs expect to find anywhere: users, how to look up hosts, somewhere to write. */
const base: TarEntry[] = [
  {
    path: "etc/passwd",
    type: "text",
    text: `root:x:0:0:root:/root:/bin/sh\nisthmus:x:${USER}:${USER}::/:/bin/sh\n`,
  },
  { path: "etc/group", type: "text", text: `root:x:0:\nisthmus:x:${USER}:\n` },
  { path: "etc/nsswitch.conf", type: "text", text: "passwd: files\ngroup: files\nhosts: files dns\n" },
  { path: "tmp", type: "directory", mode: 0o1777 },
];

/** The Node that runs this, and what it is linked to. Images that have it share this layer. */
async function nodeLayer(): Promise<TarEntry[]> {
  return [...base, ...(await withLibraries({ "/usr/local/bin/node": await strippedNode() }))];
}

/** Node without its symbols, a sixth smaller, where the machine has `strip`. */
async function strippedNode(): Promise<string> {
  if (findCommand("strip") === undefined) return process.execPath;
  const directory = join(cacheDirectory(), "images");
  const path = join(directory, `node-${process.version}-${process.arch}`);
  if (!existsSync(path)) {
    await mkdir(directory, { recursive: true });
    await $({ quiet: true })`strip -o ${path}.${process.pid} ${process.execPath}`;
    await rename(`${path}.${process.pid}`, path);
  }
  return path;
}

function command(name: string): string {
  const path = findCommand(name);
  if (path === undefined) throw new ClusterError(`${name} is not on this machine's PATH`);
  return path;
}
