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
  text: string;
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
      gateways.known.push({ ...link, status: { gateways: [...known] } });
      gateways.followed.push({ ...link, status: { gateways: [...followed] } });
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
      const goneAt = new Map<string, number>();
      followed = { uid, gateways: told, text: JSON.stringify(told), goneAt, credit: AT_ONCE, at: now };
      this.#links.set(key, followed);
    }
    followed.cancel?.();
    delete followed.cancel;

    const names = new Set(told.map(chosenName));
    const gone = followed.gateways.filter((gateway) => isChosen(gateway) && !names.has(chosenName(gateway)));
    const { goneAt: before } = followed;
    const goneAt = new Map(
      gone.map((gateway) => [chosenName(gateway), before.get(chosenName(gateway)) ?? now]),
    );
    followed.goneAt = goneAt;
    const leftMs = (gateway: LinkGatewayStatus) => KEPT_MS - (now - goneAt.get(chosenName(gateway))!);
    const kept = gone
      .filter((gateway) => leftMs(gateway) > 0)
      .slice(0, Math.max(0, MOST_GATEWAYS - told.length));
    const known = byName([...told, ...kept]);
    const waits = kept.map(leftMs);
    const text = JSON.stringify(known);
    if (followed.text !== text) {
      followed.credit = Math.min(AT_ONCE, followed.credit + (now - followed.at) / ONE_IN_MS);
      followed.at = now;
      if (followed.credit >= 1) {
        followed.credit -= 1;
        followed.gateways = known;
        followed.text = text;
      } else waits.push((1 - followed.credit) * ONE_IN_MS);
    }
    if (waits.length > 0) {
      // A millisecond more, so that rounding does not have it come too early.
      followed.cancel = this.#clock.after(Math.ceil(Math.min(...waits)) + 1, this.#changed);
    }
    return { known, followed: followed.gateways };
  }
}

/** In an order that does not depend on which of them are told of, and which are kept. */
function byName(gateways: readonly LinkGatewayStatus[]): LinkGatewayStatus[] {
  return [...gateways].sort((a, b) => {
    const [left, right] = [chosenName(a), chosenName(b)];
    return left < right ? -1 : left > right ? 1 : 0;
  });
}
