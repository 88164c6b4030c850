import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";

/** Why tests with a real HAProxy cannot run here; undefined when they can. */
export const haproxyMissing =
  spawnSync("haproxy", ["-v"]).status === 0
    ? undefined
    : "haproxy is not on the PATH (on Debian: apt-get install haproxy)";

/** A real HAProxy, started as in a pod: master process, worker, both sockets in `directory`. */
export class HaproxyProcess {
  /** Lines of standard output: the access log. */
  readonly accessLog: string[] = [];
  /** Lines of standard error: what HAProxy says of itself. */
  readonly messages: string[] = [];
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;

  constructor(directory: string) {
    const sockets = ["-S", `${join(directory, "master.sock")},mode,600`];
    this.#child = spawn("haproxy", ["-W", "-db", ...sockets, "-f", join(directory, "haproxy.cfg")], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    createInterface(this.#child.stdout!).on("line", (line) => this.accessLog.push(line));
    createInterface(this.#child.stderr!).on("line", (line) => this.messages.push(line));
    this.#ended = new Promise((resolve) => this.#child.once("close", resolve));
  }

  /** The calls in the access log so far. Lines that are no JSON are what HAProxy says of its proxies. */
  calls(): Record<string, unknown>[] {
    return this.accessLog.filter((line) => line.startsWith("{")).map((line) => JSON.parse(line));
  }

  async stop(): Promise<void> {
    this.#child.kill("SIGTERM");
    await this.#ended;
  }
}
