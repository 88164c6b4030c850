import { isDeepStrictEqual } from "node:util";
import { LINK_CONDITION, LINK_REASON, type Link, type LinkServiceStatus } from "../../contract/index.ts";
import type { Clock } from "../kube/clock.ts";
import type { Log } from "../kube/log.ts";
import { keyOf } from "../kube/objects.ts";
import type { ReconcileResult } from "../kube/queue.ts";
import { LINKS } from "../kube/resource.ts";
import type { LinkEvents } from "./events.ts";
import type { Gateways } from "./gateways/gateways.ts";
import type { SourceCluster } from "./source.ts";
import { isFailure, type LinkReport, linkStatus, sameStatus } from "./status.ts";
import { outcomeKey, type Target } from "./target/target.ts";
import type { SourceWriter } from "./writer.ts";

/** A Link's status is written no more often. */
const EVERY_MS = 1_000;
/**
 * While services wait for their turn it is written after twice the time each time, up to this: with many services it is
 * large, and what an API server spends on it is missing where the mirrors are made.
 */
const SYNCING_EVERY_MS = 10_000;
/** Nor is it looked at more often whether it should be. */
export const LOOK_EVERY_MS = 100;

export interface ReporterOptions {
  source: SourceCluster;
  targets: ReadonlyMap<string, Target>;
  gateways: Pick<Gateways, "statusOf" | "conditionOf">;
  writer: SourceWriter;
  events: LinkEvents;
  clock: Clock;
  log: Log;
  /** The conditions of a Link besides `Connected` and `Synced`. */
  others: (link: Link) => LinkReport["others"];
  /** A Link's status is to be written, at once or after so many milliseconds. */
  onNews: (link: string, afterMs?: number) => void;
}

/** Tells people how their Links are doing: in the status, batched, and by Events when something turns bad or good. */
export class LinkReporter {
  readonly #options: ReporterOptions;
  readonly #writtenAt = new Map<string, number>();
  readonly #lookedAt = new Map<string, number>();
  readonly #reasons = new Map<string, string>();

  constructor(options: ReporterOptions) {
    this.#options = options;
  }

  /** Something became of an exported service. */
  service(link: Link, target: Target, outcome: LinkServiceStatus): void {
    const key = `${outcome.namespace}/${outcome.name}`;
    const service = target.services.get(key);
    // It may be gone, or wanted otherwise, while its mirror was being made: then there is nothing to tell.
    if (service === undefined || !target.mirrorsOf(service).includes(outcome.mirror)) return;
    const id = outcomeKey(service, outcome.mirror);
    const before = target.outcomes.get(id) ?? known(link, outcome);
    if (isDeepStrictEqual(target.outcomes.get(id), outcome)) return;
    target.outcomes.set(id, outcome);
    this.#options.onNews(keyOf(link), LOOK_EVERY_MS);
    if (!isFailure(outcome) || (before?.reason === outcome.reason && before.message === outcome.message))
      return;
    this.#options.log.warn("a service is not mirrored", {
      link: keyOf(link),
      service: key,
      reason: outcome.reason,
      why: outcome.message,
    });
    const message = `${key} of cluster ${target.cluster} is not mirrored: ${outcome.message ?? ""}`;
    this.#options.events.record(link, {
      type: "Warning",
      reason: outcome.reason,
      message,
      aboutService: true,
    });
  }

  /** The connection to a Link's target changed. */
  connection(link: Link, target: Target): void {
    const key = keyOf(link);
    this.#options.onNews(key);
    const { status, reason, message } = target.state;
    const condition = link.status?.conditions?.find(({ type }) => type === LINK_CONDITION.connected);
    const before = this.#reasons.get(key) ?? condition?.reason;
    if (status === "Unknown" || before === reason) return;
    this.#reasons.set(key, reason);
    this.#options.log.info("link", {
      link: key,
      cluster: target.cluster,
      connected: status,
      reason,
      message,
    });
    this.#options.events.record(link, { type: status === "True" ? "Normal" : "Warning", reason, message });
  }

  /** Bring the status of one Link up to date. */
  async reconcile(key: string, signal: AbortSignal): Promise<ReconcileResult | undefined> {
    const { source, targets, gateways, writer, clock } = this.#options;
    const link = source.links.get(key);
    const target = targets.get(key);
    if (link === undefined) {
      this.#writtenAt.delete(key);
      this.#lookedAt.delete(key);
      this.#reasons.delete(key);
      return undefined;
    }
    if (target === undefined) return undefined;
    const now = clock.monotonic();
    const since = now - (this.#writtenAt.get(key) ?? Number.NEGATIVE_INFINITY);
    if (since < EVERY_MS) return { againMs: EVERY_MS - since };
    // With thousands of services a look is long, and each of them would ask for one.
    const sinceLook = now - (this.#lookedAt.get(key) ?? Number.NEGATIVE_INFINITY);
    if (sinceLook < LOOK_EVERY_MS) return { againMs: LOOK_EVERY_MS - sinceLook };
    this.#lookedAt.set(key, now);
    // A controller that starts over asks first: what the last one said is true until it is known to be false.
    if (link.status?.conditions !== undefined && isUndecided(target, now)) return { againMs: LOOK_EVERY_MS };
    const { isPending } = target;
    const gatewaysNow = gateways.statusOf(link);
    const connected = link.status?.conditions?.find(({ type }) => type === LINK_CONDITION.connected);
    const isOnlyProgress =
      isPending &&
      connected?.reason === target.state.reason &&
      // The egress reads them there.
      isDeepStrictEqual(link.status?.gateways ?? [], gatewaysNow);
    if (isOnlyProgress && since < Math.min(SYNCING_EVERY_MS, now - (target.listedAt ?? now)))
      return { againMs: LOOK_EVERY_MS };
    const report = {
      connection: target.state,
      others: this.#options.others(link),
      gateways: gatewaysNow,
      listed: target.listed,
      isPending,
      services: [...target.outcomes.values()],
    };
    const status = linkStatus(link, report, new Date(clock.now()));
    if (sameStatus(link.status, status)) return undefined;
    try {
      await writer.patch(
        { resource: LINKS, store: source.links },
        key,
        { status },
        { signal, subresource: "status" },
      );
    } finally {
      // Not from when it was handed over: the throttle may have held it back until a moment ago.
      this.#writtenAt.set(key, clock.monotonic());
    }
    return undefined;
  }
}

/** Whether more will be known in a moment: the first answer is not in, or the first list is being gone through. */
function isUndecided(target: Target, now: number): boolean {
  if (target.state.reason === LINK_REASON.connecting) return true;
  return target.listedAt !== undefined && now - target.listedAt < EVERY_MS && target.isPending;
}

/** What an earlier controller said of a service: a new one need not tell again. */
function known(link: Link, outcome: LinkServiceStatus): LinkServiceStatus | undefined {
  return link.status?.services?.find(
    ({ namespace, name, mirror }) =>
      namespace === outcome.namespace && name === outcome.name && mirror === outcome.mirror,
  );
}
