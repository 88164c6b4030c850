import { isDeepStrictEqual } from "node:util";
import {
  type Link,
  parseEgressPorts,
  REMOTE_SERVICE_ANNOTATION,
  sliceName,
} from "../../../contract/index.ts";
import type { EndpointSlice, KubeObject, Lease, Service } from "../../../controller/kube/objects.ts";
import { ENDPOINT_SLICES, LINKS, SERVICES } from "../../../controller/kube/resource.ts";
import { queriesOf, selectorsOf } from "../../../controller/mirror/selector.ts";
import type { Controllers } from "./controllers.ts";
import {
  type Closeness,
  differencesOfSlice,
  mustBeHeadless,
  serviceDifferences,
  sliceDifferences,
} from "./expected.ts";
import { followsGateways } from "./gateways.ts";
import type { Knowledge } from "./knowledge.ts";
import {
  activeLinks,
  type Claim,
  claims,
  isFederated,
  isOurs,
  ownerOf,
  refusalOf,
  sliceNamesOf,
  slicesOf,
  type Verdict,
  verdictOf,
} from "./model.ts";
import { contentsOf, isAwaited, isMade, isOurQuota } from "./namespaces.ts";
import type { Network } from "./network.ts";
import { type ClusterName, LINKERD_NAMESPACE, OWN_NAMESPACE, PROTECTED } from "./scene.ts";
import type { Write } from "./simulated-api.ts";
import { clustersOf, type Touch, type World } from "./world.ts";

/** The laws, by the names that a broken one is reported under. */
export type Law =
  | "only what is ours is written (1)"
  | "only a namespace of ours is deleted (1)"
  | "a namespace that holds anything stays (1)"
  | "nothing is deleted before the target is known (2)"
  | "nothing wanted is deleted (2)"
  | "what is written is what is wanted (3)"
  | "a write changes something (4)"
  | "at rest nothing is written (4)"
  | "at rest all is as it must be (3, 5)"
  | "a hand edit is undone within a second (6)"
  | "a mirror keeps its egress port (6)"
  | "no member is lost before its cluster is known (2)"
  | "a gateway does not move before it is known (2)"
  | "what changes shows within two seconds (7)"
  | "what probes find shows within 15 seconds (7)"
  | "protected namespaces are never written (10)"
  | "a deleted Link leaves nothing (11)"
  | "only the holder of the lease writes (8)"
  | "never two lead (8)"
  | "another takes over within 20 seconds (8)"
  | "a status is written once a second at most (7)"
  | "a Link stays under 256 KiB (7)"
  | "no storm of calls (5)"
  | "the process lives";

export interface Violation {
  law: Law;
  message: string;
  at: number;
}

export interface LawsOptions {
  world: World;
  network: Network;
  controllers: () => Controllers;
}

/** What a controller decided may land so much later: the longest of all timeouts and pauses together, or what is usual. */
const SLACK_STORMY_MS = 250_000;
const SLACK_FAIR_MS = 10_000;
/** So long after the weather has cleared, nothing of it is left: no pause, no half-open watch. */
const AFTERMATH_MS = 200_000;
/** What no watch shows is looked at every half minute. */
const UNSEEN_MS = 36_000;
/** A gateway that died must have failed three probes, of which one is sent every three seconds or so. */
const PROBED_MS = 15_000;
/** An object that leaves one selection and may enter another is not taken to be gone for a moment. */
const MOVING_MS = 300;
/** What a controller watches in the source, and what decides about mirrors. */
const SOURCE_WATCHES: [collection: string, selector: string | null][] = [
  ["links.isthmus.dev", null],
  ["namespaces", null],
  ["services", "app.kubernetes.io/managed-by=isthmus,mirror.linkerd.io/mirrored-service"],
  ["services", "mirror.linkerd.io/federated=member"],
  [
    "endpointslices.discovery.k8s.io",
    "app.kubernetes.io/managed-by=isthmus,mirror.linkerd.io/mirrored-service",
  ],
];
const LOCAL_SLICES: (typeof SOURCE_WATCHES)[number] = [
  "endpointslices.discovery.k8s.io",
  "mirror.linkerd.io/federated=member",
];
const EGRESS_PODS: (typeof SOURCE_WATCHES)[number] = ["pods", "app.kubernetes.io/component=gateway-egress"];
const MAX_LINK_BYTES = 256 * 1024;

