import { KubeClient } from "../../../controller/kube/client.ts";
import type { Credentials } from "../../../controller/kube/credentials.ts";
import { silentLog } from "../../../controller/kube/log.ts";
import { Throttle } from "../../../controller/kube/throttle.ts";
import { MirrorRole } from "../../../controller/mirror/main.ts";
import type { Worlds } from "./model.ts";
import type { Machine, Network } from "./network.ts";
import type { Random } from "./random.ts";
import type { SimulatedApi } from "./simulated-api.ts";
import { SkewedClock, type VirtualTime } from "./virtual-time.ts";

/** Where a replica of the controller runs: one process at a time. */
export const SEATS = ["one", "two"] as const;
export type Seat = (typeof SEATS)[number];

interface Process {
  machine: Machine;
  role: MirrorRole;
  startedAt: number;
  stop: AbortController;
}

export interface ControllersOptions {
  time: VirtualTime;
  network: Network;
  source: SimulatedApi;
  /** What probes and name servers say. */
  gateways: Pick<Worlds, "isAlive" | "ipsOf">;
  dataPlane: Worlds["dataPlane"];
  createsNamespaces: Worlds["createsNamespaces"];
  random: Random;
  resyncMs: number;
  /** A process ended by itself. */
  onFailure: (message: string) => void;
}

/** A namespace that is not empty is looked at again soon, so that a rest need not be long. */
const LOOK_AGAIN_MS = 60_000;

/** The replicas of the controller: started, stopped and killed, each time with a clock that is wrong in a way of its own. */
export class Controllers {
  readonly #options: ControllersOptions;
  readonly #running = new Map<Seat, Process>();
  #number = 0;
  /** When a process last started, stopped or was killed. */
  changedAt = 0;

  constructor(options: ControllersOptions) {
    this.#options = options;
  }

  start(seat: Seat): void {
    if (this.#running.has(seat)) return;
    const { time, network, source, gateways, dataPlane, createsNamespaces, resyncMs, onFailure } =
      this.#options;
    const random = this.#options.random.fork();
    const offsetMs = random.between(-6, 6) * 3_600_000;
    const clock = new SkewedClock(time, { offsetMs, rate: 0.95 + random.next() / 10 });
    const machine: Machine = { name: `${seat}-${++this.#number}`, clock };
    const connect = (cluster: string, credentials: Credentials) =>
      new KubeClient({
        cluster,
        credentials,
        throttle: new Throttle({ clock }),
        transport: (options) => network.carrier(machine, options),
      });
    const client = connect("source", {
      server: source.url,
      tls: {},
      headers: () => Promise.resolve({ authorization: "Bearer good" }),
    });
    const role = new MirrorRole({
      client,
      connect,
      probe: ({ ip, timeoutMs }, signal) =>
        answered(
          clock,
          signal,
          () => {
            if (!gateways.isAlive(ip)) throw new Error(`${ip} is dead`);
          },
          gateways.isAlive(ip) ? 5 : ip.endsWith("7") ? timeoutMs : 5,
        ),
      lookup: (host, signal) =>
        answered(clock, signal, () => ({ ips: gateways.ipsOf(host), ttlMs: 5_000 }), 5),
      dataPlane,
      createNamespaces: createsNamespaces,
      lookAgainMs: LOOK_AGAIN_MS,
      identity: machine.name,
      resyncMs,
      clock,
      random: () => random.next(),
      log: silentLog,
    });
    const stop = new AbortController();
    const process: Process = { machine, role, startedAt: time.now, stop };
    this.#running.set(seat, process);
    this.changedAt = time.now;
    role
      .run(stop.signal)
      .then(() => {
        if (!stop.signal.aborted) onFailure(`process ${machine.name} ended without being told to`);
        return client.close();
      })
      .catch((error) =>
        onFailure(`process ${machine.name} failed: ${error instanceof Error ? error.stack : error}`),
      );
  }

  /** Tell a process to end, as Kubernetes does; it gives its lease up. */
  stop(seat: Seat): void {
    const process = this.#running.get(seat);
    if (!process) return;
    this.#running.delete(seat);
    this.changedAt = this.#options.time.now;
    process.stop.abort(new Error("stopped"));
  }

  /** End a process where it stands. */
  kill(seat: Seat): void {
    const process = this.#running.get(seat);
    if (!process) return;
    this.#running.delete(seat);
    this.changedAt = this.#options.time.now;
    process.machine.clock.kill();
    this.#options.network.kill(process.machine);
  }

  nameOf(seat: Seat): string | undefined {
    return this.#running.get(seat)?.machine.name;
  }

  /** Those that run, by name. */
  running(): { name: string; startedAt: number; role: MirrorRole }[] {
    return [...this.#running.values()].map(({ machine, startedAt, role }) => ({
      name: machine.name,
      startedAt,
      role,
    }));
  }
}

/** What is so after a while, as whoever asks finds it then. */
async function answered<T>(clock: SkewedClock, signal: AbortSignal, answer: () => T, ms: number): Promise<T> {
  await clock.sleep(ms, signal);
  signal.throwIfAborted();
  return answer();
}
