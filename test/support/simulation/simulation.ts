import { createHash } from "node:crypto";
import type { Lease } from "../../../controller/kube/objects.ts";
import { LEASES } from "../../../controller/kube/resource.ts";
import { makeAnchor } from "../certificates.ts";
import { Refusal } from "../fake-api-objects.ts";
import { Controllers, SEATS } from "./controllers.ts";
import { differences } from "./differences.ts";
import { drawSteps, type Event, type Step } from "./events.ts";
import { clearUp, fairWeather, type Weather } from "./faults.ts";
import { isLeading, Laws, type Violation } from "./laws.ts";
import { Network } from "./network.ts";
import { Random } from "./random.ts";
import { CLUSTERS, LINK_NAMES, OWN_NAMESPACE } from "./scene.ts";
import { type SimulatedApi, statusOf } from "./simulated-api.ts";
import { VirtualTime } from "./virtual-time.ts";
import { World } from "./world.ts";

export interface SimulationOptions {
  seed: number;
  /** Events. @default 2000 */
  count?: number;
  /** What is to happen instead of what the seed says. */
  steps?: readonly Step[];
  /** Told of every event, call and answer. */
  onTrace?: (line: string) => void;
}

export interface Outcome {
  seed: number;
  steps: readonly Step[];
  /** Events that happened. */
  done: number;
  violation: Violation | undefined;
  /** Hash of everything that happened, was asked and was answered. */
  trace: string;
  /** Milliseconds that passed in the simulation. */
  virtualMs: number;
  calls: number;
  writes: number;
  checked: ReadonlyMap<string, number>;
}

/** By then everything must be as it must be: the longest pauses together, and less than the resync. */
const REST_WITHIN_MS = 230_000;
/** With the shorter one, some things come right that the watches missed; with the longer one, only the watches help. */
const RESYNC_MS = [300_000, 7 * 24 * 3_600_000] as const;

let authority: Promise<string> | undefined;

/** Let everything happen that a seed says, and see whether the controller keeps the laws. The same seed, the same run. */
export async function simulate(options: SimulationOptions): Promise<Outcome> {
  authority ??= makeAnchor("simulated").then(({ pem }) => Buffer.from(pem).toString("base64"));
  return await new Simulation(options, await authority).run();
}

class Simulation {
  readonly #options: SimulationOptions;
  readonly #steps: readonly Step[];
  readonly #time = new VirtualTime();
  readonly #world: World;
  readonly #network: Network;
  readonly #weather: Map<string, Weather>;
  readonly #controllers: Controllers;
  readonly #laws: Laws;
  readonly #hash = createHash("sha256");
  readonly #resyncMs: number;
  #calls = 0;

