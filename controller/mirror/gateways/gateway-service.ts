import { BlockList, isIP, isIPv4 } from "node:net";
import {
  GATEWAY_IDENTITY_ANNOTATION,
  GATEWAY_PORT_NAME,
  isDnsName,
  PROBE_PORT_NAME,
} from "../../../contract/index.ts";
import { keyOf, type Service } from "../../kube/objects.ts";
import type { DataPlane } from "../desired.ts";

/** How a gateway is reached, as its Service in the target says. */
export interface GatewayAddressing {
  /** IP addresses or host names, 1 to 16, in the order of the Service. */
  addresses: string[];
  /** For calls. */
  port: number;
  /** Absent where the Service has no port for probes. */
  probePort?: number;
  /** What the Service says that the gateway proves; absent where it says nothing. */
  identity?: string;
}

/** Why something cannot be used, for people. */
export interface Problem {
  problem: string;
}

/** A Service may name more; no gateway has so many. */
export const MAX_ADDRESSES = 16;
/** A server name is a label of 63 characters, a dot, and this. */
const MAX_IDENTITY = 189;

/** Where no gateway of another cluster can be, but things of this cluster's own nodes and pods are. */
const OWN_GROUND = new BlockList();
for (const [network, bits, family] of [
  ["0.0.0.0", 8, "ipv4"],
  ["127.0.0.0", 8, "ipv4"],
  ["169.254.0.0", 16, "ipv4"],
  // Multicast, reserved, broadcast.
  ["224.0.0.0", 3, "ipv4"],
  // Unspecified, loopback, and IPv4 in IPv6's first notation.
  ["::", 96, "ipv6"],
  // IPv4 behind a translator.
  ["64:ff9b::", 32, "ipv6"],
  ["fe80::", 10, "ipv6"],
  ["ff00::", 8, "ipv6"],
] as const) {
  OWN_GROUND.addSubnet(network, bits, family);
}
/** IPv4 written as IPv6; however else it is written, the rules for IPv4 hold for it. */
const MAPPED = /^::ffff:/i;

/** Names that lead into this cluster, whoever says them. */
const OWN_NAMES = /(^|\.)(localhost|svc|cluster\.local)$/;

/** How the gateway behind a Service of the target is reached. The target is not trusted: what it may not say is refused. */
export function readGatewayService(service: Service): GatewayAddressing | Problem {
  const where = `Service ${keyOf(service)} of the target`;
  const { type, ports = [], externalIPs = [] } = service.spec ?? {};
  const numberOf = (name: string) => {
    const port = ports.find((each) => each.name === name && (each.protocol ?? "TCP") === "TCP");
    const number = type === "NodePort" ? port?.nodePort : port?.port;
    return number !== undefined && isPort(number) ? number : undefined;
  };
  const port = numberOf(GATEWAY_PORT_NAME);
  if (port === undefined) return { problem: `${where} has no port named ${GATEWAY_PORT_NAME}` };
  const ingress = service.status?.loadBalancer?.ingress ?? [];
  const said = [...ingress.flatMap(({ ip, hostname }) => ip || hostname || []), ...externalIPs];
  const addresses = [...new Set(said.map((each) => each.toLowerCase()))];
  if (addresses.length === 0) {
    return { problem: `${where} has no address yet: no load balancer gave it one` };
  }
  if (addresses.length > MAX_ADDRESSES) {
    return { problem: `${where} has ${addresses.length} addresses, more than ${MAX_ADDRESSES}` };
  }
  const wrong = addresses.find((address) => !mayBeCalled(address));
  if (wrong !== undefined) {
    return {
      problem: `${where} has the address ${shown(wrong)}, where no gateway of another cluster can be`,
    };
  }
  const probePort = numberOf(PROBE_PORT_NAME);
  const identity = service.metadata.annotations?.[GATEWAY_IDENTITY_ANNOTATION];
  return {
    addresses,
    port,
    ...(probePort === undefined ? {} : { probePort }),
    ...(identity === undefined ? {} : { identity }),
  };
}

/**
 * The identity of a gateway that an exported service chooses, or why it cannot be believed.
 *
 * @param said by the gateway's Service
 * @param own the Link's `gatewayIdentity`, which is never taken from the target. With our own gateways it holds the name
 *   of the target cluster: what follows its first label must be the same, or a target could lead calls to another cluster.
 */
export function chosenIdentity(
  said: string | undefined,
  own: string | undefined,
  dataPlane: DataPlane,
): { identity: string } | Problem {
  if (said === undefined || said === "")
    return { problem: `it has no annotation ${GATEWAY_IDENTITY_ANNOTATION}` };
  if (!isDnsName(said) || said.length > MAX_IDENTITY) {
    return { problem: `its ${GATEWAY_IDENTITY_ANNOTATION} ${shown(said)} is no DNS name` };
  }
  if (dataPlane === "linkerd") return { identity: said };
  const domain = own === undefined ? "" : afterFirstLabel(own);
  if (domain === "" || afterFirstLabel(said) !== domain) {
    const ending =
      domain === "" ? "the Link has no gatewayIdentity to compare it with" : `it must end in .${domain}`;
    return { problem: `its ${GATEWAY_IDENTITY_ANNOTATION} ${said} may be another cluster's: ${ending}` };
  }
  return { identity: said };
}

/** Whether an address that another cluster names may be called from here: an IP address or a host name. */
export function mayBeCalled(address: string): boolean {
  if (address.includes("%") || MAPPED.test(address)) return false;
  if (isIP(address) !== 0) return !OWN_GROUND.check(address, isIPv4(address) ? "ipv4" : "ipv6");
  // A last label that begins with a digit makes something that some resolvers take for an IP address.
  return isDnsName(address) && /\.[a-z][^.]*$/.test(address) && !OWN_NAMES.test(address);
}

function afterFirstLabel(name: string): string {
  const dot = name.indexOf(".");
  return dot < 0 ? "" : name.slice(dot + 1);
}

function isPort(number: number): boolean {
  return Number.isInteger(number) && number >= 1 && number <= 65_535;
}

/** A target's words, so short that they cannot drown ours. */
function shown(text: string): string {
  return JSON.stringify(text.length <= 80 ? text : `${text.slice(0, 79)}…`);
}
