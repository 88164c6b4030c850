import { credentialsRoleName, LINK_REASON, type Link, MIRROR } from "../../contract/index.ts";
import { CredentialsError } from "../kube/credentials.ts";
import {
  HistoryError,
  isForbidden,
  isInvalid,
  isNotFound,
  isTooManyRequests,
  isUnauthorized,
  isUnreachable,
  KubeError,
  LimitError,
  UNREACHABLE_REASON,
} from "../kube/errors.ts";
import { fieldsOf, type Selectors } from "./selector.ts";
import type { ConnectionState } from "./status.ts";

/** The credentials are tried for the first time. */
export const CONNECTING: ConnectionState = {
  status: "Unknown",
  reason: LINK_REASON.connecting,
  message: "the target's API server is being asked for its exported services",
};

export const CONNECTED: ConnectionState = {
  status: "True",
  reason: LINK_REASON.connected,
  message: "the target's API server answers, and its exported services are known",
};

/** What an error of the watch on a target means for its Link, which asked by these selectors. Mirrors stay whatever it is. */
export function failedState(error: unknown, selectors: Selectors): ConnectionState {
  const [reason, detail] = explain(error, selectors);
  return { status: "False", reason, message: detail };
}

/** Credentials that are there but cannot be used. */
export function badCredentials(secret: string, error: unknown): ConnectionState {
  const detail = error instanceof CredentialsError ? error.message : String(error);
  return {
    status: "False",
    reason: LINK_REASON.credentialsInvalid,
    message: `Secret ${secret}: ${detail}`,
  };
}

/** The Secret that a Link names is not there, or is none of credentials. */
export function missingCredentials(secret: string, type: string): ConnectionState {
  return {
    status: "False",
    reason: LINK_REASON.credentialsMissing,
    message: `there is no Secret ${secret} of type ${type}; make it, or correct spec.clusterCredentialsSecret`,
  };
}

/** This controller may not read the Secret that a Link names. */
export function forbiddenCredentials(link: Link, secret: string, detail: string): ConnectionState {
  const { namespace } = link.metadata;
  const role = credentialsRoleName(link.spec.targetClusterName);
  return {
    status: "False",
    reason: LINK_REASON.credentialsForbidden,
    message: `ServiceAccount ${MIRROR} may not read Secret ${secret}: Role ${role} in namespace ${namespace} (get, list, watch, update and patch of this Secret), or its RoleBinding, is missing (${detail})`,
  };
}

/** Another Link mirrors this target already. */
export function duplicateTarget(target: string, other: string): ConnectionState {
  return {
    status: "False",
    reason: LINK_REASON.duplicateTarget,
    message: `Link ${other} is older and mirrors cluster ${target} too; delete one of the two`,
  };
}

function explain(error: unknown, selectors: Selectors): [ConnectionState["reason"], string] {
  if (isUnauthorized(error)) {
    return [
      LINK_REASON.unauthorized,
      `the target refuses the credentials (${error.detail}): they have expired or were revoked; replace the Secret's kubeconfig`,
    ];
  }
  if (isForbidden(error)) {
    return [
      LINK_REASON.forbidden,
      `the credentials may not read the target's Services (${error.detail}); check the remote access in the target`,
    ];
  }
  if (isInvalid(error)) {
    const query = new URL(error.path, "https://target").searchParams.get("labelSelector") ?? "";
    const fields = fieldsOf(query, selectors).join(", ") || "the Link's selectors";
    return [LINK_REASON.invalidSpec, `the target takes exception to ${fields}: ${error.detail}`];
  }
  if (isUnreachable(error)) {
    if (error.reason === UNREACHABLE_REASON.certificate) {
      return [
        LINK_REASON.tlsFailed,
        `${error.detail}; check certificate-authority-data and server in the Secret's kubeconfig`,
      ];
    }
    if (error.reason === UNREACHABLE_REASON.credentials)
      return [LINK_REASON.credentialsInvalid, error.detail];
    if (error.reason === UNREACHABLE_REASON.answer) return badAnswer(error.detail);
    if (error.reason === UNREACHABLE_REASON.tooLong) return limitExceeded(error.detail);
    return [LINK_REASON.unreachable, `${error.detail}; mirrors stay as they are until it answers`];
  }
  if (isNotFound(error)) return badAnswer(`what is asked for Services answers 404: ${error.detail}`);
  if (isTooManyRequests(error)) {
    return [LINK_REASON.unreachable, `the target asks for fewer calls (429): ${error.detail}`];
  }
  if (error instanceof KubeError)
    return [LINK_REASON.unreachable, `the target answers ${error.status}: ${error.detail}`];
  if (error instanceof HistoryError) return badAnswer(error.message);
  if (error instanceof LimitError) return limitExceeded(error.message);
  // What a watch brought and could not be taken in says so by what it was caused by.
  const cause = error instanceof Error ? error.cause : undefined;
  if (cause instanceof LimitError || isUnreachable(cause)) return explain(cause, selectors);
  return [LINK_REASON.unreachable, error instanceof Error ? error.message : String(error)];
}

function badAnswer(detail: string): [ConnectionState["reason"], string] {
  return [
    LINK_REASON.badAnswer,
    `${detail}; check that server in the Secret's kubeconfig is the target's API server; mirrors stay as they are`,
  ];
}

function limitExceeded(detail: string): [ConnectionState["reason"], string] {
  return [
    LINK_REASON.limitExceeded,
    `${detail}; export fewer or smaller Services, or select fewer; mirrors stay as they are`,
  ];
}
