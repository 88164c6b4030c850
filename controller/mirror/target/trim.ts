import { isIP } from "node:net";
import {
  GATEWAY_NAME_ANNOTATION,
  GATEWAY_NAMESPACE_ANNOTATION,
  HEADLESS_LABEL,
  isDnsLabel,
  isDnsName,
  SERVICE_NAME_LABEL,
} from "../../../contract/index.ts";
import type { Endpoint, EndpointSlice, Service, ServicePort, ServiceSpec } from "../../kube/objects.ts";
import { isCopiedAnnotation } from "../metadata.ts";

/** An exported service as it is remembered. */
export interface ExportedService extends Service {
  /** Annotations that are too large to be remembered, with their sizes in bytes. */
  tooLarge?: Readonly<Record<string, number>>;
}

/** Annotations remembered of one service, in bytes: more than a mirror may have is of no use. */
const MAX_ANNOTATION_BYTES = 65_536;
/** An EndpointSlice has no more endpoints in any Kubernetes. */
const MAX_ENDPOINTS = 1_000;

/**
 * Only what a mirror is made from: with many services the rest is most of the memory. `undefined` for what cannot be an
 * API server's word: a target is not trusted.
 */
export function trimmedService(service: Service): ExportedService | undefined {
  const { namespace = "", name, uid, resourceVersion, labels, annotations } = service.metadata;
  if (!isDnsLabel(name) || !isDnsLabel(namespace)) return undefined;
  const { type, clusterIP, ports } = service.spec ?? {};
  if (ports !== undefined && !(Array.isArray(ports) && ports.every(isPort))) return undefined;
  if (!isTexts(labels) || !isTexts(annotations)) return undefined;
  const kept = rememberedAnnotations(annotations ?? {});
  const spec: ServiceSpec = {
    ...(type && { type }),
    ...(clusterIP && { clusterIP }),
    ...(ports && { ports: ports.map(trimmedPort) }),
  };
  return {
    apiVersion: service.apiVersion,
    kind: service.kind,
    metadata: {
      name,
      namespace,
      ...(uid && { uid }),
      ...(resourceVersion && { resourceVersion }),
      ...(labels && { labels }),
      annotations: kept.annotations,
    },
    spec,
    ...(kept.tooLarge && { tooLarge: kept.tooLarge }),
  };
}

/**
 * Of a headless service's slice, who its endpoints are; of any other, whether one of them is ready. `undefined` as above.
 */
export function trimmedSlice(slice: EndpointSlice): EndpointSlice | undefined {
  const { namespace = "", name, uid, resourceVersion, labels = {} } = slice.metadata;
  const service = labels[SERVICE_NAME_LABEL];
  if (!isDnsName(name) || !isDnsLabel(namespace) || service === undefined || !isDnsLabel(service))
    return undefined;
  const given: unknown = slice.endpoints ?? [];
  if (!Array.isArray(given) || given.length > MAX_ENDPOINTS || !given.every(isEndpoint)) return undefined;
  const headless = labels[HEADLESS_LABEL] !== undefined;
  // Only pods of a headless service have hostnames: a slice that was written by hand may lack the label.
  const endpoints =
    headless || given.some(({ hostname }) => hostname !== undefined)
      ? given.map(trimmedEndpoint)
      : given
          .filter(isReady)
          .slice(0, 1)
          .map(() => ({ addresses: [], conditions: { ready: true } }));
  return {
    apiVersion: slice.apiVersion,
    kind: slice.kind,
    metadata: {
      name,
      namespace,
      ...(uid && { uid }),
      ...(resourceVersion && { resourceVersion }),
      labels: { [SERVICE_NAME_LABEL]: service, ...(headless && { [HEADLESS_LABEL]: "" }) },
    },
    addressType: slice.addressType,
    endpoints,
  };
}

/** Whether an endpoint takes calls; one that does not say does (Kubernetes' rule). */
export function isReady({ conditions }: Endpoint): boolean {
  return conditions?.ready ?? true;
}

