import type { EgressSettings } from "./egress-config.ts";
import { gatewayFiles } from "./files.ts";
import type { CommonSettings } from "./haproxy/config.ts";
import type { IngressSettings } from "./ingress-config.ts";
import type { ResolvedGatewayOptions } from "./options.ts";

/** The part of an ingress' configuration that does not change while it runs. */
export function ingressSettings(options: ResolvedGatewayOptions): Omit<IngressSettings, "sources"> {
  return { ...commonSettings(options), port: options.port, identity: options.identity };
}

/** The part of an egress' configuration that does not change while it runs. */
export function egressSettings(options: ResolvedGatewayOptions): Omit<EgressSettings, "targets"> {
  return { ...commonSettings(options), ports: options.egressPorts };
}

function commonSettings(options: ResolvedGatewayOptions): CommonSettings {
  return {
    files: gatewayFiles(options.haproxyDirectory),
    ipv6: options.podIps.some((address) => address.includes(":")),
    probePort: options.probePort,
    accessLog: options.accessLog,
  };
}