  constructor(options: SimulationOptions, authorityData: string) {
    this.#options = options;
    const random = new Random(options.seed);
    const [ofEvents, ofNetwork, ofProcesses] = [random.fork(), random.fork(), random.fork()];
    this.#resyncMs = random.pick(RESYNC_MS);
    const dataPlane = random.chance(0.3) ? "linkerd" : "standalone";
    const bookmarks = Array.from({ length: 1 + CLUSTERS.length }, () => random.chance(0.5));
    // Drawn last, so that the runs in which nobody makes namespaces are what they were.
    const createsNamespaces = random.chance(0.4);
    this.#steps = options.steps ?? drawSteps(ofEvents, options.count ?? 2_000, createsNamespaces);
    this.#world = new World({
      time: this.#time,
      dataPlane,
      kubeconfig: (server, token) => kubeconfig(server, token, authorityData),
      isDisturbed: () => !this.#laws.fairSince.has("source"),
      ...(createsNamespaces && { ofNamespaces: random.fork() }),
    });
    for (const [index, api] of this.#world.allApis().entries()) api.bookmarks = bookmarks[index] ?? false;
    this.#weather = new Map([
      ["source", fairWeather([1, 5])],
      ...CLUSTERS.map((name): [string, Weather] => [name, fairWeather([5, 40])]),
    ]);
    this.#network = new Network(this.#time, ofNetwork, this.#world.allApis(), this.#weather, (line) => {
      this.#calls++;
      this.#laws.called();
      this.#trace(line);
    });
    this.#laws = new Laws({
      world: this.#world,
      network: this.#network,
      controllers: () => this.#controllers,
    });
    this.#controllers = new Controllers({
      time: this.#time,
      network: this.#network,
      source: this.#world.sourceApi,
      gateways: this.#world,
      dataPlane,
      createsNamespaces,
      random: ofProcesses,
      resyncMs: this.#resyncMs,
      onFailure: (message) => this.#laws.break("the process lives", message),
    });
    for (const api of this.#weather.keys()) this.#laws.fairSince.set(api, Number.NEGATIVE_INFINITY);
  }

  async run(): Promise<Outcome> {
    let done = 0;
    for (const { event, wait } of this.#steps) {
      this.#trace(`${this.#time.now} event ${JSON.stringify(event)}`);
      if (event.do === "rest") await this.#rest(event.idle);
      else this.#happen(event);
      await this.#pass(wait);
      done++;
      if (this.#laws.violation) break;
    }
    for (const seat of SEATS) this.#controllers.kill(seat);
    return {
      seed: this.#options.seed,
      steps: this.#steps,
      done,
      violation: this.#laws.violation,
      trace: this.#hash.digest("hex"),
      virtualMs: this.#time.now,
      calls: this.#calls,
      writes: this.#laws.writes,
      checked: this.#laws.checked,
    };
  }

  async #pass(ms: number): Promise<void> {
    await this.#time.runUntil(this.#time.now + ms, () => this.#laws.violation !== undefined);
  }

  #happen(event: Exclude<Event, { do: "rest" }>): void {
    const world = this.#world;
    switch (event.do) {
      case "service":
        world.setService(event.place, event.shape);
        break;
      case "pods-behind":
        world.setPodsBehind(event.place, event.pods);
        break;
      case "local":
        world.setLocal(event.namespace, event.service, event.shape);
        break;
      case "gateway":
        world.setGateway(event.ip, event.alive);
        break;
      case "gateway-host":
        world.setGatewayHost(event.ips);
        break;
      case "gateway-service":
        world.setGatewayService(event.cluster, event.name, event.shape);
        break;
      case "link":
        world.setLink(event.link, event.there);
        break;
      case "link-spec":
        world.setLinkSpec(event.link, { [event.field]: event.value });
        break;
      case "namespace":
        world.setNamespace(event.name, event.there, event.slowly);
        break;
      case "namespace-label":
        world.labelNamespace(event.name, event.label);
        break;
      case "belonging":
        world.setBelonging(event);
        break;
      case "secret":
        world.setSecret(event.link, event.state);
        break;
      case "pod":
        world.setPod(event.name, event.state);
        break;
      case "foreign":
        world.setForeign(event.place, event.spot, event.what, event.there);
        break;
      case "meddle":
        world.meddle(event.place, event.spot, event.how);
        break;
      case "start":
        this.#controllers.start(event.seat);
        break;
      case "stop":
      case "kill":
        this.#expectSuccessor();
        this.#controllers[event.do](event.seat);
        break;
      default:
        this.#disturb(event);
    }
  }

  #disturb(event: Extract<Event, { api: string } | { cluster: string }>): void {
    const api = this.#api("api" in event ? event.api : event.cluster);
    this.#laws.fairSince.delete(api.name);
    switch (event.do) {
      case "weather":
        this.#network.setState(api, event.state);
        break;
      case "disturb": {
        const { faults, slow, repeats, breaks } = event;
        Object.assign(this.#network.weatherOf(api), { faults, slow, repeats, breaks });
        break;
      }
      case "cut":
        this.#network.cut(api);
        break;
      case "forget":
        api.compact();
        api.watches.end();
        break;
      case "end-watches":
        api.watches.end();
        break;
      case "fail-watches":
        api.watches.fail(statusOf(new Refusal(410, "Expired", "too old resource version")));
        break;
      case "pages":
        api.pageSize = event.size;
        break;
      case "partition": {
        const name = this.#controllers.nameOf(event.seat);
        if (name !== undefined) this.#network.partition(name, api, event.apart);
        break;
      }
      case "revoke":
        if (event.accepted) api.tokens.add(event.token);
        else api.tokens.delete(event.token);
    }
  }

  /** Everything works again; then all must become as it must be, and stay so without a write. */
  async #rest(idle: boolean): Promise<void> {
    for (const api of this.#world.allApis()) {
      clearUp(this.#network.weatherOf(api));
      this.#network.setState(api, "up");
      api.pageSize = Number.POSITIVE_INFINITY;
      for (const token of ["good", "renewed"]) api.tokens.add(token);
    }
    this.#network.healPartitions();
    this.#world.forgetPlans();
    for (const api of this.#weather.keys()) {
      if (!this.#laws.fairSince.has(api)) this.#laws.fairSince.set(api, this.#time.now);
    }
    for (const link of LINK_NAMES) if (!this.#world.isSecretGood(link)) this.#world.setSecret(link, "good");
    if (this.#controllers.running().length === 0) this.#controllers.start("one");
    const until = this.#time.now + REST_WITHIN_MS;
    while (this.#time.now < until && !this.#laws.violation && differences(this.#world).length > 0) {
      await this.#pass(2_000);
    }
    if (this.#laws.violation) return;
    const found = differences(this.#world);
    this.#laws.check(
      "at rest all is as it must be (3, 5)",
      found.length > 0 && found.slice(0, 10).join("\n  "),
    );
    if (!idle || this.#laws.violation) return;
    // What is still under way: Events, a first status.
    await this.#pass(60_000);
    const before = this.#laws.writes;
    await this.#pass(Math.min(...RESYNC_MS) + 30_000);
    const writes = this.#laws.writes - before;
    this.#laws.check(
      "at rest nothing is written (4)",
      writes > 0 && `${writes} writes: ${this.#laws.lastWrite}`,
    );
  }

  /** The leader goes: the other is to lead soon, if there is one and nothing is in its way. */
  #expectSuccessor(): void {
    const at = this.#time.now;
    this.#time.after(20_000, () => {
      const others = this.#controllers.running().filter(({ startedAt }) => startedAt < at - 30_000);
      if (others.length === 0 || this.#controllers.changedAt > at || !this.#laws.isFair("source", 220_000))
        return;
      const lease = this.#world.source.find(LEASES, {
        namespace: OWN_NAMESPACE,
        name: "isthmus-mirror",
      }) as Lease;
      const leads = others.some(({ role, name }) => isLeading(role) && lease.spec?.holderIdentity === name);
      this.#laws.check(
        "another takes over within 20 seconds (8)",
        !leads && `${others[0]?.name} does not lead`,
      );
    });
  }

  #api(name: string): SimulatedApi {
    return name === "source" ? this.#world.sourceApi : this.#world.apis[name as (typeof CLUSTERS)[number]];
  }

  #trace(line: string): void {
    this.#hash.update(line);
    this.#options.onTrace?.(line);
  }
}

function kubeconfig(server: string, token: string, authorityData: string): string {
  return JSON.stringify({
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name: "it", cluster: { server, "certificate-authority-data": authorityData } }],
    users: [{ name: "it", user: { token } }],
    contexts: [{ name: "it", context: { cluster: "it", user: "it" } }],
    "current-context": "it",
  });
}
