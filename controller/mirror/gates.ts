import { isIPv4 } from "node:net";
import {
  type GatewayReference,
  IN_SLICES_GATE,
  SLICE_MANAGED_BY_LABEL,
  SLICE_MANAGER,
  timestamp,
} from "../../contract/index.ts";
import { type EndpointSlice, keyOf, type Pod } from "../kube/objects.ts";
import { PODS } from "../kube/resource.ts";
import { gatewayOf } from "./desired.ts";
import type { Backends } from "./gateways/backends.ts";
import { linkLabelOf, mirrorsOfSlice } from "./ownership.ts";
import { hasCondition, isServing, podAddresses } from "./slices.ts";
import { BY_LINK, type SourceCluster } from "./source.ts";
import type { SourceWriter } from "./writer.ts";

/** Whether an egress pod waits for all slices to name it. */
function isGated(pod: Pod): boolean {
  const gated =
    pod.spec?.readinessGates?.some(({ conditionType }) => conditionType === IN_SLICES_GATE) ?? false;
  return gated && isServing(pod) && !hasCondition(pod, IN_SLICES_GATE);
}

/** Whether every slice names the pod that is to name it, which `wanted` gives the addresses for. */
function isNamedByAll(
  pod: Pod,
  slices: readonly EndpointSlice[],
  wanted: (slice: EndpointSlice) => ReadonlySet<string>,
): boolean {
  const addresses = podAddresses(pod);
  return slices.every((slice) => {
    const expected = addresses.filter(
      (ip) => wanted(slice).has(ip) && (isIPv4(ip) ? "IPv4" : "IPv6") === slice.addressType,
    );
    const named = new Set(slice.endpoints?.flatMap((endpoint) => endpoint.addresses));
    return expected.every((ip) => named.has(ip));
  });
}

/**
 * Opens the readiness gate of each egress pod that all slices name: a rollout takes no old pod away before the new one gets
 * its calls.
 */
export class ReadinessGates {
  readonly #source: SourceCluster;
  readonly #backends: Backends;
  readonly #writer: SourceWriter;

  constructor(source: SourceCluster, backends: Backends, writer: SourceWriter) {
    this.#source = source;
    this.#backends = backends;
    this.#writer = writer;
  }

  /** Whether there is a pod that waits: nothing else needs a look. */
  get waiting(): boolean {
    return this.#source.pods.list().some(isGated);
  }

  /** Open the gates that can be opened. */
  async open(now: Date, signal: AbortSignal): Promise<void> {
    // Those that Kubernetes made for a mirror with a selector carry our labels too, and never name an egress pod.
    const slices = this.#source.slices
      .list()
      .filter(({ metadata }) => metadata.labels?.[SLICE_MANAGED_BY_LABEL] === SLICE_MANAGER)
      .filter((slice) => !this.#leadsToPods(slice));
    const wanted = this.#wanted();
    for (const pod of this.#source.pods.list().filter(isGated)) {
      if (!isNamedByAll(pod, slices, wanted)) continue;
      const condition = {
        type: IN_SLICES_GATE,
        status: "True",
        reason: "NamedByAllSlices",
        message: "every mirror's slice names this pod",
        lastTransitionTime: timestamp(now),
      };
      const shelf = { resource: PODS, store: this.#source.pods };
      const body = { status: { conditions: [condition] } };
      await this.#writer.patch(shelf, keyOf(pod), body, { signal, subresource: "status", type: "strategic" });
    }
  }

  /** The mirror of a headless service leads to the mirrors of its pods, and only these to an egress. */
  #leadsToPods(slice: EndpointSlice): boolean {
    return mirrorsOfSlice(slice).some((key) => this.#source.services.get(key)?.spec?.clusterIP === "None");
  }

  /** The addresses that each slice is to name: by its Link, and by the gateway that its mirror names. */
  #wanted(): (slice: EndpointSlice) => ReadonlySet<string> {
    const known = new Map<string, ReadonlySet<string>>();
    return (slice) => {
      const label = linkLabelOf(slice) ?? "";
      const gateway = this.#gatewayOf(slice);
      const id = JSON.stringify([label, gateway]);
      const wanted = known.get(id) ?? this.#addresses(label, gateway);
      known.set(id, wanted);
      return wanted;
    };
  }

  #addresses(label: string, gateway: GatewayReference | undefined): ReadonlySet<string> {
    const [link] = this.#source.links.by(BY_LINK, label);
    const addresses = link === undefined ? [] : this.#backends.of(link, gateway).addresses;
    return new Set(addresses.map(({ ip }) => ip));
  }

  /** The gateway that the mirror of a slice names: one without an address is called by nobody. */
  #gatewayOf(slice: EndpointSlice): GatewayReference | undefined {
    const [mirror] = mirrorsOfSlice(slice).flatMap((key) => this.#source.services.get(key) ?? []);
    return mirror && gatewayOf(mirror);
  }
}
