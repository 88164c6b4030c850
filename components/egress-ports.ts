import type * as pulumi from "@pulumi/pulumi";
import { EGRESS_PORTS } from "../contract/index.ts";
import { type EnvVar, ifGiven } from "./pod.ts";
import type { Rule } from "./validation.ts";

/** A range of ports. */
export interface PortRangeArgs {
  /** The lowest of them. */
  first: pulumi.Input<number>;
  /** The highest of them. */
  last: pulumi.Input<number>;
}

/** Above them the kernel chooses the ports of outgoing connections; below them are the gateway's own. */
const [LOWEST, HIGHEST] = [10_000, 32_767];

/** Ports of an egress. */
export const egressPortsRule: Rule = {
  allowed: `{ first, last }, two ports from ${LOWEST} to ${HIGHEST}, the lower first`,
  test: (value) => {
    const { first, last } = value as { first?: unknown; last?: unknown };
    return isPort(first) && isPort(last) && first <= last;
  },
};

/** The variable of the controller's program that gives it the ports, where they were given. */
export function egressPortsVariable(ports: pulumi.Input<PortRangeArgs> | undefined): EnvVar[] {
  return ifGiven("EGRESS_PORTS", ports, text(EGRESS_PORTS), text);
}

function text({ first, last }: { first: number; last: number }): string {
  return `${first}-${last}`;
}

function isPort(value: unknown): value is number {
  return Number.isInteger(value) && Number(value) >= LOWEST && Number(value) <= HIGHEST;
}
