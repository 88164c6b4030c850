import type { Link, LinkGatewayStatus } from "../../contract/index.ts";
import type { Clock } from "../kube/clock.ts";
import { keyOf } from "../kube/objects.ts";

/** So many changes of a link's gateways are followed at once; after that, one in so many milliseconds. */
const AT_ONCE = 10;
const ONE_IN_MS = 30_000;

/** The gateways of one Link that are in use. */
interface Followed {
  uid: string | undefined;
  gateways: LinkGatewayStatus[] | undefined;
  text: string;
  /** Changes that may be followed at once. */
  credit: number;
  /** When `credit` was worked out, on the monotonic clock. */
  at: number;
  cancel?: () => void;
}

/**
 * Where a target's gateways are is the target's to say, and each time it says something else HAProxy starts a new worker:
 * a worker that has seen too many others come must go, with connections of all links. So a link whose gateways keep
 * changing is followed more slowly; the others are not, and what an operator writes into a Link counts at once.
 */
export class FollowedGateways {
  readonly #clock: Clock;
  readonly #changed: () => void;
  readonly #links = new Map<string, Followed>();

  /** @param changed called when a change that had to wait can be followed */
  constructor(clock: Clock, changed: () => void) {
    this.#clock = clock;
    this.#changed = changed;
  }

  /** All Links that there are, each with the gateways that are to be used now. */
  inUse(links: readonly Link[]): Link[] {
    const present = new Set(links.map(keyOf));
    for (const [key, { cancel }] of this.#links) {
      if (present.has(key)) continue;
      cancel?.();
      this.#links.delete(key);
    }
    return links.map((link) => {
      const gateways = this.#follow(link);
      return { ...link, status: { ...(gateways && { gateways }) } };
    });
  }

  #follow(link: Link): LinkGatewayStatus[] | undefined {
    const key = keyOf(link);
    const { uid } = link.metadata;
    const gateways = link.status?.gateways;
    const text = JSON.stringify(gateways ?? null);
    const now = this.#clock.monotonic();
    let followed = this.#links.get(key);
    if (followed === undefined || followed.uid !== uid) {
      followed?.cancel?.();
      followed = { uid, gateways, text, credit: AT_ONCE, at: now };
      this.#links.set(key, followed);
    }
    followed.cancel?.();
    delete followed.cancel;
    if (followed.text === text) return gateways;

    followed.credit = Math.min(AT_ONCE, followed.credit + (now - followed.at) / ONE_IN_MS);
    followed.at = now;
    if (followed.credit >= 1) {
      followed.credit -= 1;
      followed.gateways = gateways;
      followed.text = text;
    } else {
      // A millisecond more, so that rounding does not have it come too early.
      const waitMs = Math.ceil((1 - followed.credit) * ONE_IN_MS) + 1;
      followed.cancel = this.#clock.after(waitMs, this.#changed);
    }
    return followed.gateways;
  }
}
