import { SERVICE_REASON } from "../../contract/index.ts";
import type { KubeError } from "../kube/errors.ts";
import type { Refusal } from "./desired.ts";
import type { EgressPorts } from "./ports.ts";

/** Another gets the Service of this key. @param winner who, for people */
export function nameTaken(key: string, winner: string): Refusal {
  return {
    reason: SERVICE_REASON.nameConflict,
    message: `${winner} has a mirror of the same name, ${key}, and goes first; rename one of the services`,
  };
}

export function missingNamespace(namespace: string): Refusal {
  return {
    reason: SERVICE_REASON.missingNamespace,
    message: `there is no namespace ${namespace} here; the service is mirrored as soon as there is`,
  };
}

export function portsExhausted(ports: EgressPorts): Refusal {
  const { used, size } = ports.usage;
  return {
    reason: SERVICE_REASON.portsExhausted,
    message: `${used} of the ${size} egress ports are taken; export fewer services, or widen the gateway's egressPorts (--egress-ports)`,
  };
}

/** @param problem what is wrong with the gateway that the service chooses */
export function gatewayNotFound(problem: string): Refusal {
  return { reason: SERVICE_REASON.gatewayNotFound, message: problem };
}

export function refusedByServer(error: KubeError): Refusal {
  return { reason: SERVICE_REASON.refused, message: `the API server refuses the mirror: ${error.detail}` };
}

/** @param problems one for each pod that has no mirror */
export function podsNotMirrored(problems: readonly string[]): Refusal {
  const more = problems.length > 3 ? `; and ${problems.length - 3} more` : "";
  return {
    reason: SERVICE_REASON.podsNotMirrored,
    message: `pods without a mirror: ${problems.slice(0, 3).join("; ")}${more}`,
  };
}
