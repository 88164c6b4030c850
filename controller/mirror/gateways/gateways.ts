import { isIP } from "node:net";
import {
  GATEWAY_IDENTITY_ANNOTATION,
  type GatewayReference,
  LINK_CONDITION,
  LINK_LABEL,
  LINK_REASON,
  type Link,
  type LinkGatewayStatus,
  linkLabelValue,
} from "../../../contract/index.ts";
import type { Clock } from "../../kube/clock.ts";
import type { Log } from "../../kube/log.ts";
import { keyOf, type Service } from "../../kube/objects.ts";
import { type DataPlane, gatewayOf } from "../desired.ts";
import { activeLink } from "../duplicates.ts";
import type { LinkEvents } from "../events.ts";
import { BY_GATEWAY, BY_LINK, BY_TARGET, type SourceCluster } from "../source.ts";
import type { ConnectionState } from "../status.ts";
import { GatewayAddresses, targetKey } from "./addresses.ts";
import { gatewayChoice, gatewayKey, isProblem } from "./choice.ts";
import { chosenEndpoint, type GatewayEndpoint, ownEndpoint } from "./endpoint.ts";
import type { Problem } from "./gateway-service.ts";
import type { FoundService, GatewayServices } from "./gateway-services.ts";
import type { GatewayMetrics, GatewaysOfTarget } from "./metrics.ts";
import { httpProbe, type Probe } from "./probe.ts";
import { Probes } from "./probes.ts";
import {
  describeAddress,
  type GatewayAddress,
  type GatewayState,
  gatewayCondition,
  gatewayStatuses,
} from "./report.ts";
import { HostNames, type Lookup } from "./resolver.ts";

/** What is known of a Link's target. */
export interface TargetGateways {
  services: Pick<GatewayServices, "of" | "wanted">;
  /** Whether the exported services were completely listed, and so all gateways that they choose are known by name. */
  listed: boolean;
}

export interface GatewaysOptions {
  source: Pick<SourceCluster, "links" | "services">;
  dataPlane: DataPlane;
  target: (link: Link) => TargetGateways | undefined;
  clock: Clock;
  random: () => number;
  log: Log;
  events: Pick<LinkEvents, "record">;
  metrics: GatewayMetrics;
  /** Where the calls to a Link's mirrors go changed; urgent when an address died. */
  onChange: (link: Link, urgent: boolean) => void;
  /** What there is to tell of a Link's gateways changed. */
  onNews: (link: Link) => void;
  /** @default DNS, then the system */
  lookup?: Lookup | undefined;
  /** @default by HTTP */
  probe?: Probe | undefined;
}

/** The gateways of every Link's target: where they are reached, and which of their addresses are alive. */
export class Gateways {
  readonly #options: GatewaysOptions;
  readonly #names: HostNames;
  readonly #probes: Probes;
  readonly #addresses: GatewayAddresses;
  /** By the key of the Link: its gateways as last looked at, to see what changed; and its host names. */
  readonly #seen = new Map<
    string,
    { cluster: string; picture: string; hosts: Set<string>; probed: boolean }
  >();

