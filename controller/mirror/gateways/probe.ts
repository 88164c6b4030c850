import { request } from "node:http";
import type { LinkProbe } from "../../../contract/index.ts";
import { PROBE_PATH, PROBE_PORT, parseDuration } from "../../../contract/index.ts";
import type { Clock } from "../../kube/clock.ts";
import { explainFailure } from "../../kube/unreachable.ts";

/** How one IP address is probed. */
export interface ProbeSettings {
  port: number;
  path: string;
  /** From the start of one probe to that of the next. */
  periodMs: number;
  timeoutMs: number;
  /** Failures in a row after which it is dead. */
  failureThreshold: number;
}

/** How a Link's gateways are probed. Times are held to what the schema of `Link` allows. */
export function probeSettings(probe: LinkProbe, port = probe.port ?? PROBE_PORT): ProbeSettings {
  return {
    port,
    path: probe.path ?? PROBE_PATH,
    periodMs: bounded(probe.period, { least: 500, most: 3_600_000, otherwise: 3_000 }),
    timeoutMs: bounded(probe.timeout, { least: 100, most: 60_000, otherwise: 5_000 }),
    failureThreshold: probe.failureThreshold ?? 3,
  };
}

function bounded(
  text: string | undefined,
  { least, most, otherwise }: { least: number; most: number; otherwise: number },
): number {
  return Math.min(most, Math.max(least, parseDuration(text) ?? otherwise));
}

export interface ProbeRequest extends ProbeSettings {
  ip: string;
  /** As the gateway is named by whoever names it: for servers that go by it. */
  host: string;
}

/** Resolves where the gateway answered 200; else rejects with why, in words that are the same each time. */
export type Probe = (asked: ProbeRequest, signal: AbortSignal) => Promise<void>;

/** More than any gateway sends. */
const MAX_HEADER_BYTES = 8_192;

/**
 * A probe by HTTP, over a connection of its own that ends with it. Proxies that the environment names are not used. Of the
 * answer nothing but its status is of interest, and nothing else is read.
 */
export function httpProbe(clock: Clock): Probe {
  return ({ ip, host, port, path, timeoutMs }, signal) =>
    new Promise((resolve, reject) => {
      signal.throwIfAborted();
      const where = ip.includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`;
      const asked = request({
        agent: false,
        host: ip,
        port,
        path,
        maxHeaderSize: MAX_HEADER_BYTES,
        headers: { host: host.includes(":") ? where : `${host}:${port}`, connection: "close" },
      });
      const cancel = clock.after(timeoutMs, () => end(`no answer from ${where} within ${timeoutMs} ms`));
      const aborted = () => end("the probe is wanted no longer");
      signal.addEventListener("abort", aborted, { once: true });
      function end(cause: string | undefined) {
        cancel();
        signal.removeEventListener("abort", aborted);
        if (cause === undefined) resolve();
        else reject(new Error(cause));
        asked.destroy();
      }
      asked.on("response", ({ statusCode }) =>
        end(statusCode === 200 ? undefined : `${where} answers ${statusCode}`),
      );
      asked.on("error", (error) => end(explainFailure(error, where).detail));
      asked.end();
    });
}
