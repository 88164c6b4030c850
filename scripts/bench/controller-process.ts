import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import type { ReflectorState } from "../../controller/kube/reflector.ts";
import { buildController, NODE_FLAGS } from "../images/bundle.ts";
import { freePort } from "./free-port.ts";
import { cpuSecondsOf, type Memory, memoryOf } from "./process-figures.ts";
import { waitFor } from "./waiting.ts";

/** What is read here of the mirror role's `/state`. */
interface MirrorState {
  links: { cluster: string; watch?: Pick<ReflectorState, "connected" | "watches">[] }[];
}

/** How much of what a controller logs is kept to explain an end that was not asked for. */
const LOG_TAIL = 4_000;

/** A mirror controller as it runs in a pod: the bundle, in a process of its own. */
export class ControllerProcess {
  readonly #child: ChildProcess;
  readonly #adminUrl: string;
  #log = "";

  private constructor(child: ChildProcess, adminUrl: string) {
    this.#child = child;
    this.#adminUrl = adminUrl;
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on("data", (chunk) => {
        this.#log = (this.#log + chunk).slice(-LOG_TAIL);
      });
    }
  }

  /** Start a controller for the cluster of a kubeconfig's context, and wait until it leads. */
  static async start(
    kubeconfig: string,
    context: string,
    more: readonly string[] = [],
  ): Promise<ControllerProcess> {
    const admin = `127.0.0.1:${await freePort()}`;
    const flags = ["--kubeconfig", kubeconfig, "--context", context, "--admin-address", admin, ...more];
    const child = spawn(process.execPath, [...NODE_FLAGS, await bundle(), "mirror", ...flags], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    const controller = new ControllerProcess(child, `http://${admin}`);
    try {
      await waitFor("the controller to lead", () => controller.#leads());
    } catch (error) {
      child.kill("SIGKILL");
      throw error;
    }
    return controller;
  }

  /** Of all watches on targets that are open, how many times each was opened so far. */
  async watches(): Promise<Map<string, number>> {
    // Asked for only to notice a process that is no more.
    void this.#pid;
    const answer = await fetch(`${this.#adminUrl}/state`);
    const state = (await answer.json()) as { mirror?: MirrorState };
    const all = (state.mirror?.links ?? []).flatMap(({ cluster, watch = [] }) =>
      watch.map((each, index) => ({ name: `${cluster} ${index}`, ...each })),
    );
    return new Map(all.filter(({ connected }) => connected).map(({ name, watches }) => [name, watches]));
  }

  async memory(): Promise<Memory> {
    return await memoryOf(this.#pid);
  }

  /** Seconds of processor time used so far. */
  async cpuSeconds(): Promise<number> {
    return await cpuSecondsOf(this.#pid);
  }

  /** Stop it as a kubelet does, and wait for its end. */
  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, "exit");
    this.#child.kill("SIGTERM");
    await ended;
  }

  get #pid(): number {
    if (this.#child.exitCode !== null || this.#child.pid === undefined) {
      throw new Error(`the controller has ended by itself; the end of its log:\n${this.#log}`);
    }
    return this.#child.pid;
  }

  async #leads(): Promise<boolean> {
    // Asked for only to notice a process that is no more.
    void this.#pid;
    const answer = await fetch(`${this.#adminUrl}/state`).catch(() => undefined);
    const state = (await answer?.json()) as { leader?: { leading?: boolean } } | undefined;
    return state?.leader?.leading ?? false;
  }
}

/** What a Node process that does nothing holds of memory: the floor for every figure here. */
export async function emptyProcessMemory(): Promise<Memory> {
  const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000); console.log('up')"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  try {
    await once(child.stdout, "data");
    return await memoryOf(child.pid as number);
  } finally {
    child.kill();
  }
}

let built: Promise<string> | undefined;
/** The bundle, built once in a run. */
function bundle(): Promise<string> {
  built ??= buildController();
  return built;
}
