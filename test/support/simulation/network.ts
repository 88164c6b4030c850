import { type CallSite, UNREACHABLE_REASON, UnreachableError } from "../../../controller/kube/errors.ts";
import type { Answer, Call, Carrier, TransportOptions } from "../../../controller/kube/transport.ts";
import { collectionOf, Refusal } from "../fake-api-objects.ts";
import { type FakeRequest, understand } from "../fake-api-request.ts";
import type { Watcher } from "../fake-api-watches.ts";
import { drawFault, type Fault, type Weather } from "./faults.ts";
import { Knowledge } from "./knowledge.ts";
import type { Random } from "./random.ts";
import { type SimulatedApi, statusOf } from "./simulated-api.ts";
import { Stream } from "./stream.ts";
import type { SkewedClock, VirtualTime } from "./virtual-time.ts";

const CONNECT_TIMEOUT_MS = 10_000;
/** What was given up is on its way for no longer. */
const GHOST_MS = 3_000;

/** The end of a process that the network sees. */
export interface Machine {
  /** Name of the process. */
  name: string;
  clock: SkewedClock;
}

/** Something under way between a process and an API server. */
interface Flight {
  machine: Machine;
  api: SimulatedApi;
  fail(error: Error): void;
  /** Nothing of it arrives any more: its process is dead. */
  vanish(): void;
}

/**
 * The network between processes and API servers: how long everything takes, what goes wrong, and who can reach whom. All of
 * it is drawn from one generator, so it happens again in a second run.
 */
export class Network {
  readonly time: VirtualTime;
  readonly #random: Random;
  readonly #apis: ReadonlyMap<string, SimulatedApi>;
  readonly #weather: ReadonlyMap<string, Weather>;
  readonly #flights = new Set<Flight>();
  readonly #knowledge = new Map<string, Knowledge>();
  /** `process api` of those that cannot hear each other. */
  readonly #partitions = new Set<string>();
  #waiting: (() => void)[] = [];
  /** Told of everything that an API server was asked and said. */
  readonly #trace: (line: string) => void;

  constructor(
    time: VirtualTime,
    random: Random,
    apis: readonly SimulatedApi[],
    weather: ReadonlyMap<string, Weather>,
    trace: (line: string) => void,
  ) {
    this.time = time;
    this.#random = random;
    this.#apis = new Map(apis.map((api) => [new URL(api.url).host, api]));
    this.#weather = weather;
    this.#trace = trace;
  }

  /** What carries the calls of a process. */
  carrier(machine: Machine, options: TransportOptions): Carrier {
    return new SimulatedCarrier(this, machine, options);
  }

  /** What a process knows of those objects of a collection that it selects so. */
  knowledge(process: string, api: string, collection: string, selector: string | null): Knowledge {
    const key = `${process} ${api} ${collection} ${selector ?? ""}`;
    const known = this.#knowledge.get(key);
    if (known) return known;
    const made = new Knowledge();
    this.#knowledge.set(key, made);
    return made;
  }

