import { setTimeout as wait } from "node:timers/promises";
import { mirrorName } from "../../contract/index.ts";
import type { Environment } from "./environment.ts";

/** What a first call to a mirror showed. */
export interface Answer {
  mirror: string;
  /** The `payload` of the answer. */
  payload: string;
  /** The cluster whose gateway let the call in. */
  cluster: string;
  /** Who the gateway saw, by the certificate of the caller. */
  identity: string;
  /** From the moment the label was on the Service to the answer; `already exported` where it was there before. */
  sinceExport: string;
}

/**
 * Wait until `service` is exported by the cluster `remote` and its mirror is in `local`, call it from the test pod, and
 * look the call up in the log of the gateway it came in by. Namespace `default`, port 8888.
 */
export async function callThrough(environment: Environment, service: string): Promise<Answer> {
  const mirror = mirrorName(service, "remote");
  const before = await environment.exported(service);
  const exportedAt = before ? undefined : await environment.untilExported(service);
  await environment.kubectl("local", ["wait", "--for=create", `service/${mirror}`, "--timeout=120s"]);
  const payload = await firstAnswer(environment, mirror);
  const answeredAt = Date.now();
  const seen = await environment.lastCallSeen("remote", service);
  return {
    mirror,
    payload,
    cluster: seen.cluster,
    identity: `${seen.identity} (${seen.tls})`,
    sinceExport:
      exportedAt === undefined ? "already exported" : `${((answeredAt - exportedAt) / 1000).toFixed(2)} s`,
  };
}

/** Call until something answers, from inside the test pod; two minutes at most. */
async function firstAnswer(environment: Environment, mirror: string): Promise<string> {
  const script = `for i in $(seq 240); do curl -sf -m 5 http://${mirror}:8888 && exit 0; sleep 0.1; done; exit 1`;
  const text = await environment.kubectl("local", ["exec", "deploy/test", "--", "sh", "-c", script]);
  return String(JSON.parse(text).payload);
}

/** Run `find` until it has something, for a minute. */
export async function eventually<T>(what: string, find: () => Promise<T | undefined>): Promise<T> {
  const deadline = Date.now() + 60_000;
  for (;;) {
    const found = await find();
    if (found !== undefined) return found;
    if (Date.now() > deadline) throw new Error(`waited a minute in vain for ${what}`);
    await wait(200);
  }
}
