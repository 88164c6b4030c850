import { spawn } from "node:child_process";
import { closeSync, existsSync, openSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { basename, join } from "node:path";
import { ClusterError } from "./errors.ts";
import { isAlive, isFirstOfNamespace, listProcesses, type Process } from "./processes.ts";
import { BARE_ENVIRONMENT, shell } from "./shell.ts";
import { waitFor } from "./waiting.ts";

/**
 * The namespaces of one cluster, held by a first process (sandbox.sh). There are no files that say what runs: it is read
 * from /proc, so it is right after a crash too.
 */
export interface Sandbox {
  /** `isthmus-<checkout>-<cluster>` */
  id: string;
  /** Process id of the first process, as this machine sees it. */
  pid: number;
}

/** A long-running program of a cluster. */
export interface Daemon {
  /** Names its log, and tells it from the cluster's other daemons. */
  name: string;
  /** Program and arguments, with paths as they are inside the sandbox. */
  argv: string[];
}

/** In the sandbox: the cluster's directory. */
export const STATE = "/run/isthmus";
/** In the sandbox: the cache of Kubernetes builds. */
export const BUILDS = "/run/kubernetes";

/** All running sandboxes whose id starts with `prefix`. */
export function findSandboxes(prefix: string): Sandbox[] {
  return listProcesses().flatMap(({ pid, argv }) => {
    const [, script, id] = argv;
    if (script === undefined || id === undefined) return [];
    const ours = basename(script) === "sandbox.sh" && id.startsWith(prefix) && isFirstOfNamespace(pid);
    return ours ? [{ id, pid }] : [];
  });
}

/** The running sandbox with that id. */
export function findSandbox(id: string): Sandbox | undefined {
  return findSandboxes(id).find((sandbox) => sandbox.id === id);
}

/** The command that runs what follows it in the sandbox. */
export function entering(sandbox: Sandbox): string[] {
  return ["nsenter", "--target", String(sandbox.pid), "--mount", "--net", "--pid", "--wdns=/"];
}

/** A path of the sandbox as this machine sees it. */
export function pathInside(sandbox: Sandbox, path: string): string {
  return join(`/proc/${sandbox.pid}/root`, path);
}

/** Start the namespaces of the cluster `id`, whose files are in `state`. They outlive this process. */
export async function startSandbox(id: string, state: string, builds: string): Promise<Sandbox> {
  await mkdir(join(state, "log"), { recursive: true });
  const log = openSync(join(state, "log", "sandbox.log"), "a");
  const script = join(import.meta.dirname, "sandbox.sh");
  const unshare = ["--mount", "--net", "--pid", "--fork", "--mount-proc"];
  const child = spawn("unshare", [...unshare, "sh", script, id, state, builds], {
    detached: true,
    stdio: ["ignore", log, log],
    cwd: "/",
    env: BARE_ENVIRONMENT,
  });
  closeSync(log);
  const ended = new Promise<never>((_, reject) => {
    child.on("error", reject);
    child.on("exit", () =>
      reject(
        new ClusterError(
          `the namespaces of ${id} could not be made; see ${join(state, "log", "sandbox.log")}`,
        ),
      ),
    );
  });
  const ready = waitFor(`the namespaces of ${id}`, () => {
    const sandbox = findSandbox(id);
    return sandbox && existsSync(pathInside(sandbox, "/run/sandbox-ready")) ? sandbox : undefined;
  });
  const sandbox = await Promise.race([ready, ended]);
  child.removeAllListeners();
  child.unref();
  return sandbox;
}

/** End everything in the sandbox, and wait until it is gone. */
export async function killSandbox(sandbox: Sandbox): Promise<void> {
  kill(sandbox.pid);
  await waitFor(`the end of ${sandbox.id} (process ${sandbox.pid})`, () => !isAlive(sandbox.pid));
}

/** The daemons that run in the sandbox, by their program and role: children of its first process. */
export function runningDaemons(sandbox: Sandbox): Process[] {
  return listProcesses().filter((process) => process.parent === sandbox.pid);
}

/** Of `running`, the process that is that daemon, whatever its arguments. */
export function findDaemon(daemon: Daemon, running: readonly Process[]): Process | undefined {
  return running.find(({ argv }) => roleOf(argv) === roleOf(daemon.argv));
}

/** `hyperkube kube-proxy …` is kube-proxy; of other programs the name says it. */
function roleOf(argv: readonly string[]): string | undefined {
  const program = basename(argv[0] ?? "");
  return program === "hyperkube" ? argv[1] : program;
}

/**
 * Start those of `daemons` that do not run, and start again those that run with other arguments than they should.
 *
 * @returns the names of those that were started.
 */
export async function ensureDaemons(sandbox: Sandbox, daemons: readonly Daemon[]): Promise<string[]> {
  const running = runningDaemons(sandbox);
  const environment = Object.entries(BARE_ENVIRONMENT).map(([name, value]) => `${name}=${value}`);
  const started: string[] = [];
  for (const daemon of daemons) {
    const found = findDaemon(daemon, running);
    if (found && JSON.stringify(found.argv) === JSON.stringify(daemon.argv)) continue;
    if (found) await stopProcess(found, daemon.name);
    const log = join(STATE, "log", `${daemon.name}.log`);
    // `env`, so that nothing depends on who starts it. `setsid --fork` leaves it to the sandbox's first process, in a
    // session that no terminal's end reaches.
    const detached = ["env", "--ignore-environment", ...environment, "setsid", "--fork"];
    const redirected = ["sh", "-c", 'log=$1; shift; exec "$@" </dev/null >>"$log" 2>&1', "sh", log];
    await shell`${entering(sandbox)} ${detached} ${redirected} ${daemon.argv}`;
    started.push(daemon.name);
  }
  return started;
}

/** Stop a daemon of the sandbox, as a crash would, and wait until it is gone. */
export async function stopDaemon(sandbox: Sandbox, daemon: Daemon): Promise<void> {
  const found = findDaemon(daemon, runningDaemons(sandbox));
  if (found) await stopProcess(found, daemon.name);
}

async function stopProcess(found: Process, name: string): Promise<void> {
  kill(found.pid);
  await waitFor(`the end of ${name} (process ${found.pid})`, () => !isAlive(found.pid));
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    // It ended by itself: just as well.
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}
