import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
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
    const child = spawn(process.execPath, [program, "mirror", ...own, ...flags], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    const started = new ControllerProgram(name, child, `http://${admin}`, directory);
    await until(async () => {
      if (!started.running) throw new Error(`${name} has ended:\n${started.log}`);
      const answer = await fetch(`${started.#admin}/ready`);
      if (!answer.ok) throw new Error(await answer.text());
    }, 60_000);
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
  async memory(): Promise<{ resident: number; peak: number }> {
    const status = await readFile(`/proc/${this.#child.pid}/status`, "utf8");
    const field = (name: string) =>
      Math.round(Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(status)?.[1]) / 1024);
    return { resident: field("VmRSS"), peak: field("VmHWM") };
  }

  /** Seconds of processor time that it has used. */
  async cpuSeconds(): Promise<number> {
    const stat = await readFile(`/proc/${this.#child.pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return (Number(fields[11]) + Number(fields[12])) / 100;
  }

  signal(signal: "SIGSTOP" | "SIGCONT" | "SIGKILL" | "SIGTERM"): void {
    this.#child.kill(signal);
  }

  async ended(): Promise<void> {
    if (this.running) await once(this.#child, "exit");
  }

  async destroy(): Promise<void> {
    this.signal("SIGKILL");
    await this.ended();
    await rm(this.#directory, { recursive: true });
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  if (address === null || typeof address === "string") throw new Error("the kernel gave no port");
  return address.port;
}
