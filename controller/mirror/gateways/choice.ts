import {
  GATEWAY_NAME_ANNOTATION,
  GATEWAY_NAMESPACE_ANNOTATION,
  type GatewayReference,
  isDnsLabel,
} from "../../../contract/index.ts";
import { keyOf, type Service } from "../../kube/objects.ts";
import type { Problem } from "./gateway-service.ts";

/** The gateway that an exported service chooses by its annotations; `undefined` where it chooses none. */
export function gatewayChoice(remote: Service): GatewayReference | Problem | undefined {
  const name = remote.metadata.annotations?.[GATEWAY_NAME_ANNOTATION];
  const namespace = remote.metadata.annotations?.[GATEWAY_NAMESPACE_ANNOTATION];
  if (name === undefined && namespace === undefined) return undefined;
  if (name === undefined || namespace === undefined) {
    const [there, missing] =
      name === undefined
        ? [GATEWAY_NAMESPACE_ANNOTATION, GATEWAY_NAME_ANNOTATION]
        : [GATEWAY_NAME_ANNOTATION, GATEWAY_NAMESPACE_ANNOTATION];
    return { problem: `it has the annotation ${there} without ${missing}; give both, or neither` };
  }
  if (!isDnsLabel(name) || !isDnsLabel(namespace)) {
    return {
      problem: `its annotations ${GATEWAY_NAMESPACE_ANNOTATION} and ${GATEWAY_NAME_ANNOTATION} name no Service`,
    };
  }
  return { namespace, name };
}

/** `<namespace>/<name>` of a gateway's Service. */
export function gatewayKey(gateway: GatewayReference): string {
  return keyOf({ metadata: gateway });
}

/** Whether a choice cannot be followed. */
export function isProblem<T extends object>(result: T | Problem | undefined): result is Problem {
  return result !== undefined && "problem" in result && typeof result.problem === "string";
}

/** More than are ever followed, so that it shows that there are too many. */
const MAX_CHOICES = 32;

/** Which gateways the exported services of one target choose, counted: with thousands of services none is looked at twice. */
export class GatewayChoices {
  readonly #counts = new Map<string, { ref: GatewayReference; count: number }>();

  /** A service changed, as a store tells it. Returns whether the gateways that are chosen did. */
  change(current: Service | undefined, previous: Service | undefined): boolean {
    const now = this.#refOf(current);
    const before = this.#refOf(previous);
    if (now && before && gatewayKey(now) === gatewayKey(before)) return false;
    const left = before !== undefined && this.#leave(gatewayKey(before));
    const joined = now !== undefined && this.#join(now);
    return left || joined;
  }

  /** The first ones that were chosen. A target may have thousands: more are not even counted out. */
  refs(): GatewayReference[] {
    const refs: GatewayReference[] = [];
    for (const { ref } of this.#counts.values()) {
      if (refs.push(ref) === MAX_CHOICES) break;
    }
    return refs;
  }

  #refOf(service: Service | undefined): GatewayReference | undefined {
    const choice = service && gatewayChoice(service);
    return choice === undefined || isProblem(choice) ? undefined : choice;
  }

  #join(ref: GatewayReference): boolean {
    const entry = this.#counts.get(gatewayKey(ref));
    if (entry) entry.count++;
    else this.#counts.set(gatewayKey(ref), { ref, count: 1 });
    return entry === undefined;
  }

  #leave(key: string): boolean {
    const entry = this.#counts.get(key);
    if (entry === undefined || --entry.count > 0) return false;
    return this.#counts.delete(key);
  }
}
