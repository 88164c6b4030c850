import { LINK_CONDITION, LINK_REASON, timestamp } from "../../../contract/index.ts";
import type { ConnectionState, LinkReason } from "../status.ts";
import { plannedAt, renewable } from "./renewal.ts";
import type { TokenClaims } from "./token.ts";

/** A condition of a Link besides `Connected` and `Synced`. */
export type LinkCondition = ConnectionState & { type: string };

/** What the condition `CredentialsFresh` is made from. */
export interface FreshnessFacts {
  /** Of the token; absent where there is none, or it tells nothing. */
  claims: TokenClaims | undefined;
  /** Its life is over, as far as this machine's clock can tell. */
  expired: boolean;
  /** As in `DueQuestion`. */
  spread: number;
  /** Why the last try to renew it failed. */
  failure: string | undefined;
}

/** Whether the credentials are renewed in time. The same words until a renewal: each change is a write. */
export function freshness({ claims, expired, spread, failure }: FreshnessFacts): LinkCondition {
  if (claims === undefined) {
    return condition(
      "True",
      LINK_REASON.credentialsNotRenewable,
      "a client certificate, or a token that does not say when it ends: replace it before it does",
    );
  }
  const ends = timestamp(claims.expires);
  const token = renewable(claims);
  if (expired) {
    const why = failure === undefined ? "" : `; it could not be renewed: ${failure}`;
    return condition(
      "False",
      LINK_REASON.credentialsExpired,
      `the token ended at ${ends}${why}; mirrors stay as they are; replace the Secret's kubeconfig`,
    );
  }
  if (failure !== undefined) {
    return condition(
      "False",
      LINK_REASON.renewalFailed,
      `the token ends at ${ends} and could not be renewed, which is tried again: ${failure}`,
    );
  }
  if (token === undefined) {
    return condition(
      "True",
      LINK_REASON.credentialsNotRenewable,
      `the token ends at ${ends} and is not that of a ServiceAccount, which could renew it: replace it before`,
    );
  }
  const planned = timestamp(plannedAt(token, spread));
  return condition(
    "True",
    LINK_REASON.credentialsFresh,
    `the token ends at ${ends} and is renewed at ${planned}`,
  );
}

/** There are no credentials that could be fresh; `Connected` says more. */
export function noFreshness(reason: LinkReason): LinkCondition {
  return condition("Unknown", reason, "there are no credentials to renew; the condition Connected says why");
}

function condition(status: ConnectionState["status"], reason: LinkReason, message: string): LinkCondition {
  return { type: LINK_CONDITION.credentialsFresh, status, reason, message };
}
