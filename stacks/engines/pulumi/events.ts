/** From the events of Pulumi's engine to ours. Pure. */

import { stripVTControlCharacters } from "node:util";
import type { EngineEvent as PulumiEvent, StepEventMetadata } from "@pulumi/pulumi/automation/index.js";
import type { EngineEvent, LogSeverity, Operation, ResourceStep } from "../engine.ts";
import { isProviderType, parseUrn, STACK_REFERENCE_TYPE, STACK_TYPE } from "../urn.ts";
import { isObject, type Properties, REDACTED, secret, UNKNOWN, type Value } from "../wire.ts";

/** Steps that are not named are parts of others: the two halves of a replacement, refreshes, discards. */
const OPERATIONS: Partial<Record<string, Operation>> = {
  same: "same",
  create: "create",
  import: "create",
  update: "update",
  replace: "replace",
  delete: "delete",
  read: "read",
  "read-replacement": "read",
};

const SEVERITIES: Record<string, LogSeverity> = {
  info: "info",
  "info#err": "info",
  warning: "warning",
  error: "error",
};

/** @returns undefined for what has no place in our events */
export function toEvent(stack: string, event: PulumiEvent, preview: boolean): EngineEvent | undefined {
  const { diagnosticEvent, resourcePreEvent, resOutputsEvent, resOpFailedEvent } = event;
  if (diagnosticEvent !== undefined) {
    const severity = SEVERITIES[diagnosticEvent.severity];
    if (severity === undefined || diagnosticEvent.ephemeral === true) return undefined;
    // Pulumi marks colors in its own way: <{%fg 1%}>.
    const message = stripVTControlCharacters(diagnosticEvent.message)
      .replace(/<\{%.*?%\}>/g, "")
      .trimEnd();
    const urn = diagnosticEvent.urn ?? "";
    return { event: "log", stack, severity, message, ...(urn === "" ? {} : { urn }) };
  }
  if (resOpFailedEvent !== undefined) {
    const step = toStep(resOpFailedEvent.metadata);
    return step && { event: "failed", stack, message: "see the error of this resource", ...step };
  }
  if (resourcePreEvent !== undefined) {
    const step = toStep(resourcePreEvent.metadata);
    if (step === undefined || (!preview && step.op === "same")) return undefined;
    return { event: preview ? "planned" : "started", stack, ...step };
  }
  if (resOutputsEvent !== undefined && !preview) {
    const step = toStep(resOutputsEvent.metadata);
    return step && { event: "done", stack, ...step };
  }
  return undefined;
}

export function toStep(metadata: StepEventMetadata): ResourceStep | undefined {
  const op = OPERATIONS[metadata.op];
  if (op === undefined) return undefined;
  const { urn, type } = metadata;
  const custom = (metadata.new ?? metadata.old)?.custom === true;
  const paths = Object.keys(metadata.detailedDiff ?? {});
  const changed = op === "update" || op === "replace";
  return {
    op,
    urn,
    type,
    name: parseUrn(urn).name,
    diff: changed ? (paths.length > 0 ? paths : (metadata.diffs ?? [])) : [],
    counted: custom && op !== "read" && !isProviderType(type) && type !== STACK_REFERENCE_TYPE,
  };
}

/** The outputs that the stack would have, when the event tells them. What Pulumi hides as secret is unknown to us. */
export function plannedOutputsOf(event: PulumiEvent): Properties | undefined {
  const metadata = (event.resOutputsEvent ?? event.resourcePreEvent)?.metadata;
  if (metadata?.type !== STACK_TYPE || metadata.new === undefined) return undefined;
  const outputs = metadata.new.outputs as Properties | undefined;
  if (outputs === undefined) return undefined;
  return Object.fromEntries(Object.entries(outputs).map(([key, value]) => [key, reveal(value)]));
}

function reveal(value: Value): Value {
  if (value === REDACTED) return secret(UNKNOWN);
  if (Array.isArray(value)) return value.map(reveal);
  if (isObject(value)) {
    return Object.fromEntries(Object.entries(value).map(([key, element]) => [key, reveal(element)]));
  }
  return value;
}
