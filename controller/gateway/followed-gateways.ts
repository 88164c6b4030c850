import { isDeepStrictEqual } from "node:util";
import type { Link, LinkGatewayStatus } from "../../contract/index.ts";
import type { Clock } from "../kube/clock.ts";
import { keyOf } from "../kube/objects.ts";
import { chosenName, isChosen, MOST_GATEWAYS } from "./gateway-targets.ts";

/** So many changes of a link's gateways are followed at once; after that, one in so many milliseconds. */
const AT_ONCE = 10;
const ONE_IN_MS = 30_000;
/** How long a gateway that services chose is kept after the status has ceased to tell of it. */
const KEPT_MS = 120_000;

/** All Links that there are, each with gateways in its status. */
export interface Gateways {
  /** With those that calls may go through. */
  known: Link[];
  /** With those that HAProxy is to have a backend for: what is known now, or was when it was last followed. */
  followed: Link[];
}

/** The gateways of one Link that are in use. */
interface Followed {
  uid: string | undefined;
  gateways: readonly LinkGatewayStatus[];
  /** Since when the status does not tell of which of them, on the monotonic clock. */
  goneAt: Map<string, number>;
  /** Changes that may be followed at once. */
  credit: number;
  /** When `credit` was worked out, on the monotonic clock. */
  at: number;
  cancel?: () => void;
}

/**
 * Where a target's gateways are is the target's to say, and each time it says something else HAProxy starts a new worker:
 * a worker that has seen too many others come must go, with connections of all links. So a link whose gateways keep
 * changing is followed more slowly; the others are not, and what an operator writes into a Link counts at once. A service
 * that leaves a gateway and comes back to it soon finds it as it was.
 */
export class FollowedGateways {
  readonly #clock: Clock;
  readonly #changed: () => void;
  readonly #links = new Map<string, Followed>();

  /** @param changed called when `look` would give something else because time has passed */
  constructor(clock: Clock, changed: () => void) {
    this.#clock = clock;
    this.#changed = changed;
  }

  look(links: readonly Link[]): Gateways {
    const present = new Set(links.map(keyOf));
    for (const [key, { cancel }] of this.#links) {
      if (present.has(key)) continue;
      cancel?.();
      this.#links.delete(key);
    }
    const gateways: Gateways = { known: [], followed: [] };
    for (const link of links) {
      const { known, followed } = this.#follow(link);
      const withKnown = { ...link, status: { gateways: [...known] } };
      gateways.known.push(withKnown);
      gateways.followed.push(
        followed === known ? withKnown : { ...link, status: { gateways: [...followed] } },
      );
    }
    return gateways;
  }

  #follow(link: Link): { known: readonly LinkGatewayStatus[]; followed: readonly LinkGatewayStatus[] } {
    const key = keyOf(link);
    const { uid } = link.metadata;
    const told = byName(link.status?.gateways ?? []);
    const now = this.#clock.monotonic();
    let followed = this.#links.get(key);
    if (followed === undefined || followed.uid !== uid) {
      followed?.cancel?.();
      followed = { uid, gateways: told, goneAt: new Map(), credit: AT_ONCE, at: now };
      this.#links.set(key, followed);
    }
    followed.cancel?.();
    delete followed.cancel;

    const kept = keep(followed, told, now);
    const known = byName([...told, ...kept.map(({ gateway }) => gateway)]);
    const waits = kept.map(({ leftMs }) => leftMs);
    if (isDeepStrictEqual(followed.gateways, known) || isPaidFor(followed, now)) followed.gateways = known;
    else waits.push((1 - followed.credit) * ONE_IN_MS);
    if (waits.length > 0) {
      // A millisecond more, so that rounding does not have it come too early.
      followed.cancel = this.#clock.after(Math.ceil(Math.min(...waits)) + 1, this.#changed);
    }
    return { known, followed: followed.gateways };
  }
}

/** Those of the gateways in use that the status does not tell of and that have not been gone for long. */
function keep(
  followed: Followed,
  told: readonly LinkGatewayStatus[],
  now: number,
): { gateway: LinkGatewayStatus; leftMs: number }[] {
  const names = new Set(told.map(chosenName));
  const goneAt = new Map<string, number>();
  const kept = [];
  for (const gateway of followed.gateways) {
    const name = chosenName(gateway);
    if (!isChosen(gateway) || names.has(name)) continue;
    const at = followed.goneAt.get(name) ?? now;
    goneAt.set(name, at);
    const leftMs = KEPT_MS - (now - at);
    if (leftMs > 0) kept.push({ gateway, leftMs });
  }
  followed.goneAt = goneAt;
  return kept.slice(0, Math.max(0, MOST_GATEWAYS - told.length));
}

/** Whether a change may be followed now; then it has its price. */
function isPaidFor(followed: Followed, now: number): boolean {
  followed.credit = Math.min(AT_ONCE, followed.credit + (now - followed.at) / ONE_IN_MS);
  followed.at = now;
  if (followed.credit < 1) return false;
  followed.credit -= 1;
  return true;
}

/** In an order that does not depend on which of them are told of, and which are kept. */
function byName(gateways: readonly LinkGatewayStatus[]): LinkGatewayStatus[] {
  return [...gateways].sort((a, b) => {
    const [left, right] = [chosenName(a), chosenName(b)];
    return left < right ? -1 : left > right ? 1 : 0;
  });
}
