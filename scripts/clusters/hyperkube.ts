import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { mkdir, rename, rm, symlink, writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { $ } from "zx";
import { cacheDirectory } from "./checkout.ts";
import { ClusterError } from "./errors.ts";
import { withLock } from "./lock.ts";
import type { Progress } from "./progress.ts";

const SOURCES = join(import.meta.dirname, "hyperkube");
const FILES = ["go.mod", "go.sum", "main.go", "pause/main.go"];
/** What a cold build costs: packages compiled on one core for so long. */
const CORE_MINUTES = 12;

/** Where the builds of all checkouts are, a directory for each version of the sources. */
export function buildsDirectory(): string {
  return join(cacheDirectory(), "kubernetes");
}

/** Name of this checkout's build: the hash of its sources, so that changed sources are a new build. */
export function buildKey(): string {
  const hash = createHash("sha256").update(process.arch);
  for (const file of FILES) hash.update(file).update(readFileSync(join(SOURCES, file)));
  return hash.digest("hex").slice(0, 16);
}

/** The Kubernetes version in this checkout, `v1.34.4`. */
export function kubernetesVersion(): string {
  const match = /^require k8s\.io\/kubernetes (v\S+)$/m.exec(readFileSync(join(SOURCES, "go.mod"), "utf8"));
  if (!match?.[1]) throw new ClusterError(`${join(SOURCES, "go.mod")} names no version of k8s.io/kubernetes`);
  return match[1];
}

/** Path of the built kubectl; it exists once `ensureHyperkube` has run. */
export function builtKubectl(): string {
  return join(buildsDirectory(), buildKey(), "kubectl");
}

/** Path of the built pause binary, the first process of every pod; it exists once `ensureHyperkube` has run. */
export function builtPause(): string {
  return join(buildsDirectory(), buildKey(), "pause");
}

/** Build Kubernetes from Go modules, unless that was done before. Minutes the first time; shows how far it is. */
export async function ensureHyperkube(progress: Progress): Promise<void> {
  const target = join(buildsDirectory(), buildKey());
  if (existsSync(target)) return;
  await withLock(
    `build-${createHash("sha256").update(target).digest("hex").slice(0, 12)}`,
    (pid) => progress(`process ${pid} is building Kubernetes already; waiting for it`),
    async () => {
      if (!existsSync(target)) await build(target, progress);
    },
  );
}

async function build(target: string, progress: Progress): Promise<void> {
  await checkGo();
  const partial = `${target}.partial`;
  await rm(partial, { recursive: true, force: true });
  await mkdir(partial, { recursive: true });
  const version = kubernetesVersion();
  const minutes = Math.ceil(CORE_MINUTES / availableParallelism());
  progress(
    `building Kubernetes ${version} and etcd from Go modules, once: about ${minutes} min on this machine`,
  );

  progress("listing packages (downloads the modules the first time: about 300 MB)");
  const go = $({ cwd: SOURCES, quiet: true, env: { ...process.env, CGO_ENABLED: "0" } });
  const listed = await go({ nothrow: true })`go list -deps . ./pause`;
  if (listed.exitCode !== 0)
    throw new ClusterError(`Kubernetes' Go modules could not be had:\n${tail(listed.stderr)}`);
  const total = listed.lines().length;

  const stamp = ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"]
    .flatMap((path) => versionFlags(path, version))
    .join(" ");
  const args = [
    "build",
    "-v",
    "-trimpath",
    "-ldflags",
    `-s -w ${stamp}`,
    "-o",
    `${partial}/`,
    ".",
    "./pause",
  ];
  await runBuild(args, total, progress);
  await symlink("hyperkube", join(partial, "kubectl"));
  // For whoever looks into the cache.
  await writeFile(join(partial, "README"), `Kubernetes ${version}, built from ${SOURCES}\n`);
  await rename(partial, target);
  progress(`built Kubernetes ${version}`);
}

function versionFlags(path: string, version: string): string[] {
  const [, major, minor] = /^v(\d+)\.(\d+)/.exec(version) ?? [];
  const values = { gitVersion: version, gitMajor: major, gitMinor: minor };
  return Object.entries(values).map(([name, value]) => `-X ${path}.${name}=${value}`);
}

/** `go build -v` writes a line for every package that it compiles; others come from Go's own cache. */
async function runBuild(args: string[], total: number, progress: Progress): Promise<void> {
  const child = spawn("go", args, {
    cwd: SOURCES,
    env: { ...process.env, CGO_ENABLED: "0" },
    stdio: ["ignore", "ignore", "pipe"],
  });
  const output: string[] = [];
  let compiled = 0;
  createInterface({ input: child.stderr }).on("line", (line) => {
    output.push(line);
    if (output.length > 100) output.shift();
    compiled++;
  });
  const ticker = setInterval(() => progress(`compiled ${compiled} of at most ${total} packages`), 10_000);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", resolve);
  }).finally(() => clearInterval(ticker));
  if (code !== 0) {
    throw new ClusterError(
      `Kubernetes could not be built (go ended with ${code}):\n${tail(output.join("\n"))}`,
    );
  }
}

async function checkGo(): Promise<void> {
  const need = "building Kubernetes needs Go 1.24 or newer on the PATH; get it from https://go.dev/dl";
  const found = await $({ quiet: true, nothrow: true, cwd: SOURCES })`go env GOVERSION`;
  if (found.exitCode === 127) throw new ClusterError(need);
  if (found.exitCode !== 0) throw new ClusterError(`${need}\n${tail(found.stderr)}`);
  const [, minor] = /^go1\.(\d+)/.exec(found.stdout) ?? [];
  if (minor !== undefined && Number(minor) < 24)
    throw new ClusterError(`${need}; this is ${found.stdout.trim()}`);
}

function tail(text: string): string {
  return text.trim().split("\n").slice(-15).join("\n");
}
