import { isDnsLabel, isSubdomain } from "../../../contract/index.ts";

/** What a token says of itself. Nobody has checked that: it is good for planning, and for nothing else. */
export interface TokenClaims {
  /** When it ends, by the clock of whoever made it. Milliseconds since the epoch, as all times here. */
  expires: number;
  /** When it was made; absent where it does not say, or says nonsense. */
  issuedAt?: number;
  /** The ServiceAccount that it is for; absent where it is for somebody else. */
  account?: { namespace: string; name: string };
}

/** A token longer than this is no token of an API server. */
export const MAX_TOKEN = 16_384;
/** Year 9999 in seconds: later is no time. */
const LAST_SECOND = 253_402_300_799;

/** What is written in a token; `undefined` where it tells nothing of its end. */
export function readToken(token: string): TokenClaims | undefined {
  const parts = token.length > MAX_TOKEN ? [] : token.split(".");
  if (parts.length !== 3) return undefined;
  let claims: unknown;
  try {
    claims = JSON.parse(Buffer.from(parts[1] ?? "", "base64url").toString("utf8"));
  } catch {
    return undefined;
  }
  if (typeof claims !== "object" || claims === null) return undefined;
  const { exp, iat, sub } = claims as Record<string, unknown>;
  if (!isTime(exp)) return undefined;
  const account = accountOf(sub);
  return {
    expires: exp * 1000,
    ...(isTime(iat) && iat < exp && { issuedAt: iat * 1000 }),
    ...(account && { account }),
  };
}

function isTime(value: unknown): value is number {
  return typeof value === "number" && value > 0 && value <= LAST_SECOND;
}

function accountOf(subject: unknown): TokenClaims["account"] {
  if (typeof subject !== "string") return undefined;
  const [system, kind, namespace = "", name = "", ...more] = subject.split(":");
  if (system !== "system" || kind !== "serviceaccount" || more.length > 0) return undefined;
  return isDnsLabel(namespace) && isSubdomain(name) ? { namespace, name } : undefined;
}
