import { createHash } from "node:crypto";
import { LINK_GROUP, LINK_KIND, LINK_VERSION, type Link, timestamp } from "../../contract/index.ts";
import type { Fence, KubeClient } from "../kube/client.ts";
import type { Clock } from "../kube/clock.ts";
import { isNotFound } from "../kube/errors.ts";
import type { Log } from "../kube/log.ts";
import type { Event } from "../kube/objects.ts";
import { EVENTS } from "../kube/resource.ts";
import { FIELD_MANAGER } from "./writer.ts";

/** What happened to a Link, as `kubectl describe link` shows it. */
export interface LinkEvent {
  type: "Normal" | "Warning";
  reason: string;
  message: string;
  /** It is about one of the Link's services, of which there may be thousands. @default false: about the Link itself */
  aboutService?: boolean;
}

/** A Link may have so many Events at once… */
const BURST = 25;
/** …and one more after each pause: a target with thousands of bad services must not flood the source. */
const REFILL_MS = 30_000;
/** Events that can wait to be written. */
const MAX_WAITING = 200;
const MAX_MESSAGE = 1024;

/** Writes Events on Links, one after the other; the same one again counts up. An Event that cannot be written is dropped. */
export class LinkEvents {
  readonly #client: KubeClient;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #fence: Fence;
  readonly #budgets = new Map<string, { left: number; at: number }>();
  /** How often each Event was written, by its name; the oldest is forgotten first. */
  readonly #counts = new Map<string, { count: number; first: string }>();
  readonly #waiting: { link: Link; event: LinkEvent }[] = [];
  readonly #stopped = new AbortController();
  #sending: Promise<void> | undefined;

  /** @param fence of the term in which this writes */
  constructor(client: KubeClient, clock: Clock, log: Log, fence: Fence) {
    this.#client = client;
    this.#clock = clock;
    this.#log = log;
    this.#fence = fence;
  }

  record(link: Link, event: LinkEvent): void {
    if (this.#stopped.signal.aborted) return;
    // What is wrong with many services must not leave unsaid what is wrong with their Link.
    const purse = `${link.metadata.uid ?? link.metadata.name}${event.aboutService ? " services" : ""}`;
    if (!this.#afford(purse) || this.#waiting.length >= MAX_WAITING) {
      this.#log.debug("event left out", { link: link.metadata.name, ...event });
      return;
    }
    this.#waiting.push({ link, event });
    this.#sending ??= this.#send();
  }

  /** Drop what waits, and what is being written: nothing is under way afterwards. */
  async stop(): Promise<void> {
    this.#waiting.length = 0;
    this.#stopped.abort(new Error("the controller stops"));
    await this.#sending;
  }

  async #send(): Promise<void> {
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      try {
        await this.#write(next.link, next.event);
      } catch (error) {
        if (this.#stopped.signal.aborted) break;
        this.#log.warn("an event could not be written", {
          link: next.link.metadata.name,
          ...next.event,
          error,
        });
      }
    }
    this.#sending = undefined;
  }

  async #write(link: Link, event: LinkEvent): Promise<void> {
    const { namespace, name, uid } = link.metadata;
    const message = event.message.slice(0, MAX_MESSAGE);
    const digest = createHash("sha256").update(JSON.stringify([uid, event.type, event.reason, message]));
    const eventName = `${name.slice(0, 200)}.${digest.digest("hex").slice(0, 16)}`;
    const now = timestamp(this.#clock.now());
    const before = this.#counts.get(eventName);
    const count = (before?.count ?? 0) + 1;
    const first = before?.first ?? now;
    const options = { fieldManager: FIELD_MANAGER, signal: this.#stopped.signal, fence: this.#fence };
    this.#remember(eventName, { count, first });
    if (before !== undefined) {
      try {
        const body = { count, lastTimestamp: now };
        await this.#client.patch(EVENTS, { namespace, name: eventName }, body, { ...options, type: "merge" });
        return;
      } catch (error) {
        // Events live for an hour.
        if (!isNotFound(error)) throw error;
      }
    }
    const object: Event = {
      apiVersion: "v1",
      kind: "Event",
      metadata: { namespace, name: eventName },
      involvedObject: {
        apiVersion: `${LINK_GROUP}/${LINK_VERSION}`,
        kind: LINK_KIND,
        namespace,
        name,
        ...(uid === undefined ? {} : { uid }),
      },
      type: event.type,
      reason: event.reason,
      message,
      count,
      firstTimestamp: first,
      lastTimestamp: now,
      source: { component: FIELD_MANAGER },
      reportingComponent: FIELD_MANAGER,
    };
    await this.#client.create(EVENTS, object, options);
  }

  #remember(name: string, value: { count: number; first: string }): void {
    this.#counts.delete(name);
    this.#counts.set(name, value);
    const [oldest] = this.#counts.keys();
    if (this.#counts.size > 1_000 && oldest !== undefined) this.#counts.delete(oldest);
  }

  #afford(purse: string): boolean {
    const now = this.#clock.monotonic();
    const budget = this.#budgets.get(purse) ?? { left: BURST, at: now };
    const refilled = Math.floor((now - budget.at) / REFILL_MS);
    budget.left = Math.min(BURST, budget.left + refilled);
    budget.at += refilled * REFILL_MS;
    this.#budgets.set(purse, budget);
    if (budget.left === 0) return false;
    budget.left--;
    return true;
  }
}
