import { type GatewayReference, type Link, REMOTE_DISCOVERY_LABEL } from "../../../contract/index.ts";
import type { EndpointSlice, Service } from "../../kube/objects.ts";
import { gatewayOf } from "../desired.ts";
import { desiredSlices, isMarkedEmpty } from "../slices.ts";
import type { Backends, GatewayBackend } from "./backends.ts";
import { isProblem } from "./choice.ts";
import { statusOf } from "./endpoint.ts";
import type { Gateways } from "./gateways.ts";

/** How calls to a mirror get to its cluster. */
export interface Way {
  /** The gateway that the mirror is to name, where that is not the Link's own. */
  gateway?: GatewayReference;
  backend: GatewayBackend;
  /** Why there is none, in words. */
  problem?: string;
}

/** By which gateway and which addresses exported services are called. */
export class Ways {
  readonly #gateways: Pick<Gateways, "choiceOf" | "of">;
  readonly #backends: Backends;

  constructor(gateways: Pick<Gateways, "choiceOf" | "of">, backends: Backends) {
    this.#gateways = gateways;
    this.#backends = backends;
  }

  /**
   * The way to an exported service.
   *
   * @param mirror as it is now
   * @param empty nobody there is ready
   */
  of(link: Link, remote: Service, mirror: Service | undefined, empty: boolean): Way {
    const choice = this.#gateways.choiceOf(link, remote);
    // Nothing else is called instead of what cannot be reached as it wants to be.
    if (isProblem(choice))
      return { backend: { ...this.#backends.of(link), empty: true }, problem: choice.problem };
    const backend = { ...this.#backends.of(link, choice), empty };
    if (choice === undefined) return { backend };
    const { known, problem } = this.#gateways.of(link, choice);
    if (known && problem !== undefined) return { gateway: choice, backend, problem };
    const gateway = named(link, choice, mirror, known);
    return { ...(gateway && { gateway }), backend };
  }

  /** The slices of a mirror whose service cannot be known now. */
  kept(mirror: Service, existing: readonly EndpointSlice[], link: Link): EndpointSlice[] {
    if (mirror.metadata.labels?.[REMOTE_DISCOVERY_LABEL] !== undefined) return [];
    // Its pods are as unknown as it is.
    if (mirror.spec?.clusterIP === "None") return [...existing];
    const backend = this.#backends.of(link, gatewayOf(mirror));
    return backendSlices(mirror, existing, { ...backend, empty: existing.some(isMarkedEmpty) });
  }
}

/**
 * The gateway that a mirror is to name. How it is reached the egress reads in the status of the Link: before that says so, a
 * mirror that named it would have its calls closed. It also may turn out to be the Link's own, once its Service is known.
 */
function named(
  link: Link,
  choice: GatewayReference,
  mirror: Service | undefined,
  known: boolean,
): GatewayReference | undefined {
  if (statusOf(link, choice) !== undefined) return choice;
  if (mirror !== undefined) return gatewayOf(mirror);
  // Nothing leads to a new mirror's gateway while that is not known; then, no other is called instead.
  return known ? choice : undefined;
}

/** Slices that lead to a backend; while that is being found out, those that are there stay as they are. */
export function backendSlices(
  mirror: Service,
  existing: readonly EndpointSlice[],
  backend: GatewayBackend,
): EndpointSlice[] {
  return backend.pending && existing.length > 0 ? [...existing] : desiredSlices(mirror, backend);
}
