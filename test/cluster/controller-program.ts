import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "../../scripts/bench/free-port.ts";
import { cpuSecondsOf, type Memory, memoryOf } from "../../scripts/bench/process-figures.ts";
import { NODE_FLAGS } from "../../scripts/images/bundle.ts";
import { until } from "./until.ts";

const program = join(import.meta.dirname, "../../bin/isthmus-controller.js");
/** How much of what it logs is kept. */
const LOG_TAIL = 20_000;

/** A mirror controller as a pod runs it: the program itself, in a process of its own that can be killed and stopped. */
export class ControllerProgram {
  readonly name: string;
  readonly #child: ChildProcess;
  readonly #admin: string;
  readonly #directory: string;
  #log = "";

  private constructor(name: string, child: ChildProcess, admin: string, directory: string) {
    this.name = name;
    this.#child = child;
    this.#admin = admin;
    this.#directory = directory;
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on("data", (chunk) => {
        this.#log = (this.#log + chunk).slice(-LOG_TAIL);
      });
    }
  }

  /** Start one, and wait until it knows what the source has. */
  static async start(
    name: string,
    kubeconfig: string,
    namespace: string,
    flags: readonly string[] = [],
  ): Promise<ControllerProgram> {
    const directory = await mkdtemp(join(tmpdir(), "isthmus-controller-"));
    const file = join(directory, "kubeconfig");
    await writeFile(file, kubeconfig, { mode: 0o600 });
    const admin = `127.0.0.1:${await freePort()}`;
    const own = ["--kubeconfig", file, "--namespace", namespace, "--admin-address", admin];
    const child = spawn(process.execPath, [...NODE_FLAGS, program, "mirror", ...own, ...flags], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    const started = new ControllerProgram(name, child, `http://${admin}`, directory);
    await until(async () => {
      if (!started.running) throw new Error(`${name} has ended:\n${started.log}`);
      const answer = await fetch(`${started.#admin}/ready`);
      if (!answer.ok) throw new Error(await answer.text());
    });
    return started;
  }

  get log(): string {
    return this.#log;
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  async leads(): Promise<boolean> {
    const answer = await fetch(`${this.#admin}/state`, { signal: AbortSignal.timeout(2_000) });
    return ((await answer.json()) as { leader: { leading: boolean } }).leader.leading;
  }

  /** MiB of memory that it holds now, and that it held at the most. */
  async memory(): Promise<Memory> {
    const { resident, peak } = await memoryOf(this.#pid);
    return { resident: Math.round(resident), peak: Math.round(peak) };
  }

  /** Seconds of processor time that it has used. */
  async cpuSeconds(): Promise<number> {
    return await cpuSecondsOf(this.#pid);
  }

  signal(signal: "SIGSTOP" | "SIGCONT" | "SIGKILL" | "SIGTERM"): void {
    this.#child.kill(signal);
  }

  async ended(): Promise<void> {
    if (this.running) await once(this.#child, "exit");
  }

  get #pid(): number {
    if (this.#child.pid === undefined) throw new Error(`${this.name} was not started`);
    return this.#child.pid;
  }

  async destroy(): Promise<void> {
    this.signal("SIGKILL");
    await this.ended();
    await rm(this.#directory, { recursive: true });
  }
}
