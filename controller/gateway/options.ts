import {
  ADMIN_PORT,
  DEFAULT_NAMESPACE,
  EGRESS_PORTS,
  GATEWAY_PORT,
  PROBE_PORT,
} from "../../contract/index.ts";
import type { KubeClient } from "../kube/client.ts";
import { type Clock, systemClock } from "../kube/clock.ts";
import type { Log } from "../kube/log.ts";
import type { Direction } from "./metrics.ts";

export interface GatewayOptions {
  direction: Direction;
  /** This cluster's API server. Not needed with `init`. */
  client?: KubeClient | undefined;
  /** The namespace of Isthmus. @default "isthmus" */
  namespace?: string | undefined;
  /** TLS identity of this cluster's gateway, e.g. `gateway.east.demo.mesh`. */
  identity: string;
  /** Directory shared with HAProxy. @default "/run/isthmus" */
  haproxyDirectory?: string | undefined;
  /** Where the Secret `isthmus-gateway-certificate` is mounted. @default "/certificates" */
  certificateDirectory?: string | undefined;
  /** File of the trust bundle. @default "/trust/ca.crt" */
  trustBundle?: string | undefined;
  /** Write the first configuration and return. @default false */
  init?: boolean | undefined;
  /** IP addresses of this pod: by them an egress finds itself in slices. @default none */
  podIps?: readonly string[] | undefined;
  /** How long a stopping pod waits for its open connections. @default 60000 (ingress), 120000 (egress) */
  drainTimeoutMs?: number | undefined;
  /** Write a line for every connection. @default true */
  accessLog?: boolean | undefined;
  /** @default ":9990" */
  adminAddress?: string | undefined;
  /** Port of the ingress for calls from other clusters. @default 4143 */
  port?: number | undefined;
  /** Port that answers `/live` and `/ready` for HAProxy. @default 4191 */
  probePort?: number | undefined;
  /** Ports that an egress binds for mirrors. @default 20000 to 28191 */
  egressPorts?: { first: number; last: number } | undefined;
  log: Log;
  clock?: Clock | undefined;
}

/** All options, none missing. */
export type ResolvedGatewayOptions = {
  [Name in Exclude<keyof GatewayOptions, "client">]-?: NonNullable<GatewayOptions[Name]>;
};

/** Fill in the defaults. @throws Error that names the option that cannot be */
export function resolveOptions(options: GatewayOptions): ResolvedGatewayOptions {
  const resolved = {
    direction: options.direction,
    namespace: options.namespace ?? DEFAULT_NAMESPACE,
    identity: options.identity,
    haproxyDirectory: options.haproxyDirectory ?? "/run/isthmus",
    certificateDirectory: options.certificateDirectory ?? "/certificates",
    trustBundle: options.trustBundle ?? "/trust/ca.crt",
    init: options.init ?? false,
    podIps: options.podIps ?? [],
    drainTimeoutMs: options.drainTimeoutMs ?? (options.direction === "ingress" ? 60_000 : 120_000),
    accessLog: options.accessLog ?? true,
    adminAddress: options.adminAddress ?? `:${ADMIN_PORT}`,
    port: options.port ?? GATEWAY_PORT,
    probePort: options.probePort ?? PROBE_PORT,
    egressPorts: options.egressPorts ?? EGRESS_PORTS,
    log: options.log,
    clock: options.clock ?? systemClock,
  };
  if (/\s/.test(resolved.haproxyDirectory)) {
    throw new Error(
      `--haproxy-directory ${JSON.stringify(resolved.haproxyDirectory)} must not contain blanks`,
    );
  }
  const { first, last } = resolved.egressPorts;
  if (!(first >= 1 && first <= last && last <= 65_535)) {
    throw new Error(`--egress-ports ${first}-${last} is no range of ports`);
  }
  return resolved;
}