function rememberedAnnotations(all: Readonly<Record<string, string>>): {
  annotations: Record<string, string>;
  tooLarge?: Record<string, number>;
} {
  const wanted = Object.entries(all)
    .filter(
      ([key]) =>
        isCopiedAnnotation(key) || key === GATEWAY_NAME_ANNOTATION || key === GATEWAY_NAMESPACE_ANNOTATION,
    )
    .map(([key, value]) => ({ key, value, bytes: Buffer.byteLength(key) + Buffer.byteLength(value) }));
  const total = wanted.reduce((sum, { bytes }) => sum + bytes, 0);
  if (total <= MAX_ANNOTATION_BYTES) return { annotations: texts(wanted) };
  // The small ones first: those that are left out are the ones to be excluded.
  let sum = 0;
  const kept = wanted
    .sort((a, b) => a.bytes - b.bytes)
    .filter(({ bytes }) => {
      sum += bytes;
      return sum <= MAX_ANNOTATION_BYTES;
    });
  const left = wanted.slice(kept.length, kept.length + 20);
  const tooLarge = Object.fromEntries(left.map(({ key, bytes }) => [key.slice(0, 317), bytes]));
  return { annotations: texts(kept), tooLarge };
}

function texts(entries: readonly { key: string; value: string }[]): Record<string, string> {
  return Object.fromEntries(entries.map(({ key, value }) => [key, value]));
}

function trimmedPort({ name, protocol, port, targetPort, appProtocol }: ServicePort): ServicePort {
  return {
    ...(name !== undefined && { name }),
    ...(protocol !== undefined && { protocol }),
    port,
    ...(targetPort !== undefined && { targetPort }),
    ...(appProtocol !== undefined && { appProtocol }),
  };
}

function trimmedEndpoint({ addresses, conditions, hostname, targetRef }: Endpoint): Endpoint {
  const { ready, serving, terminating } = conditions ?? {};
  return {
    addresses: addresses.slice(0, 1),
    conditions: {
      ...(ready != null && { ready }),
      ...(serving != null && { serving }),
      ...(terminating != null && { terminating }),
    },
    ...(hostname && { hostname }),
    ...(targetRef?.kind === "Pod" && targetRef.name && { targetRef: { kind: "Pod", name: targetRef.name } }),
  };
}

function isPort(port: unknown): port is ServicePort {
  if (typeof port !== "object" || port === null) return false;
  const { port: number, name, protocol, targetPort, appProtocol } = port as Record<string, unknown>;
  return (
    isPortNumber(number) &&
    [name, protocol, appProtocol].every(isShortText) &&
    (targetPort === undefined || targetPort === null || isPortNumber(targetPort) || isShortText(targetPort))
  );
}

function isEndpoint(endpoint: unknown): endpoint is Endpoint {
  if (typeof endpoint !== "object" || endpoint === null) return false;
  const { addresses, hostname, targetRef } = endpoint as Record<string, unknown>;
  return (
    Array.isArray(addresses) &&
    addresses.length > 0 &&
    typeof addresses[0] === "string" &&
    // The third kind of address, a domain name, is deprecated, and nobody's endpoint is one.
    isIP(addresses[0]) !== 0 &&
    isShortText(hostname) &&
    isShortText((targetRef as { name?: unknown } | undefined)?.name)
  );
}

function isPortNumber(value: unknown): boolean {
  return Number.isInteger(value) && Number(value) >= 1 && Number(value) <= 65_535;
}

/** Absent, or a text that could be a name. */
function isShortText(value: unknown): boolean {
  return value === undefined || value === null || (typeof value === "string" && value.length <= 253);
}

function isTexts(value: unknown): value is Record<string, string> | undefined {
  if (value === undefined || value === null) return true;
  return typeof value === "object" && Object.values(value).every((each) => typeof each === "string");
}