/** Watches over everything that controllers do, and over what they fail to do in time. The first violation is kept. */
export class Laws {
  readonly #options: LawsOptions;
  violation: Violation | undefined;
  /** How often each law was looked at where it could have been broken. */
  readonly checked = new Map<Law, number>();
  /** Writes of controllers that were accepted, but for leases. */
  writes = 0;
  /** The latest of them, in words. */
  lastWrite = "";
  /** Since when the weather has been fair, by API server: nothing else than what a controller does delays it. */
  readonly fairSince = new Map<string, number>();
  readonly #egressPorts = new Map<string, { process: string; at: number; ports: Map<number, number> }>();
  readonly #statusSent = new Map<string, number>();
  /** Services that a process deleted to make them anew, by process and key. */
  readonly #remade = new Map<string, Service | undefined>();
  /** When the leader at work may have begun. */
  #termFrom = 0;
  /** When an object went that was in a mirror's way. */
  readonly #unseen = new Map<string, number>();
  readonly #holders: { from: number; holder: string | undefined }[] = [];
  #calls = { from: 0, count: 0 };

  constructor(options: LawsOptions) {
    this.#options = options;
    options.world.sourceApi.onWrite = (write) => this.#wrote(write);
    options.world.onTouch = (touch) => this.#touched(touch);
  }

  break(law: Law, message: string): void {
    this.violation ??= { law, message, at: this.#now };
  }

  /** Hold a law to have been looked at; broken where `broken` says how. */
  check(law: Law, broken: string | undefined | false): void {
    this.checked.set(law, (this.checked.get(law) ?? 0) + 1);
    if (broken) this.break(law, broken);
  }

  called(): void {
    const now = this.#now;
    if (now - this.#calls.from > 10_000) this.#calls = { from: now, count: 0 };
    this.#calls.count++;
    this.check(
      "no storm of calls (5)",
      this.#calls.count > 10_000 && `more than 10,000 calls in ten seconds`,
    );
  }

  get #now(): number {
    return this.#options.world.time.now;
  }

  #wrote(write: Write): void {
    if (write.collection === "leases.coordination.k8s.io") {
      this.#wroteLease(write);
      return;
    }
    // What is in a namespace is looked at again, for as long as it is there.
    if (write.collection !== "resourcequotas") {
      this.writes++;
      this.lastWrite = told(write);
    }
    // What was under way when the lease was given up may arrive later; versions and preconditions keep it from doing harm.
    const holder = this.#holders.findLast(({ from }) => from <= write.sentAt)?.holder;
    this.check(
      "only the holder of the lease writes (8)",
      holder !== write.process &&
        `${told(write)}, but ${holder || "nobody"} held the lease when that was sent`,
    );
    switch (write.collection) {
      case "services":
        this.#wroteMirror(write);
        break;
      case "endpointslices.discovery.k8s.io":
        this.#wroteSlice(write);
        break;
      case "links.isthmus.dev":
        this.#wroteLink(write);
        break;
      case "pods":
        this.check("only what is ours is written (1)", write.request.subresource !== "status" && told(write));
        break;
      case "secrets":
        this.#wroteCopy(write);
        break;
      case "namespaces":
        this.#wroteNamespace(write);
        break;
      case "resourcequotas": {
        const quotas = [write.before, write.after].filter((each) => each !== undefined);
        this.check("only what is ours is written (1)", !quotas.every(isOurQuota) && told(write));
        break;
      }
      case "events":
        break;
      default:
        this.break("only what is ours is written (1)", `${told(write)}, of which nothing is ours`);
    }
  }

