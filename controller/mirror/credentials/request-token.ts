import { isRecord } from "../../kube/answer.ts";
import type { KubeClient } from "../../kube/client.ts";
import { isForbidden, isInvalid } from "../../kube/errors.ts";
import { path, SERVICE_ACCOUNTS } from "../../kube/resource.ts";
import { type Renewable, renewable, shorterLifetime } from "./renewal.ts";
import { MAX_TOKEN, readToken } from "./token.ts";

/** How long a target may take to answer: others wait for the worker. */
const TIMEOUT_MS = 10_000;

/** A token, and the life that the target granted when it was asked. */
export interface Granted {
  token: string;
  /** Seconds. */
  lifetime: number;
}

/**
 * A token for an account, by TokenRequest, as the account itself. Where the target refuses the life asked for, a shorter
 * one is asked for. Throws what the client throws, and an `Error` where the answer is no token that could follow this one.
 */
export async function requestToken(
  client: KubeClient,
  account: Renewable["account"],
  lifetime: number,
  signal: AbortSignal,
): Promise<Granted> {
  for (let seconds: number | undefined = lifetime; ; ) {
    try {
      return { token: await ask(client, account, seconds, signal), lifetime: seconds };
    } catch (error) {
      const shorter: number | undefined = isRefusedLifetime(error) ? shorterLifetime(seconds) : undefined;
      if (shorter === undefined) throw error;
      seconds = shorter;
    }
  }
}

async function ask(
  client: KubeClient,
  account: Renewable["account"],
  expirationSeconds: number,
  signal: AbortSignal,
): Promise<string> {
  const url = path(SERVICE_ACCOUNTS, { ...account, subresource: "token" });
  const body = {
    apiVersion: "authentication.k8s.io/v1",
    kind: "TokenRequest",
    spec: { expirationSeconds },
  };
  const answer = await client.request("POST", url, { body, signal, timeoutMs: TIMEOUT_MS });
  const token = isRecord(answer) && isRecord(answer.status) ? answer.status.token : undefined;
  return checked(token, account, client.cluster);
}

/** A target is not trusted: what would only lock us out must not replace a token that works. */
function checked(token: unknown, account: Renewable["account"], cluster: string): string {
  const wrong = (what: string) => new Error(`cluster ${cluster}: the answer to the TokenRequest ${what}`);
  if (typeof token !== "string" || token.length > MAX_TOKEN || !/^[\w.~+/=-]+$/.test(token)) {
    throw wrong("has no token");
  }
  const claims = renewable(readToken(token));
  if (claims === undefined) throw wrong("has a token that does not say for whom and how long it is");
  if (claims.account.namespace !== account.namespace || claims.account.name !== account.name) {
    throw wrong("has a token for another account");
  }
  return token;
}

/** An admission policy or webhook, or the API server itself, does not give tokens for so long. */
function isRefusedLifetime(error: unknown): boolean {
  return isInvalid(error) || (isForbidden(error) && /denied/i.test(error.detail));
}
