import { UNREACHABLE_REASON, type UnreachableReason } from "./errors.ts";

/** What a failure of the network means, in words that say where to look. */
export interface Failure {
  reason: UnreachableReason;
  detail: string;
}

const { refused, name, certificate, timeout, silent, disconnected } = UNREACHABLE_REASON;

/** By the `code` of the errors of Node and undici. `?` stands for the server's address. */
const BY_CODE: Record<string, readonly [UnreachableReason, string]> = {
  ECONNREFUSED: [refused, "connection refused by ?: nothing listens there"],
  ENOTFOUND: [name, "the host name of ? is not known"],
  EAI_AGAIN: [name, "the host name of ? cannot be looked up: no name server answers"],
  EHOSTUNREACH: [refused, "no route to ?"],
  ENETUNREACH: [refused, "no route to the network of ?"],
  ETIMEDOUT: [timeout, "no connection to ? in time"],
  UND_ERR_CONNECT_TIMEOUT: [timeout, "no connection to ? in time"],
  UND_ERR_HEADERS_TIMEOUT: [timeout, "no answer from ? in time"],
  UND_ERR_BODY_TIMEOUT: [silent, "? stopped in the middle of its answer"],
  ECONNRESET: [disconnected, "? closed the connection"],
  EPIPE: [disconnected, "? closed the connection"],
  UND_ERR_SOCKET: [disconnected, "? closed the connection"],
  CERT_HAS_EXPIRED: [certificate, "the certificate of ? has expired"],
  CERT_NOT_YET_VALID: [certificate, "the certificate of ? is not valid yet: compare the clocks"],
  ERR_TLS_CERT_ALTNAME_INVALID: [certificate, "the certificate of ? is for another name"],
  DEPTH_ZERO_SELF_SIGNED_CERT: [certificate, "the certificate of ? is not signed by a trusted authority"],
  SELF_SIGNED_CERT_IN_CHAIN: [certificate, "the certificate of ? is not signed by a trusted authority"],
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: [certificate, "the certificate of ? is not signed by a trusted authority"],
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: [
    certificate,
    "the certificate of ? is not signed by a trusted authority",
  ],
  UNABLE_TO_GET_ISSUER_CERT: [certificate, "the certificate of ? is not signed by a trusted authority"],
  CERT_SIGNATURE_FAILURE: [certificate, "the certificate of ? is not signed by a trusted authority"],
  ERR_SSL_WRONG_VERSION_NUMBER: [certificate, "? does not speak TLS"],
  ERR_SSL_PACKET_LENGTH_TOO_LONG: [certificate, "? does not speak TLS"],
};

/** Why no answer came from `server` (`host:port`), from the error that the transport threw. */
export function explainFailure(error: unknown, server: string): Failure {
  for (const each of causes(error)) {
    const code = (each as { code?: unknown }).code;
    if (typeof code !== "string") continue;
    const known = BY_CODE[code];
    if (known) return { reason: known[0], detail: known[1].replace("?", server) };
    if (/^ERR_(SSL|TLS|OSSL)_|CERT/.test(code)) {
      return { reason: certificate, detail: `TLS with ${server} failed: ${(each as Error).message}` };
    }
    if (code.startsWith("ERR_HTTP2_") || code === "UND_ERR_INFO") {
      return { reason: disconnected, detail: `${server} ended the call: ${(each as Error).message}` };
    }
  }
  const message = error instanceof Error ? error.message : String(error);
  return { reason: disconnected, detail: `the call to ${server} failed: ${message}` };
}

/** An error, what it was caused by, and where several addresses were tried, what each of them said. */
function* causes(error: unknown, depth = 0): Generator<unknown> {
  if (error === null || typeof error !== "object" || depth > 5) return;
  yield error;
  if (error instanceof AggregateError) for (const each of error.errors) yield* causes(each, depth + 1);
  yield* causes((error as { cause?: unknown }).cause, depth + 1);
}
