import { endpointHost, SERVICE_NAME_LABEL } from "../../contract/index.ts";
import type { Endpoint, EndpointSlice, Service } from "../kube/objects.ts";
import { tcpPorts } from "./ports.ts";

/** One host of a headless Service, as far as calls to one port of the Service go. */
export interface HostRoute {
  /** As `endpointHost` names it. */
  host: string;
  /** Number of the Service's port. */
  port: number;
  /** Where the host takes such calls. */
  address: string;
  targetPort: number;
  slice: EndpointSlice;
}

interface Candidate extends HostRoute {
  endpoint: Endpoint;
}

/** A Service that has no address of its own: callers choose among its hosts. */
export function isHeadless({ spec }: Service): boolean {
  return spec?.clusterIP === "None" && spec.type !== "ExternalName";
}

/** Key of the Service that a slice belongs to. */
export function serviceKeyOf({ metadata: { namespace, labels } }: EndpointSlice): string {
  return `${namespace}/${labels?.[SERVICE_NAME_LABEL] ?? ""}`;
}

/** Slices by the key of their Service. */
export function byService(slices: readonly EndpointSlice[]): Map<string, EndpointSlice[]> {
  const groups = new Map<string, EndpointSlice[]>();
  for (const slice of slices) {
    const group = groups.get(serviceKeyOf(slice));
    if (group) group.push(slice);
    else groups.set(serviceKeyOf(slice), [slice]);
  }
  return groups;
}

/**
 * Every host of a headless Service, for every TCP port. Whether a host is ready does not matter: who names one means that
 * one. The number of its port is the slice's, which names it as the Service does and differs from slice to slice where
 * pods name their ports.
 */
export function* hostRoutes(service: Service, slices: readonly EndpointSlice[]): Generator<HostRoute> {
  for (const { name, port } of tcpPorts(service.spec?.ports)) {
    const hosts = new Map<string, Candidate>();
    for (const slice of slices) {
      const targetPort = tcpPorts(slice.ports).find((each) => each.name === name)?.port;
      if (targetPort === undefined || slice.addressType === "FQDN") continue;
      for (const endpoint of slice.endpoints ?? []) {
        const [address, host] = [endpoint.addresses[0], endpointHost(endpoint)];
        if (address === undefined || host === "" || isGone(endpoint)) continue;
        const candidate = { host, port, address, targetPort, slice, endpoint };
        const other = hosts.get(host);
        if (other === undefined || isBetter(candidate, other)) hosts.set(host, candidate);
      }
    }
    yield* hosts.values();
  }
}

/** An endpoint that ends and takes no calls any more. */
export function isGone({ conditions = {} }: Endpoint): boolean {
  const { terminating = false, ready = true, serving = ready } = conditions;
  return terminating && !serving;
}

/** Of two places of a host: one that stays, then IPv4; then always the same one, in whatever order slices come. */
function isBetter(a: Candidate, b: Candidate): boolean {
  const [ending, otherEnding] = [a, b].map(({ endpoint }) => endpoint.conditions?.terminating === true);
  if (ending !== otherEnding) return !ending;
  if (a.slice.addressType !== b.slice.addressType) return a.slice.addressType === "IPv4";
  return a.address < b.address;
}