  /** Whether a process has had a complete list of a collection, whatever it selected. */
  anyComplete(process: string, api: string, collection: string): boolean {
    const prefix = `${process} ${api} ${collection} `;
    return [...this.#knowledge].some(([key, { complete }]) => key.startsWith(prefix) && complete);
  }

  setState(api: SimulatedApi, state: Weather["state"]): void {
    this.weatherOf(api).state = state;
    if (state === "refusing") this.cut(api);
    this.#changed();
  }

  /** Every connection with an API server breaks. */
  cut(api: SimulatedApi): void {
    for (const flight of [...this.#flights]) {
      if (flight.api === api) flight.fail(new Error("cut"));
    }
  }

  /** Let a process and an API server not hear each other any more, or hear each other again. */
  partition(process: string, api: SimulatedApi, apart: boolean): void {
    if (apart) this.#partitions.add(`${process} ${api.name}`);
    else this.#partitions.delete(`${process} ${api.name}`);
    this.#changed();
  }

  healPartitions(): void {
    this.#partitions.clear();
    this.#changed();
  }

  /** A process is dead: it hears nothing any more, and what it sent may or may not arrive. */
  kill(machine: Machine): void {
    for (const flight of [...this.#flights]) if (flight.machine === machine) flight.vanish();
  }

  apiAt(server: string): SimulatedApi | undefined {
    return this.#apis.get(new URL(server).host);
  }

  weatherOf(api: SimulatedApi): Weather {
    return this.#weather.get(api.name)!;
  }

  isOpen(machine: Machine, api: SimulatedApi): boolean {
    return this.weatherOf(api).state !== "hanging" && !this.#partitions.has(`${machine.name} ${api.name}`);
  }

  /** Call back as soon as the way is open; at once if it is. */
  whenOpen(machine: Machine, api: SimulatedApi, callback: () => void): void {
    if (this.isOpen(machine, api)) callback();
    else this.#waiting.push(() => this.whenOpen(machine, api, callback));
  }

  latency(api: SimulatedApi): number {
    const { latency, slow } = this.weatherOf(api);
    const [least, most] = latency;
    return this.#random.chance(slow) ? this.#random.between(100, 3_000) : this.#random.between(least, most);
  }

  fault(api: SimulatedApi, request: FakeRequest): Fault | undefined {
    return drawFault(this.#random, this.weatherOf(api), request);
  }

  chance(probability: number): boolean {
    return this.#random.chance(probability);
  }

  takeOff(flight: Flight): void {
    this.#flights.add(flight);
  }

  land(flight: Flight): void {
    this.#flights.delete(flight);
  }

  trace(line: string): void {
    this.#trace(`${this.time.now} ${line}`);
  }

  #changed(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const callback of waiting) callback();
  }
}

class SimulatedCarrier implements Carrier {
  readonly #network: Network;
  readonly #machine: Machine;
  readonly #options: TransportOptions;
  readonly #retired = new AbortController();
  readonly #own = new Set<Flight>();

  constructor(network: Network, machine: Machine, options: TransportOptions) {
    this.#network = network;
    this.#machine = machine;
    this.#options = options;
  }

  get retired(): AbortSignal {
    return this.#retired.signal;
  }

  async retire(): Promise<void> {
    this.#retired.abort();
  }

  async destroy(): Promise<void> {
    this.#retired.abort();
    for (const flight of [...this.#own]) flight.fail(new Error("the connection was closed"));
  }

  async send(call: Call): Promise<Answer> {
    const { cluster, credentials } = this.#options;
    const site: CallSite = { cluster, method: call.method, path: call.path };
    call.signal?.throwIfAborted();
    const headers = { ...call.headers, ...(await credentials.headers(call.signal)) };
    const body = call.body === undefined ? undefined : JSON.parse(call.body);
    const request = understand(call.method, call.path, headers, body);
    const api = this.#network.apiAt(credentials.server);
    call.signal?.throwIfAborted();
    return await new Promise<Answer>((resolve, reject) => {
      this.#fly({ call, site, request, api, resolve, reject });
    });
  }

  #fly(journey: Journey): void {
    const { call, site, request, api, resolve, reject } = journey;
    const { clock } = this.#machine;
    const network = this.#network;
    const unreachable = (reason: keyof typeof UNREACHABLE_REASON, detail: string) =>
      new UnreachableError(site, UNREACHABLE_REASON[reason], detail);
    if (api === undefined) {
      network.time.after(5, () => reject(unreachable("name", "the host name is not known")));
      return;
    }
    let over = false;
    let overAt = Number.POSITIVE_INFINITY;
    const end = (finish: () => void) => {
      if (over) return;
      over = true;
      overAt = network.time.now;
      cancelLimit();
      call.signal?.removeEventListener("abort", aborted);
      network.land(flight);
      this.#own.delete(flight);
      finish();
    };
    const flight: Flight = {
      machine: this.#machine,
      api,
      fail: () => end(() => reject(unreachable("disconnected", `${api.name} closed the connection`))),
      vanish: () => end(() => undefined),
    };
    const limit = CONNECT_TIMEOUT_MS + call.headersTimeoutMs;
    const timedOut = () => end(() => reject(unreachable("timeout", `no answer from ${api.name} in time`)));
    const cancelLimit = clock.after(limit, timedOut);
    const aborted = () => end(() => reject(call.signal?.reason));
    call.signal?.addEventListener("abort", aborted, { once: true });
    network.takeOff(flight);
    this.#own.add(flight);

    const fault = network.fault(api, request);
    const [there, back] = [network.latency(api), network.latency(api)];
    // What was on its way when its sender gave up may still arrive, but not long after.
    const ghost = network.chance(0.5);
    const sentAt = network.time.now;
    const answered = (
      status: number,
      answerHeaders: Record<string, string>,
      text: string,
      heard?: () => void,
    ) =>
      network.time.after(back, () =>
        network.whenOpen(this.#machine, api, () =>
          end(() => {
            heard?.();
            resolve({ status, headers: answerHeaders, body: bodyOf(text, fault, site) });
          }),
        ),
      );
    const refuse = (refusal: Refusal, retryAfterSeconds?: number) => {
      network.trace(
        `${api.name} refuses ${this.#machine.name} ${call.method} ${call.path}: ${refusal.status}`,
      );
      answered(
        refusal.status,
        retryAfterSeconds === undefined ? {} : { "retry-after": String(retryAfterSeconds) },
        JSON.stringify(statusOf(refusal)),
      );
    };
    const arrive = () => {
      if (over && !(ghost && network.time.now - overAt < GHOST_MS)) return;
      if (network.weatherOf(api).state === "refusing") {
        end(() => reject(unreachable("refused", `connection refused by ${api.name}: nothing listens there`)));
        return;
      }
      if (fault?.kind === "lost-before") return flight.fail(new Error("lost"));
      if (fault?.kind === "hang-before") return;
      if (fault?.kind === "status") return refuse(fault.refusal, fault.retryAfterSeconds);
      if (fault?.kind === "body") return void answered(fault.status, {}, fault.body);
      try {
        if (request.watch) {
          if (!over) this.#watch(journey, api, back, end);
          return;
        }
        const served = api.serve(request, { process: this.#machine.name, sentAt });
        network.trace(
          `${api.name} serves ${this.#machine.name} ${call.method} ${call.path} ${call.body ?? ""}`,
        );
        if (fault?.kind === "lost-after")
          return void network.time.after(back, () => flight.fail(new Error("lost")));
        if (fault?.kind === "hang-after") return;
        answered(served.status, served.headers, JSON.stringify(served.body), () => {
          const { completeAsOf } = served;
          // A single object is asked for to see whether the server answers.
          const isHeartbeat = request.query.get("limit") === "1";
          if (completeAsOf !== undefined && fault === undefined && request.resource && !isHeartbeat)
            this.#knowledge(api, request).listed(completeAsOf, network.time.now);
        });
      } catch (error) {
        if (!(error instanceof Refusal)) throw error;
        refuse(error);
      }
    };
    network.time.after(there, () => network.whenOpen(this.#machine, api, arrive));
  }

  #watch(
    { call, site, request, resolve }: Journey,
    api: SimulatedApi,
    back: number,
    end: (f: () => void) => void,
  ) {
    const network = this.#network;
    const knowledge = this.#knowledge(api, request);
    let watcher: Watcher | undefined;
    let closed = false;
    const close = () => {
      if (closed) return;
      closed = true;
      knowledge.cutOff(stream.knownUntil());
      if (watcher) api.watches.closed(watcher);
      network.land(flight);
      this.#own.delete(flight);
      call.signal?.removeEventListener("abort", aborted);
    };
    const broken = () =>
      new UnreachableError(site, UNREACHABLE_REASON.disconnected, `${api.name} closed the connection`);
    const stream = new Stream({
      network,
      machine: this.#machine,
      api,
      silenceMs: call.silenceMs,
      onDelivered: (happenedAt, pending) => {
        if (closed) return;
        if (network.time.now - happenedAt > 1_000) knowledge.told(happenedAt, network.time.now);
        if (!pending) knowledge.caughtUp(network.time.now);
      },
      onClosed: close,
      timedOut: () =>
        new UnreachableError(
          site,
          UNREACHABLE_REASON.silent,
          `${api.name} stopped in the middle of its answer`,
        ),
      broken,
    });
    const flight: Flight = {
      machine: this.#machine,
      api,
      fail: () => stream.fail(broken()),
      vanish: () => {
        stream.vanish();
        close();
      },
    };
    const aborted = () => stream.fail(call.signal?.reason);
    watcher = api.watch(request, {
      send: (event) => stream.send(event),
      end: () => stream.end(),
      drop: () => stream.fail(broken()),
    });
    network.trace(`${api.name} watched by ${this.#machine.name} ${call.path}`);
    const seconds = Number(request.query.get("timeoutSeconds") ?? 0) || 3_600;
    network.time.after(seconds * 1_000, () => stream.end());
    // The answer begins; the stream is on its own from here.
    network.time.after(back, () =>
      network.whenOpen(this.#machine, api, () => {
        let begun = false;
        end(() => {
          begun = true;
          network.takeOff(flight);
          this.#own.add(flight);
          call.signal?.addEventListener("abort", aborted, { once: true });
          resolve({ status: 200, headers: {}, body: stream.read() });
          stream.begin();
        });
        if (!begun) stream.vanish();
        if (!begun) close();
      }),
    );
  }

  #knowledge(api: SimulatedApi, request: FakeRequest): Knowledge {
    const { query, resource } = request;
    // What is asked for by its name is known by itself.
    const collection = [collectionOf(resource!), query.get("fieldSelector")].filter(Boolean).join("?");
    return this.#network.knowledge(this.#machine.name, api.name, collection, query.get("labelSelector"));
  }
}

interface Journey {
  call: Call;
  site: CallSite;
  request: FakeRequest;
  api: SimulatedApi | undefined;
  resolve: (answer: Answer) => void;
  reject: (error: unknown) => void;
}

async function* bodyOf(text: string, fault: Fault | undefined, site: CallSite): AsyncGenerator<Buffer> {
  if (fault?.kind !== "half") {
    yield Buffer.from(text);
    return;
  }
  yield Buffer.from(text.slice(0, text.length / 2));
  if (fault.clean) return;
  throw new UnreachableError(site, UNREACHABLE_REASON.disconnected, "the connection broke in the middle");
}