  #wroteLease({ after, at, process }: Write): void {
    const holder = (after as Lease).spec?.holderIdentity;
    const running = this.#options.controllers().running();
    // Who renews its lease leads already.
    const acquires = running.some(({ name, role }) => name === process && !isLeading(role));
    if (this.#holders.at(-1)?.holder !== holder || acquires) {
      this.#holders.push({ from: at, holder });
      this.#termFrom = at;
      this.#statusSent.clear();
    }
    const leading = running.filter(({ role }) => isLeading(role));
    this.check(
      "never two lead (8)",
      leading.length > 1 &&
        `${leading.map(({ name }) => name).join(" and ")} both take themselves for the leader`,
    );
  }

  #wroteMirror(write: Write): void {
    this.#wroteObject(write);
    const before = write.before as Service | undefined;
    const after = write.after as Service | undefined;
    const key = keyOf(write);
    const known = this.#knownVerdict(write, key, false);
    // What the service is now, can be known before all others are.
    const remade = this.#mustGo(write, known ?? this.#verdict(key));
    const id = `${write.process} ${key}`;
    if (after === undefined && remade) this.#remade.set(id, before);
    else {
      this.#keepsMembers(write, before ?? this.#remade.get(id), after);
      this.#remade.delete(id);
    }
    if (after === undefined) {
      if (!remade) this.#forgetPorts(key);
      this.#mayDelete(write, before, remade);
      if (known === undefined) return;
      const wanted = known.kind === "mirror" && !remade && this.#isFor(before, known.claim);
      this.check(
        "nothing wanted is deleted (2)",
        wanted && `${told(write)}, which is wanted and known to be`,
      );
      return;
    }
    this.#keepsPorts(write, key, after);
    if (known === undefined) return;
    if (known.kind !== "mirror") {
      if (known.mayStand) return;
      const why = known.kind === "refused" ? known.reason : "nobody wants it";
      this.check("what is written is what is wanted (3)", `${told(write)}, which should not be: ${why}`);
      return;
    }
    const closeness = followsGateways(known.claim) ? "without way" : "all";
    const wrong = serviceDifferences(this.#options.world, after, known, closeness);
    this.check(
      "what is written is what is wanted (3)",
      wrong.length > 0 && `${told(write)}: ${wrong.join("; ")}`,
    );
  }

  #wroteSlice(write: Write): void {
    this.#wroteObject(write);
    const { world } = this.#options;
    const slice = (write.after ?? write.before) as EndpointSlice | undefined;
    const name = slice?.metadata.labels?.["kubernetes.io/service-name"] ?? "";
    const key = `${slice?.metadata.namespace}/${name}`;
    const known = this.#knownVerdict(write, key, true);
    const isStray =
      known?.kind === "mirror" &&
      !sliceNamesOf(world, name, known.claim).includes(slice?.metadata.name ?? "");
    if (write.after === undefined) {
      this.#mayDelete(
        write,
        write.before,
        isStray || isForeignSlice(write.before, name) || this.#isUnnamed(write.before, key),
      );
      if (known === undefined) return;
      const wanted = known.kind === "mirror" && !isStray && this.#isFor(write.before, known.claim);
      this.check(
        "nothing wanted is deleted (2)",
        wanted && `${told(write)}, whose mirror is wanted and known to be`,
      );
      return;
    }
    if (known?.kind !== "mirror" || slice === undefined) return;
    const [namespace, mirrorName = ""] = key.split("/");
    const mirror = world.source.find(SERVICES, { namespace, name: mirrorName });
    if (mirror === undefined) return;
    // The Service may have been remade while this was on its way, and mirrors of pods are made one by one.
    const closeness = mustBeHeadless(world, known.claim, mirror)
      ? "without endpoints"
      : followsGateways(known.claim)
        ? "without way"
        : this.#closeness(this.#slack());
    const wrong = differencesOfSlice(world, mirror, slice, known, closeness);
    this.check(
      "what is written is what is wanted (3)",
      wrong.length > 0 && `${told(write)}: ${wrong.join("; ")}`,
    );
  }

  /** A copy of credentials for Linkerd, which no other Secret is to be touched for. */
  #wroteCopy(write: Write): void {
    const { world } = this.#options;
    const { before, after } = write;
    const mayBe = (object: KubeObject | undefined) =>
      object === undefined ||
      (object.metadata.namespace === LINKERD_NAMESPACE && ownerOf(world.source, object) !== undefined);
    this.check(
      "only what is ours is written (1)",
      (world.dataPlane !== "linkerd" || !mayBe(before) || !mayBe(after)) && told(write),
    );
  }

  #wroteNamespace(write: Write): void {
    const { source } = this.#options.world;
    const { before, after, verb } = write;
    const name = (after ?? before)?.metadata.name ?? "";
    this.check("protected namespaces are never written (10)", PROTECTED.includes(name) && told(write));
    if (verb !== "delete") {
      const isNew = before === undefined && after !== undefined && isMade(after);
      this.check("only what is ours is written (1)", !isNew && told(write));
      return;
    }
    const isTheirs = before === undefined || !isMade(before);
    this.check("only a namespace of ours is deleted (1)", isTheirs && told(write));
    const held = contentsOf(source, name).map(({ kind, metadata }) => `${kind} ${metadata.name}`);
    this.check(
      "a namespace that holds anything stays (1)",
      held.length > 0 && `${told(write)}, which holds ${held.join(", ")}`,
    );
    const unknown = activeLinks(source).filter((link) => !this.#wasListed(write.process, link));
    this.check(
      "nothing is deleted before the target is known (2)",
      unknown.length > 0 &&
        `${told(write)}, but this process has no complete list of cluster ${unknown[0]?.spec.targetClusterName}`,
    );
  }

  /**
   * A federated Service names those members that it named, unless it is known that they are members no longer: what a
   * member is now, can be known before all others are.
   */
  #keepsMembers(write: Write, before: Service | undefined, after: Service | undefined): void {
    if (before === undefined || !isFederated(before)) return;
    const { world } = this.#options;
    const now = membersOf(after);
    const law = "no member is lost before its cluster is known (2)";
    const [namespace, name = ""] = before.metadata.annotations?.[REMOTE_SERVICE_ANNOTATION]?.split("/") ?? [];
    for (const cluster of membersOf(before)) {
      const link = activeLinks(world.source).find(({ spec }) => spec.targetClusterName === cluster);
      if (now.has(cluster) || link === undefined) continue;
      const member = world.apis[cluster as ClusterName].objects.find(SERVICES, { namespace, name });
      const isRefused = member && refusalOf(world, member as Service, "federated") !== undefined;
      if (isRefused && this.#options.network.anyComplete(write.process, cluster, "services")) continue;
      this.check(
        law,
        !this.#wasListed(write.process, link) &&
          `${told(write)} leaves out the member in cluster ${cluster}, of which it has no complete list`,
      );
    }
  }

  #wroteObject(write: Write): void {
    const { before, after } = write;
    const { source } = this.#options.world;
    const namespace = (after ?? before)?.metadata.namespace ?? "";
    this.check("protected namespaces are never written (10)", PROTECTED.includes(namespace) && told(write));
    const owner = before && ownerOf(source, before);
    this.check(
      "only what is ours is written (1)",
      before !== undefined && !isOurs(source, before) && `${told(write)}, which is not ours`,
    );
    const next = after && ownerOf(source, after);
    const moved = owner && next && owner.spec.targetClusterName !== next.spec.targetClusterName;
    this.check(
      "only what is ours is written (1)",
      moved &&
        `${told(write)}, which was for cluster ${owner.spec.targetClusterName}, for ${next.spec.targetClusterName}`,
    );
    this.check(
      "a write changes something (4)",
      before !== undefined && after !== undefined && withoutVersion(before, after) && told(write),
    );
  }

  /** Whether whoever wrote could know that something is not wanted: the Link is going, or its target was listed. */
  #mayDelete(write: Write, before: KubeObject | undefined, remade: boolean): void {
    const { source } = this.#options.world;
    const cluster = before && ownerOf(source, before)?.spec.targetClusterName;
    // Whoever made it: with another Link to the same cluster, it is that one's now.
    const link = activeLinks(source).find(({ spec }) => spec.targetClusterName === cluster);
    if (link === undefined || remade) return;
    this.check(
      "nothing is deleted before the target is known (2)",
      !this.#wasListed(write.process, link) &&
        `${told(write)}, but this process has no complete list of cluster ${cluster}`,
    );
  }

  /** Whether a process has had a complete list of what a Link's target exports. */
  #wasListed(process: string, { spec }: Link): boolean {
    const cluster = spec.targetClusterName as ClusterName;
    const active = activeLinks(this.#options.world.source).filter(
      (link) => link.spec.targetClusterName === cluster,
    );
    const takenOver = this.#options.world.takenOverAt(cluster);
    const links = this.#options.network.knowledge(process, "source", "links.isthmus.dev", null);
    // It may still go by the Link that mirrored before, and not know of the one that does now.
    if (this.#options.world.relistedAt(cluster) >= links.oldestSince(this.#now - this.#slack(), this.#now))
      return true;
    // With other selectors than at first, what the first ones found is known.
    if (this.#options.world.askedOtherwiseAt(cluster) > this.#termFrom - SLACK_STORMY_MS)
      return this.#options.network.anyComplete(process, cluster, "services");
    return active
      .flatMap((link) => this.#knowledgeOf(process, link))
      .every(({ complete, listedAsOf }) => complete && listedAsOf >= takenOver);
  }

  /** What a process knows of what a Link asks its target for. */
  #knowledgeOf(process: string, { spec }: Link): Knowledge[] {
    const { gateway, remoteDiscovery, federated } = selectorsOf(spec);
    const of = (collection: string, queries: string[]) =>
      queries.map((query) =>
        this.#options.network.knowledge(process, spec.targetClusterName, collection, query),
      );
    return [
      ...of("services", queriesOf([gateway, remoteDiscovery, federated])),
      ...of("endpointslices.discovery.k8s.io", queriesOf([gateway, federated])),
    ];
  }

  #forgetPorts(key: string): void {
    for (const place of this.#egressPorts.keys())
      if (place.startsWith(`${key} `)) this.#egressPorts.delete(place);
  }

  #keepsPorts(write: Write, key: string, after: Service): void {
    for (const [annotation, value] of Object.entries(after.metadata.annotations ?? {})) {
      if (annotation !== "isthmus.dev/egress-ports" && !annotation.startsWith("egress-ports.isthmus.dev/"))
        continue;
      this.#keepsPortsOf(write, key, annotation, parseEgressPorts(value));
    }
  }

  #keepsPortsOf(write: Write, key: string, annotation: string, ports: Map<number, number>): void {
    const last = this.#egressPorts.get(`${key} ${annotation}`);
    this.#egressPorts.set(`${key} ${annotation}`, { process: write.process, at: this.#now, ports });
    // A service port that went and came again may have another.
    if (last?.process !== write.process) return;
    // Nobody else decided anything about it since, so that it can only have been edited or deleted by hand.
    const touched = this.#options.world.decidedAt(key, clustersOf(key));
    if (touched > last.at - this.#slack()) return;
    const moved = [...last.ports].filter(([port, egress]) => ports.has(port) && ports.get(port) !== egress);
    this.check(
      "a mirror keeps its egress port (6)",
      moved.length > 0 &&
        `${told(write)} moves its ports ${moved.map(([port]) => port)} from ${text(last.ports)} to ${text(ports)}`,
    );
  }

  #wroteLink(write: Write): void {
    const [before, after] = [write.before, write.after] as (Link | undefined)[];
    if (before !== undefined && after === undefined) {
      const left = this.#leftOf(before);
      this.check(
        "a deleted Link leaves nothing (11)",
        left !== undefined && `Link ${before.metadata.name} went, and left ${left}`,
      );
      return;
    }
    if (after === undefined || before === undefined) return;
    this.check(
      "only what is ours is written (1)",
      !isDeepStrictEqual(before.spec, after.spec) && told(write),
    );
    this.check(
      "a Link stays under 256 KiB (7)",
      JSON.stringify(after).length > MAX_LINK_BYTES && told(write),
    );
    if (write.request.subresource !== "status") return;
    this.#keepsGateway(write, before, after);
    // What was sent in an earlier term and arrives in this one says nothing of the pauses of this one.
    if (write.sentAt < this.#termFrom) return;
    const place = `${write.process} ${after.metadata.uid}`;
    const pause = Math.abs(write.sentAt - (this.#statusSent.get(place) ?? Number.NEGATIVE_INFINITY));
    this.#statusSent.set(place, write.sentAt);
    // Measured by the clock of the process.
    const law = "a status is written once a second at most (7)";
    this.check(law, pause < 940 && `${told(write)}, ${pause} ms after the last time`);
  }

  /** Whoever has not heard of the Service of a gateway that a Link follows, goes by what was known of it last. */
  #keepsGateway(write: Write, before: Link, after: Link): void {
    const { gateway, targetClusterName: cluster } = before.spec;
    const ownOf = ({ status }: Link) =>
      status?.gateways?.find(({ name }) => name === undefined)?.addresses.map(({ address }) => address);
    const was = ownOf(before);
    const { generation } = before.metadata;
    const isSameSpec = [before, after].every(({ status }) => status?.observedGeneration === generation);
    if (gateway === undefined || was === undefined || !isSameSpec) return;
    const followed = `services?metadata.name=${gateway.name}`;
    if (this.#options.network.knowledge(write.process, cluster, followed, null).complete) return;
    this.check(
      "a gateway does not move before it is known (2)",
      ownOf(after)?.join() !== was.join() &&
        `${told(write)} moves the gateway from ${was} to ${ownOf(after)}`,
    );
  }

  /** What is left of a Link that was not put there by somebody a moment ago. */
  #leftOf(link: Link): string | undefined {
    const { source } = this.#options.world;
    const label = `${OWN_NAMESPACE}.${link.metadata.name}`;
    for (const each of [...source.list(SERVICES), ...source.list(ENDPOINT_SLICES)]) {
      const { labels = {}, namespace, name } = each.metadata;
      if (labels["isthmus.dev/link"] !== label || labels["app.kubernetes.io/managed-by"] !== "isthmus")
        continue;
      const mirror = each.kind === "Service" ? name : (labels["kubernetes.io/service-name"] ?? "");
      const touched = this.#options.world.touchedByHand(`${namespace}/${mirror}`);
      if (touched < this.#now - this.#slack()) return `${each.kind} ${namespace}/${name}`;
    }
    return undefined;
  }

  /** Whether a slice leads to a member that its federated Service does not name: no egress takes its calls any more. */
  #isUnnamed(slice: KubeObject | undefined, key: string): boolean {
    if (slice === undefined || !isFederated(slice)) return false;
    const [namespace, name = ""] = key.split("/");
    const named = membersOf(this.#options.world.source.find(SERVICES, { namespace, name }));
    return !named.has(slice.metadata.labels?.["mirror.linkerd.io/cluster-name"] ?? "");
  }

  /** Whether an object is made for a Link to the same cluster as that of a claim. */
  #isFor(object: KubeObject | undefined, claim: Claim): boolean {
    if (object === undefined) return false;
    if (claim.kind === "federated") return isFederated(object);
    const owner = ownerOf(this.#options.world.source, object);
    return owner?.spec.targetClusterName === claim.cluster;
  }

  /** Whether a Service cannot be made into what it must be, but for its being made anew. */
  #mustGo({ before }: Write, known: Verdict | undefined): boolean {
    const service = before as Service | undefined;
    const isHeadless = service?.spec?.clusterIP === "None";
    if (known?.kind !== "mirror") return isHeadless;
    return mustBeHeadless(this.#options.world, known.claim, service) !== isHeadless;
  }

  /** How much of the endpoints follows from what is known, if nothing took longer than this. */
  #closeness(slackMs: number): Closeness {
    const { world } = this.#options;
    const since = Math.max(world.gatewaysTouchedAt(), this.#termFrom);
    if (this.#now - since > PROBED_MS + slackMs) return "all";
    return world.dataPlane === "linkerd" ? "without endpoints" : "without readiness";
  }

  /**
   * What a key must be, if whoever wrote must have known: nothing that decides about it has changed since the oldest state
   * that can have been looked at for this write.
   */
  #knownVerdict(write: Write, key: string, pods: boolean): Verdict | undefined {
    const { world, network } = this.#options;
    const clusters = clustersOf(key);
    const since = this.#now - this.#slack();
    const sources = [
      ...SOURCE_WATCHES,
      ...(world.dataPlane === "standalone" ? [LOCAL_SLICES] : []),
      ...(pods ? [EGRESS_PODS] : []),
    ];
    const active = activeLinks(world.source).filter(({ spec }) =>
      clusters.includes(spec.targetClusterName as ClusterName),
    );
    const ofSource = sources.map(([collection, selector]) =>
      network.knowledge(write.process, "source", collection, selector),
    );
    const ofTargets = active.flatMap((link) => this.#knowledgeOf(write.process, link));
    if ([...ofSource, ...ofTargets].some(({ complete }) => !complete)) return undefined;
    const oldest = Math.min(...[...ofSource, ...ofTargets].map((each) => each.oldestSince(since, this.#now)));
    if (world.touchedAt(key, clusters) >= oldest - MOVING_MS) return undefined;
    for (const link of active) {
      const from = Math.max(world.relistedAt(link.spec.targetClusterName as ClusterName), this.#termFrom);
      // A new term asks the targets anew, and so does a Link with another selector.
      if (!this.#knowledgeOf(write.process, link).every((each) => each.wasListed(from, since)))
        return undefined;
    }
    return this.#verdict(key);
  }

  #verdict(key: string): Verdict {
    const { world } = this.#options;
    return verdictOf(world, key, claims(world).get(key) ?? []);
  }

  #hasLink(cluster: ClusterName): boolean {
    return (this.#options.world.source.list(LINKS) as Link[]).some(
      ({ spec }) => spec.targetClusterName === cluster,
    );
  }

  #slack(): number {
    return this.isFair("source", AFTERMATH_MS) ? SLACK_FAIR_MS : SLACK_STORMY_MS;
  }

  /** Whether nothing has delayed this API server's answers for so long. */
  isFair(api: string, forMs: number): boolean {
    const since = this.fairSince.get(api);
    return since !== undefined && this.#now - since >= forMs;
  }

  #touched({ what, at, byHand, unseen }: Touch): void {
    const { world } = this.#options;
    if (unseen) this.#unseen.set(what, at);
    if (!this.isFair("source", AFTERMATH_MS)) return;
    if (what === "gateways") {
      world.time.after(PROBED_MS, () => {
        if (world.gatewaysTouchedAt() === at) this.#showsWhatProbesFind(at);
      });
      return;
    }
    const limit = unseen ? UNSEEN_MS : byHand ? 1_000 : 2_000;
    world.time.after(limit, () => {
      const keys = what.includes("/") ? [what] : [...claims(world).keys()];
      const sure = (key: string) =>
        unseen || !(at - (this.#unseen.get(key) ?? Number.NEGATIVE_INFINITY) < UNSEEN_MS);
      for (const key of keys.filter(sure)) this.#isDone(key, at, byHand && !unseen);
    });
  }

  #showsWhatProbesFind(at: number): void {
    const { world } = this.#options;
    for (const key of claims(world).keys()) {
      const clusters = clustersOf(key);
      const unseen = this.#unseen.get(key) ?? Number.NEGATIVE_INFINITY;
      const touched = Math.max(world.touchedAt(key, clusters), unseen);
      if (this.#now - touched < UNSEEN_MS || !this.#canAct(clusters, at)) continue;
      this.check("what probes find shows within 15 seconds (7)", this.#differences(key, "all"));
    }
  }

  /** Whether a key is as it must be, nothing having changed since `at`, and nothing keeping a controller from it. */
  #isDone(key: string, at: number, byHand: boolean): void {
    const { world } = this.#options;
    const clusters = clustersOf(key);
    if (world.touchedAt(key, clusters) !== at || !this.#canAct(clusters, at)) return;
    const law: Law = byHand
      ? "a hand edit is undone within a second (6)"
      : "what changes shows within two seconds (7)";
    const [claim] = claims(world).get(key) ?? [];
    const closeness = claim && followsGateways(claim) ? "without way" : this.#closeness(0);
    this.check(law, this.#differences(key, closeness));
  }

  /** Whether a leader has been at work for a while, and nothing is or was wrong with what decides about these clusters. */
  #canAct(clusters: readonly ClusterName[], at: number): boolean {
    const { world } = this.#options;
    const controllers = this.#options.controllers();
    const leading = controllers
      .running()
      .some(({ role, startedAt }) => isLeading(role) && startedAt < at - 60_000);
    if (!leading || controllers.changedAt > at - 60_000 || !this.isFair("source", AFTERMATH_MS)) return false;
    return clusters
      .filter((cluster) => this.#hasLink(cluster))
      .every(
        (cluster) =>
          this.isFair(cluster, AFTERMATH_MS) && world.secretIsGoodSince(cluster) < at - AFTERMATH_MS,
      );
  }

  #differences(key: string, closeness: Closeness): string | undefined {
    const { world } = this.#options;
    const { source } = world;
    const [namespace, name = ""] = key.split("/");
    const mirror = source.find(SERVICES, { namespace, name });
    const verdict = this.#verdict(key);
    if (isAwaited(world, key)) return `the namespace of ${key} is missing`;
    if (verdict.kind !== "mirror") {
      const ours = mirror !== undefined && isOurs(source, mirror) && !verdict.mayStand;
      return ours
        ? `mirror ${key} is still there: ${verdict.kind === "refused" ? verdict.reason : "nobody wants it"}`
        : undefined;
    }
    if (mirror === undefined) return `mirror ${key} is missing`;
    const wrong = [
      ...serviceDifferences(world, mirror, verdict, closeness),
      ...sliceDifferences(world, mirror, slicesOf(source, mirror), verdict, closeness),
    ];
    return wrong.length > 0 ? `mirror ${key}: ${wrong.join("; ")}` : undefined;
  }
}

export function isLeading(role: { state(): { leader: unknown } }): boolean {
  return (role.state().leader as { leading: boolean }).leading;
}

/** Whether a slice is one that Kubernetes made for a mirror, so that it goes whatever is known. */
function isForeignSlice(slice: KubeObject | undefined, mirror: string): boolean {
  const { labels = {}, name = "" } = slice?.metadata ?? {};
  if (labels["isthmus.dev/federated-by"] !== undefined) return labels["isthmus.dev/link"] === undefined;
  return name !== sliceName(mirror);
}

/** Clusters of the members that a federated Service names. */
function membersOf(service: Service | undefined): Set<string> {
  const text = service?.metadata.annotations?.["multicluster.linkerd.io/remote-discovery"] ?? "";
  return new Set(text.split(",").map((entry) => entry.slice(entry.indexOf("@") + 1)));
}

function keyOf({ before, after }: Write): string {
  const { namespace, name } = (after ?? before)!.metadata;
  return `${namespace}/${name}`;
}

function told({ process, verb, collection, request, before, after }: Write): string {
  const { namespace = "", name = "" } = (after ?? before)?.metadata ?? {};
  const part = request.subresource === undefined ? "" : `/${request.subresource}`;
  return `${process}: ${verb} ${collection}${part} ${namespace}/${name}`;
}

function withoutVersion(before: KubeObject, after: KubeObject): boolean {
  return before.metadata.resourceVersion === after.metadata.resourceVersion;
}

function text(ports: ReadonlyMap<number, number>): string {
  return [...ports].map(([port, egress]) => `${port}=${egress}`).join(",");
}
