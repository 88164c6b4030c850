import { createHash } from "node:crypto";
import type { GatewayFiles } from "../files.ts";

/** A section of `haproxy.cfg`: its heading, and its lines. */
export interface Section {
  heading: string;
  lines: string[];
}

/** What ingress and egress have in common. */
export interface CommonSettings {
  files: GatewayFiles;
  /** Accept IPv6 as well as IPv4. */
  ipv6: boolean;
  /** Port that answers `GET /live` and `GET /ready`. */
  probePort: number;
  /** Whether a line is written for every connection. */
  accessLog: boolean;
}

/**
 * The text of `haproxy.cfg`. Its `description` is a digest of the rest: `show info` tells by it which configuration a
 * worker runs, whoever wrote the file and when.
 */
export function renderConfig(sections: readonly Section[]): string {
  const body = sections.map(({ heading, lines }) =>
    [heading, ...lines.map((line) => `  ${line}`)].join("\n"),
  );
  const digest = createHash("sha256").update(body.join("\n")).digest("hex").slice(0, 16);
  return `${[`global\n  description ${digest}`, ...body].join("\n\n")}\n`;
}

/** The digest that `renderConfig` put into a configuration. */
export function configDigest(text: string): string | undefined {
  return /^ {2}description ([0-9a-f]{16})$/m.exec(text)?.[1];
}

/** Names of the backends that a configuration has. */
export function backendsOf(text: string): Set<string> {
  return new Set([...text.matchAll(/^backend (\S+)$/gm)].map(([, name]) => name!));
}

/** Process-wide settings. HAProxy itself finds the number of connections that its limit of open files allows. */
export function globalSection({ files }: CommonSettings): Section {
  return {
    heading: "global",
    lines: [
      `stats socket ${files.runtimeSocket} mode 600 level admin`,
      "stats timeout 1m",
      `server-state-file ${files.servers}`,
      // Where the limit of open files is near infinite, HAProxy would size its tables for all of them.
      "fd-hard-limit 131072",
      // Workers that are only there for connections from before a reload: the oldest goes after so many reloads.
      "mworker-max-reloads 50",
      "ssl-default-bind-options ssl-min-ver TLSv1.3",
      "ssl-default-server-options ssl-min-ver TLSv1.2",
      "spread-checks 20",
      ".if version_atleast(2.8)",
      // One socket a port, not one for each group of threads: there are thousands of ports.
      "tune.listener.default-shards by-process",
      ".endif",
    ],
  };
}

/**
 * TCP. Before both sides are connected, and in a handshake, 15 s of silence are enough; after that a day, and keep-alives
 * find peers that are gone.
 */
export function defaultsSection(): Section {
  return {
    heading: "defaults",
    lines: [
      "mode tcp",
      "timeout connect 5s",
      "timeout client 15s",
      "timeout server 15s",
      "timeout tunnel 24h",
      "option clitcpka",
      "clitcpka-idle 60s",
      "clitcpka-intvl 15s",
      "clitcpka-cnt 4",
      "option srvtcpka",
      "srvtcpka-idle 60s",
      "srvtcpka-intvl 15s",
      "srvtcpka-cnt 4",
    ],
  };
}

/** `GET /live`: HAProxy runs. `GET /ready`: this gateway serves, that is, the agent has put `ready` into the status map. */
export function probeFrontend(settings: CommonSettings): Section {
  const ready = `{ str(ready),map(${settings.files.status}) -m found }`;
  const answer = (status: number, text: string) =>
    `http-request return status ${status} content-type text/plain string "${text}\\n"`;
  return {
    heading: "frontend probe",
    lines: [
      "mode http",
      `bind ${bindAddress(settings, settings.probePort)}`,
      "timeout http-request 5s",
      `${answer(200, "ok")} if { path /live }`,
      `${answer(200, "ok")} if { path /ready } ${ready}`,
      `${answer(503, "not serving")} if { path /ready }`,
      "http-request return status 404",
    ],
  };
}

/** Where to listen: `port` is one port, or a range `first-last`. */
export function bindAddress({ ipv6 }: CommonSettings, port: number | string): string {
  return ipv6 ? `:::${port} v4v6` : `*:${port}`;
}

/** The values of a line of the access log that both gateways write alike, as members of a JSON object. */
export const LOG_COMMON = '"client":"%ci:%cp","bytesIn":%U,"bytesOut":%B,"ms":%Tt,"end":"%ts"';
