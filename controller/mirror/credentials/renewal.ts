import { TOKEN_LIFETIME_SECONDS } from "../../../contract/index.ts";
import { backoffMs } from "../../kube/backoff.ts";
import type { TokenClaims } from "./token.ts";

/** Kubernetes gives no token a shorter life. Seconds. */
const SHORTEST_LIFETIME_SECONDS = 600;
/** Due after this part of a token's life at the latest… */
const LATEST = 2 / 3;
/** …and earlier by up to this part, so that tokens that were made together are not renewed together. */
const SPREAD = 1 / 20;
/** Least part of a life between two renewals, whatever the clocks say. */
const LEAST_APART = 1 / 3;
const BACKOFF = { baseMs: 10_000, capMs: 600_000 };

/** A token that can be renewed. Times are those of whoever made it. */
export interface Renewable {
  expires: number;
  issuedAt: number;
  account: { namespace: string; name: string };
}

/** The claims as those of a token that can be renewed; `undefined` where it cannot be. */
export function renewable(claims: TokenClaims | undefined): Renewable | undefined {
  if (claims?.issuedAt === undefined || claims.account === undefined) return undefined;
  return { expires: claims.expires, issuedAt: claims.issuedAt, account: claims.account };
}

/** What is known of a token here, by the clock of this machine. */
export interface Sighting {
  /** When it was first seen. */
  seenAt: number;
  /** When it was asked for, if it was asked for here: its life begins then, wherever the clocks stand. */
  obtainedAt?: number | undefined;
}

/**
 * When a token ends by the clock of this machine. One that was made here is as old as we know it to be; one that claims to
 * come from the future, by a clock that goes ahead of ours, is new when it is first seen.
 */
export function endsAt(claims: TokenClaims, { seenAt, obtainedAt }: Sighting): number {
  if (claims.issuedAt === undefined) return claims.expires;
  const life = claims.expires - claims.issuedAt;
  return (obtainedAt ?? Math.min(claims.issuedAt, seenAt)) + life;
}

export interface DueQuestion {
  token: Renewable;
  sighting: Sighting;
  /** Wall clock. */
  now: number;
  /** 0 ≤ x < 1: where in the spread this token's turn is. */
  spread: number;
  /** How long ago the last renewal for this Link was; absent: none by this process. */
  sinceRenewalMs?: number | undefined;
  /** How long until it may be tried again after a failure. */
  pauseMs: number;
}

/** In how many milliseconds a token is to be renewed; 0 is now. */
export function dueInMs({ token, sighting, now, spread, sinceRenewalMs, pauseMs }: DueQuestion): number {
  const life = token.expires - token.issuedAt;
  const planned = endsAt(token, sighting) - life * (1 - fraction(spread)) - now;
  const apart = sinceRenewalMs === undefined ? 0 : life * LEAST_APART - sinceRenewalMs;
  return Math.ceil(Math.max(planned, apart, pauseMs, 0));
}

/** When it is planned to be renewed, by the clock of whoever made it: the same in every process that sees the token. */
export function plannedAt(token: Renewable, spread: number): number {
  return token.issuedAt + (token.expires - token.issuedAt) * fraction(spread);
}

/** How long to wait after the `failures`-th failure in a row. */
export function pauseMs(failures: number, random: () => number): number {
  return backoffMs(failures, { ...BACKOFF, random });
}

/** The life to ask for first. Seconds. */
export const FIRST_LIFETIME_SECONDS = TOKEN_LIFETIME_SECONDS;

/** What to ask for where a life of `refused` seconds was too long for the target; `undefined` where nothing is left. */
export function shorterLifetime(refused: number): number | undefined {
  if (refused <= SHORTEST_LIFETIME_SECONDS) return undefined;
  return Math.max(SHORTEST_LIFETIME_SECONDS, Math.floor(refused / 2));
}

function fraction(spread: number): number {
  return LATEST - SPREAD * spread;
}
