import type { Clock } from "../../kube/clock.ts";
import { ask, HaproxyCommandError, HaproxyUnreachableError } from "./socket.ts";

/** HAProxy does not run the configuration that it was to load; the worker from before serves on. */
export class ReloadError extends Error {
  override readonly name = "ReloadError";
}

/** What the master says of itself and its workers (`show proc`). */
export interface Processes {
  reloads: number;
  /** Reloads that failed since the last one that did not. */
  failed: number;
  /** The process that takes new connections. */
  worker: number | undefined;
  /** Processes that only finish the connections they have from before a reload. */
  oldWorkers: number[];
}

/** Read the answer to `show proc`. */
export function parseProcesses(text: string): Processes {
  const master = /^\d+\s+master\s+(\d+)\s+(?:\[failed: (\d+)\])?/m.exec(text);
  if (!master) throw new HaproxyCommandError(`the answer to "show proc" has no master in it: ${text.trim()}`);
  const [current = "", old = ""] = text.split(/^# old workers$/m);
  const workers = (part: string) => [...part.matchAll(/^(\d+)\s+worker\s/gm)].map(([, pid]) => Number(pid));
  return {
    reloads: Number(master[1]),
    failed: Number(master[2] ?? 0),
    worker: workers(current)[0],
    oldWorkers: workers(old),
  };
}

export interface MasterOptions {
  clock: Clock;
  /** How long a reload may take. @default 30000 */
  timeoutMs?: number;
}

/** HAProxy's master process: it reads the configuration again, and knows the workers from before. */
export class HaproxyMaster {
  readonly #socketPath: string;
  readonly #clock: Clock;
  readonly #timeoutMs: number;

  constructor(socketPath: string, { clock, timeoutMs = 30_000 }: MasterOptions) {
    this.#socketPath = socketPath;
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
  }

  /** While it reloads, the master refuses connections for a moment: asked again until it answers. */
  async processes(): Promise<Processes> {
    const deadline = this.#clock.monotonic() + this.#timeoutMs;
    for (;;) {
      try {
        return parseProcesses(await ask(this.#socketPath, "show proc"));
      } catch (error) {
        if (this.#clock.monotonic() >= deadline) throw error;
        await this.#clock.sleep(20);
      }
    }
  }

  /**
   * Read the configuration again in a new worker, which takes over the listening sockets: no connection is refused or cut.
   *
   * @throws ReloadError when the configuration is refused; the worker from before serves on.
   */
  async reload(): Promise<void> {
    const before = await this.processes();
    try {
      await ask(this.#socketPath, "reload", this.#timeoutMs);
    } catch (error) {
      // The master may start anew before it has closed this connection: the count below says what became of it.
      if (!(error instanceof HaproxyUnreachableError)) throw error;
    }
    const deadline = this.#clock.monotonic() + this.#timeoutMs;
    for (;;) {
      const after = await this.processes();
      if (after.reloads > before.reloads) {
        if (after.failed === 0) return;
        throw new ReloadError(
          "HAProxy refused the new configuration and serves on with the one before; its container's log says why",
        );
      }
      if (this.#clock.monotonic() >= deadline) {
        throw new ReloadError(`HAProxy did not begin to reload within ${this.#timeoutMs} ms`);
      }
      await this.#clock.sleep(20);
    }
  }

  /** Send one runtime command to every worker, those included that only finish old connections. @returns the answers */
  async tellWorkers(command: string): Promise<{ pid: number; answer: string }[]> {
    const { worker, oldWorkers } = await this.processes();
    const answers = [];
    for (const pid of worker === undefined ? oldWorkers : [worker, ...oldWorkers]) {
      answers.push({ pid, answer: await ask(this.#socketPath, `@!${pid} ${command}`) });
    }
    return answers;
  }

  /**
   * Cut the connections that a backend carries, in every worker. One by one, since a worker that is on its way out refuses
   * to do it for a backend as a whole.
   *
   * @returns how many
   */
  async cutConnections(backend: string): Promise<number> {
    let cut = 0;
    for (const { pid, answer } of await this.tellWorkers("show sess")) {
      for (const session of sessionsOf(answer, backend)) {
        await ask(this.#socketPath, `@!${pid} shutdown session ${session}`);
        cut += 1;
      }
    }
    return cut;
  }
}

/** The sessions of one backend in an answer to `show sess`. */
export function sessionsOf(answer: string, backend: string): string[] {
  return answer.split("\n").flatMap((line) => {
    const [, session, name] = /^(0x[0-9a-f]+): .*? be=(\S+) /.exec(line) ?? [];
    return session !== undefined && name === backend ? [session] : [];
  });
}