  constructor(options: GatewaysOptions) {
    const { clock, random, log, lookup, probe = httpProbe(clock), source } = options;
    this.#options = options;
    this.#names = new HostNames({
      ...(lookup && { lookup }),
      clock,
      log,
      onChange: (host) => {
        for (const [key, { hosts }] of this.#seen) if (hosts.has(host)) this.refresh(key);
      },
    });
    this.#probes = new Probes({
      probe,
      clock,
      random,
      onProbe: (key, result) => {
        const link = source.links.get(key);
        if (link !== undefined) options.metrics.probed(link.spec.targetClusterName, result);
      },
      onVerdict: (key, target, flipped) => this.#verdict(key, target, flipped),
    });
    this.#addresses = new GatewayAddresses(this.#names, this.#probes);
  }

  /** Follow Links' gateways until `signal` is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    const { source, metrics } = this.#options;
    const stopListening = source.links.onChange((key, current, previous) => {
      // What is told in a status is told by us.
      if (
        current?.metadata.generation === previous?.metadata.generation &&
        !current?.metadata.deletionTimestamp
      )
        return;
      this.refresh(key);
      // An older Link to the same target comes or goes: then another is the one that is probed.
      for (const link of [current, previous]) {
        const others = link ? source.links.by(BY_TARGET, link.spec.targetClusterName) : [];
        for (const other of others) if (keyOf(other) !== key) this.refresh(keyOf(other));
      }
    });
    const stopMirrors = source.services.onChange((_, current, previous) => {
      const named = [current, previous].map((mirror) => mirror && gatewayOf(mirror));
      if (JSON.stringify(named[0]) === JSON.stringify(named[1])) return;
      for (const mirror of [current, previous]) {
        const label = mirror?.metadata.labels?.[LINK_LABEL] ?? "";
        for (const link of source.links.by(BY_LINK, label)) this.refresh(keyOf(link));
      }
    });
    metrics.observe(() => this.#overview());
    try {
      for (const key of source.links.keys()) this.refresh(key);
      await Promise.all([this.#names.run(signal), this.#probes.run(signal)]);
    } finally {
      stopListening();
      stopMirrors();
      metrics.observe(() => []);
      for (const { cluster } of this.#seen.values()) metrics.forget(cluster);
    }
  }

  /** Look at a Link's gateways again: something that they depend on may have changed. */
  refresh(key: string): void {
    const { source, onChange, onNews } = this.#options;
    const link = source.links.get(key);
    const before = this.#seen.get(key);
    if (link === undefined || !this.#isActive(link)) {
      this.#forget(key);
      return;
    }
    const all = this.#refsOf(link).map((ref) => ({ ref, endpoint: this.#endpoint(link, ref) }));
    const hosts = new Set(
      all.flatMap(({ endpoint }) => endpoint.addresses.filter((address) => isIP(address) === 0)),
    );
    const probed = link.spec.probe !== undefined;
    const cluster = link.spec.targetClusterName;
    if (before && (before.cluster !== cluster || (before.probed && !probed)))
      this.#options.metrics.forget(before.cluster);
    const seen = { cluster, hosts, probed, picture: before?.picture ?? "" };
    this.#seen.set(key, seen);
    this.#names.want(new Set([...this.#seen.values()].flatMap((each) => [...each.hosts])));
    this.#probes.want(key, this.#addresses.targets(link, all));
    seen.picture = pictureOf(this.#all(link));
    if (seen.picture === before?.picture) return;
    onChange(link, false);
    onNews(link);
  }

  /**
   * A gateway as it is reached now.
   *
   * @param ref one that exported services choose; absent: the Link's own
   */
  of(link: Link, ref?: GatewayReference): GatewayState {
    const endpoint = this.#endpoint(link, ref);
    const addresses = this.#addresses.of(link, ref, endpoint);
    const { port, identity, known, problem } = endpoint;
    return {
      ...(ref && { ref }),
      addresses,
      port,
      ...(identity === undefined ? {} : { identity }),
      alive: addresses.some(({ alive }) => alive),
      known,
      ...(problem === undefined ? {} : { problem }),
    };
  }

  /**
   * Which gateway carries the calls to an exported service: `undefined` is the Link's own, whether the service chooses none
   * or that one. Whether one that it chooses can be used, `of` says.
   */
  choiceOf(link: Link, remote: Service): GatewayReference | Problem | undefined {
    const choice = gatewayChoice(remote);
    if (choice === undefined || isProblem(choice)) return choice;
    return this.#isOwn(link, choice) ? undefined : choice;
  }

  /** For `Link.status.gateways`: the Link's own first, then those that services choose, by name. */
  statusOf(link: Link): LinkGatewayStatus[] {
    return gatewayStatuses(this.#all(link));
  }

  /** The condition `GatewayAlive`; `undefined` while nothing can be said, and for a Link that is not used. */
  conditionOf(link: Link): (ConnectionState & { type: string }) | undefined {
    if (!this.#isActive(link)) return undefined;
    const [own, ...chosen] = this.#all(link);
    const before = link.status?.conditions?.find(({ type }) => type === LINK_CONDITION.gatewayAlive);
    return own && gatewayCondition(own, chosen, link.spec.probe !== undefined, before);
  }

  /** For `/state`. */
  state(key: string): unknown {
    const link = this.#options.source.links.get(key);
    return link && this.#all(link);
  }

  #all(link: Link): GatewayState[] {
    return this.#refsOf(link).map((ref) => this.of(link, ref));
  }

  /** The Link's own gateway, `undefined`, and those chosen that are others. */
  #refsOf(link: Link): (GatewayReference | undefined)[] {
    const target = this.#options.target(link);
    const chosen = new Map((target?.services.wanted ?? []).map((ref) => [gatewayKey(ref), ref]));
    if (!target?.listed) {
      // Which ones are chosen is not known yet: those that were, are.
      for (const { namespace, name } of link.status?.gateways ?? []) {
        if (namespace !== undefined && name !== undefined)
          chosen.set(gatewayKey({ namespace, name }), { namespace, name });
      }
    }
    // As long as a mirror names one, calls go through it, and the egress must know how it is reached.
    for (const mirror of this.#options.source.services.by(BY_GATEWAY, linkLabelValue(link.metadata))) {
      const ref = gatewayOf(mirror);
      if (ref !== undefined) chosen.set(gatewayKey(ref), ref);
    }
    const others = [...chosen].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, ref]) => ref);
    return [undefined, ...others.filter((ref) => !this.#isOwn(link, ref))];
  }

  /** Whether a Service of the target is that of the Link's own gateway: by its name, or by what it proves. */
  #isOwn(link: Link, ref: GatewayReference): boolean {
    if (link.spec.gateway !== undefined && gatewayKey(link.spec.gateway) === gatewayKey(ref)) return true;
    const found = this.#find(link, ref);
    if (found === undefined || typeof found === "string") return false;
    return (
      link.spec.gatewayIdentity !== undefined &&
      found.metadata.annotations?.[GATEWAY_IDENTITY_ANNOTATION] === link.spec.gatewayIdentity
    );
  }

  #find(link: Link, ref: GatewayReference): FoundService {
    const target = this.#options.target(link);
    return target === undefined ? "unknown" : target.services.of(ref);
  }

  #endpoint(link: Link, ref: GatewayReference | undefined): GatewayEndpoint {
    if (ref !== undefined) return chosenEndpoint(link, ref, this.#find(link, ref), this.#options.dataPlane);
    const { gateway } = link.spec;
    return ownEndpoint(link, gateway === undefined ? undefined : this.#find(link, gateway));
  }

  #verdict(key: string, target: string, flipped: boolean): void {
    const { source, onChange, onNews, events, log } = this.#options;
    const link = source.links.get(key);
    const seen = this.#seen.get(key);
    if (link === undefined || seen === undefined) return;
    if (flipped) {
      const { gateway, address, others } = this.#flipped(link, target) ?? {};
      // As long as another IP address of the same name is alive, so is the name.
      if (gateway && address && !others) {
        const message = `${describeAddress(gateway, address)} (cluster ${link.spec.targetClusterName})`;
        log[address.alive ? "info" : "warn"]("gateway", { link: key, alive: address.alive, message });
        events.record(link, {
          type: address.alive ? "Normal" : "Warning",
          reason: address.alive ? LINK_REASON.gatewayAlive : LINK_REASON.gatewayDead,
          message,
        });
      }
      seen.picture = pictureOf(this.#all(link));
      onChange(link, this.#probes.of(key, target)?.alive === false);
    }
    onNews(link);
  }

  /** The gateway and address that a target of probes is of, and whether another IP address of it is alive. */
  #flipped(
    link: Link,
    target: string,
  ): { gateway: GatewayState; address: GatewayAddress; others: boolean } | undefined {
    for (const gateway of this.#all(link)) {
      for (const address of gateway.addresses) {
        const ips = address.ips.length > 0 ? address.ips : [{ ip: "", alive: false }];
        if (!ips.some(({ ip }) => targetKey(gateway.ref, address.address, ip) === target)) continue;
        const others = ips.some(
          ({ ip, alive }) => alive && targetKey(gateway.ref, address.address, ip) !== target,
        );
        return { gateway, address, others };
      }
    }
    return undefined;
  }

  #isActive(link: Link): boolean {
    const target = link.spec.targetClusterName;
    const active = activeLink(target, this.#options.source.links.by(BY_TARGET, target));
    return active !== undefined && keyOf(active) === keyOf(link);
  }

  #forget(key: string): void {
    const seen = this.#seen.get(key);
    if (seen === undefined) return;
    this.#seen.delete(key);
    this.#probes.want(key, new Map());
    this.#names.want(new Set([...this.#seen.values()].flatMap((each) => [...each.hosts])));
    this.#options.metrics.forget(seen.cluster);
  }

  #overview(): GatewaysOfTarget[] {
    return [...this.#seen].flatMap(([key, { cluster }]) => {
      const link = this.#options.source.links.get(key);
      return link === undefined ? [] : [{ cluster, gateways: this.#all(link) }];
    });
  }
}

/** What decides where calls go, to see whether that changed. */
function pictureOf(gateways: readonly GatewayState[]): string {
  return JSON.stringify(gateways, (key, value) =>
    key === "cause" || key === "undecided" ? undefined : value,
  );
}
