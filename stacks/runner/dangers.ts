/** Changes that a pipeline should not make unasked. Pure. */
import { LINK_GROUP, LINK_KIND, LINK_VERSION } from "../../contract/index.ts";
import type { ResourceStep } from "../engines/engine.ts";
import { StackKind } from "../plan.ts";
import type { MeshResult } from "./result.ts";

export const DangerKind = {
  /** A trust anchor is replaced or removed: gateways whose certificates stem from it are refused from then on. */
  TrustAnchor: "trust-anchor",
  /** A link goes: its mirrors and the calls over it go with it. */
  Link: "link",
} as const;
export type DangerKind = (typeof DangerKind)[keyof typeof DangerKind];

export interface Danger {
  kind: DangerKind;
  stack: string;
  urn: string;
  /** One line for people. */
  message: string;
}

const ANCHOR_TYPE = "tls:index/selfSignedCert:SelfSignedCert";
const LINK_TYPE = `kubernetes:${LINK_GROUP}/${LINK_VERSION}:${LINK_KIND}`;

export function dangersOf({ stacks }: MeshResult): Danger[] {
  return stacks.flatMap(({ stack, kind, result }) =>
    (result?.resources ?? []).flatMap((step): Danger[] => {
      if (step.op !== "replace" && step.op !== "delete") return [];
      if (kind === StackKind.Trust && step.type === ANCHOR_TYPE) {
        return [danger(DangerKind.TrustAnchor, stack, step, `trust anchor ${step.name} is ${done(step)}`)];
      }
      if (step.type === LINK_TYPE) {
        return [danger(DangerKind.Link, stack, step, `link ${step.name} of ${stack} is ${done(step)}`)];
      }
      return [];
    }),
  );
}

function danger(kind: DangerKind, stack: string, step: ResourceStep, message: string): Danger {
  return { kind, stack, urn: step.urn, message };
}

function done({ op, diff }: ResourceStep): string {
  if (op === "delete") return "removed";
  return diff.length === 0 ? "replaced" : `replaced (${diff.join(", ")})`;
}
