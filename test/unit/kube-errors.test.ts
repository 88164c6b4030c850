import { describe, expect, test } from "@jest/globals";
import { statusError } from "../../controller/kube/answer.ts";
import { isGone, KubeError, retryAfterMs } from "../../controller/kube/errors.ts";
import { explainFailure } from "../../controller/kube/unreachable.ts";

const SITE = { cluster: "east", method: "GET", path: "/api/v1/services" };

function coded(code: string, message = "raw words"): Error {
  return Object.assign(new Error(message), { code });
}

describe("a failure of the network is explained", () => {
  test.each([
    ["ECONNREFUSED", "refused", "connection refused by east:6443: nothing listens there"],
    ["ENOTFOUND", "name", "the host name of east:6443 is not known"],
    ["EAI_AGAIN", "name", "the host name of east:6443 cannot be looked up: no name server answers"],
    ["EHOSTUNREACH", "refused", "no route to east:6443"],
    ["ETIMEDOUT", "timeout", "no connection to east:6443 in time"],
    ["UND_ERR_CONNECT_TIMEOUT", "timeout", "no connection to east:6443 in time"],
    ["UND_ERR_HEADERS_TIMEOUT", "timeout", "no answer from east:6443 in time"],
    ["UND_ERR_BODY_TIMEOUT", "silent", "east:6443 stopped in the middle of its answer"],
    ["ECONNRESET", "disconnected", "east:6443 closed the connection"],
    ["CERT_HAS_EXPIRED", "certificate", "the certificate of east:6443 has expired"],
    [
      "CERT_NOT_YET_VALID",
      "certificate",
      "the certificate of east:6443 is not valid yet: compare the clocks",
    ],
    ["ERR_TLS_CERT_ALTNAME_INVALID", "certificate", "the certificate of east:6443 is for another name"],
    [
      "DEPTH_ZERO_SELF_SIGNED_CERT",
      "certificate",
      "the certificate of east:6443 is not signed by a trusted authority",
    ],
    ["ERR_SSL_WRONG_VERSION_NUMBER", "certificate", "east:6443 does not speak TLS"],
    ["ERR_SSL_TLSV1_ALERT_UNKNOWN_CA", "certificate", "TLS with east:6443 failed: raw words"],
    ["ERR_HTTP2_STREAM_ERROR", "disconnected", "east:6443 ended the call: raw words"],
    ["EWHATEVER", "disconnected", "the call to east:6443 failed: raw words"],
  ])("%s", (code, reason, detail) => {
    expect(explainFailure(coded(code), "east:6443")).toEqual({ reason, detail });
  });

  test("by what it was caused by", () => {
    const error = new TypeError("fetch failed", { cause: coded("ECONNREFUSED") });
    expect(explainFailure(error, "east:6443").reason).toBe("refused");
  });

  test("by the first of several addresses", () => {
    const error = new AggregateError([coded("EHOSTUNREACH"), coded("ECONNREFUSED")], "all failed");
    expect(explainFailure(error, "east:6443").detail).toBe("no route to east:6443");
  });

  test("even if it is no error at all, or its own cause", () => {
    expect(explainFailure("boom", "east:6443").detail).toBe("the call to east:6443 failed: boom");
    const circular = new Error("round and round");
    circular.cause = circular;
    expect(explainFailure(circular, "east:6443").reason).toBe("disconnected");
  });
});

describe("an answer that is an error", () => {
  test("says which cluster, which call, and what the server said", () => {
    const error = statusError(SITE, 403, { reason: "Forbidden", message: "may not list services" });
    expect(error.message).toBe("cluster east: GET /api/v1/services: 403 Forbidden: may not list services");
    expect(error).toMatchObject({ status: 403, reason: "Forbidden", detail: "may not list services" });
  });

  test("says something when the server said nothing", () => {
    expect(statusError(SITE, 500, undefined).detail).toBe("HTTP status 500");
    expect(statusError(SITE, 500, { message: 5, reason: {} }).detail).toBe("HTTP status 500");
  });

  test("is cut where a server says too much", () => {
    expect(statusError(SITE, 500, { message: "x".repeat(1e6) }).message.length).toBeLessThan(1200);
  });

  test("tells how long to wait by its details, where no header does", () => {
    const body = { details: { retryAfterSeconds: 2 } };
    expect(retryAfterMs(statusError(SITE, 429, body))).toBe(2000);
    expect(retryAfterMs(statusError(SITE, 429, body, 5000))).toBe(5000);
    expect(retryAfterMs(new Error("else"))).toBeUndefined();
  });

  test("means that history is gone by its reason, too", () => {
    expect(isGone(new KubeError(SITE, 500, { reason: "Expired" }))).toBe(true);
  });
});
