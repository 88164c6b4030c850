import {
  type Condition,
  type GatewayReference,
  LINK_CONDITION,
  LINK_REASON,
  type LinkGatewayStatus,
} from "../../../contract/index.ts";
import type { ConnectionState } from "../status.ts";
import { gatewayKey } from "./choice.ts";

/** One IP address of a gateway. */
export interface GatewayIp {
  ip: string;
  alive: boolean;
}

/** One address of a gateway, as its Service or the Link gives it. */
export interface GatewayAddress {
  /** IP address or host name. */
  address: string;
  /** Itself, or those of the host name; none where it was not found, or not looked up yet. */
  ips: GatewayIp[];
  /** Whether any of its IP addresses is. */
  alive: boolean;
  /** Why it is dead. */
  cause?: string;
  /** What it is taken to be was not found out by this process yet. */
  undecided?: true;
}

/** A gateway as it is reached now. */
export interface GatewayState {
  /** Absent: the Link's own. */
  ref?: GatewayReference;
  addresses: GatewayAddress[];
  port: number;
  identity?: string;
  /** Whether any address is. */
  alive: boolean;
  /** False: the target was not asked yet. With addresses, they are the last known; without, leave what exists alone. */
  known: boolean;
  /** What is wrong, for people. */
  problem?: string;
}

/** For `Link.status.gateways`. Those without an address are none. */
export function gatewayStatuses(gateways: readonly GatewayState[]): LinkGatewayStatus[] {
  return gateways
    .filter(({ addresses }) => addresses.length > 0)
    .map(({ ref, addresses, port, identity }) => ({
      ...(ref && { namespace: ref.namespace, name: ref.name }),
      addresses: addresses.map(({ address, alive }) => ({ address, alive })),
      port,
      ...(identity === undefined ? {} : { identity }),
    }));
}

/** Addresses that one message names. */
const MAX_NAMED = 3;

/**
 * The condition `GatewayAlive`. It changes when a gateway dies or revives, not with every probe.
 *
 * @param own the Link's own gateway
 * @param chosen those that exported services choose
 * @param probed whether the Link asks for probes
 * @param before the condition as it is: what an earlier process found out stays until this one has
 * @returns `undefined` where nothing can be said yet
 */
export function gatewayCondition(
  own: GatewayState,
  chosen: readonly GatewayState[],
  probed: boolean,
  before: Condition | undefined,
): (ConnectionState & { type: string }) | undefined {
  const type = LINK_CONDITION.gatewayAlive;
  const all = [own, ...chosen].filter(({ addresses }) => addresses.length > 0);
  if (all.length === 0) {
    if (own.known) return { type, ...noGateway(own) };
    return before && { type, ...kept(before) };
  }
  const found = probed ? liveness(all) : notProbed();
  const state = { ...found, message: withProblem(found.message, own) };
  const undecided = probed && all.some(({ addresses }) => addresses.some((each) => each.undecided));
  if (!undecided) return { type, ...state };
  if (before === undefined) return state.reason === LINK_REASON.gatewayDead ? { type, ...state } : undefined;
  return before.reason === state.reason ? { type, ...kept(before) } : { type, ...state };
}

/** What an Event says when an address dies or revives. */
export function describeAddress({ ref }: GatewayState, { address, alive, cause }: GatewayAddress): string {
  const which = `address ${address} of ${ref ? `the gateway ${gatewayKey(ref)}` : "the gateway"}`;
  return alive
    ? `${which} answers its probes again`
    : `${which} does not answer its probes: ${cause ?? "dead"}`;
}

function kept({ status, reason, message }: Condition): ConnectionState {
  return { status, reason: reason as ConnectionState["reason"], message };
}

function noGateway({ problem }: GatewayState): ConnectionState {
  const reason = LINK_REASON.noGateway;
  if (problem !== undefined) return { status: "False", reason, message: problem };
  return {
    status: "Unknown",
    reason,
    message: "the Link names no gateway: services that are called through one are mirrored without endpoints",
  };
}

function notProbed(): ConnectionState {
  return {
    status: "Unknown",
    reason: LINK_REASON.gatewayNotProbed,
    message: "the gateway is taken to be alive; set spec.probe to have it probed",
  };
}

function liveness(gateways: readonly GatewayState[]): ConnectionState {
  const dead = gateways.filter(({ alive }) => !alive);
  if (dead.length > 0) {
    return { status: "False", reason: LINK_REASON.gatewayDead, message: dead.map(describeDead).join("; ") };
  }
  const all = gateways.flatMap(({ addresses }) => addresses);
  const failed = all.filter(({ alive }) => !alive);
  const counted = `${all.length - failed.length} of ${all.length} addresses answer their probes`;
  const reason = LINK_REASON.gatewayAlive;
  if (failed.length > 0) return { status: "True", reason, message: `${counted}; ${describe(failed)}` };
  const message = all.length === 1 ? "the gateway answers its probes" : counted;
  return { status: "True", reason, message };
}

function describeDead({ ref, addresses }: GatewayState): string {
  const which = ref ? `the gateway ${gatewayKey(ref)}` : "the gateway";
  return `${which} does not answer its probes: ${describe(addresses)}`;
}

function describe(addresses: readonly GatewayAddress[]): string {
  const named = addresses
    .slice(0, MAX_NAMED)
    .map(({ address, cause }) => `${address}: ${cause ?? "no answer"}`);
  const more = addresses.length - MAX_NAMED;
  return [...named, ...(more > 0 ? [`and ${more} more`] : [])].join(", ");
}

function withProblem(message: string, { problem, addresses }: GatewayState): string {
  if (problem === undefined) return message;
  return addresses.length > 0
    ? `${message}; the addresses are those of the spec: ${problem}`
    : `${message}; ${problem}`;
}
