import {
  GATEWAY_NAME_ANNOTATION,
  GATEWAY_NAMESPACE_ANNOTATION,
  HEADLESS_LABEL,
  isDnsLabel,
  isSubdomain,
  SERVICE_NAME_LABEL,
} from "../../../contract/index.ts";
import { notAnApiServer } from "../../kube/answer.ts";
import type {
  Endpoint,
  EndpointSlice,
  KubeObject,
  Service,
  ServicePort,
  ServiceSpec,
} from "../../kube/objects.ts";
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
 * Only what a mirror is made from: with many services the rest is most of the memory. Throws `UnreachableError` (of reason
 * `answer`) where a name is none, or a field is not of the type that Kubernetes gives it, which no API server sends: a target
 * is not trusted.
 *
 * @param cluster for the error
 */
export function trimmedService(service: Service, cluster: string): ExportedService {
  const check = checker(service, "Service", cluster);
  const { namespace = "", name, uid, resourceVersion, labels, annotations } = service.metadata;
  check("metadata", [name, namespace, uid, resourceVersion].every(isText));
  check("metadata.name", isDnsLabel(name));
  check("metadata.namespace", isDnsLabel(namespace));
  check("metadata.labels", isTexts(labels));
  check("metadata.annotations", isTexts(annotations));
  check("spec", service.spec === undefined || isRecord(service.spec));
  const { type, clusterIP, ports } = service.spec ?? {};
  check("spec.type", isText(type));
  check("spec.clusterIP", isText(clusterIP));
  check("spec.ports", ports === undefined || (Array.isArray(ports) && ports.every(isPort)));
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
 * Of a headless service's slice, who its endpoints are; of any other, whether one of them is ready. `undefined` for a slice
 * of no service, or of domain names, which nobody's pods have any more. Throws as `trimmedService` does.
 */
export function trimmedSlice(slice: EndpointSlice, cluster: string): EndpointSlice | undefined {
  const check = checker(slice, "EndpointSlice", cluster);
  const { namespace = "", name, uid, resourceVersion } = slice.metadata;
  check("metadata", [name, namespace, uid, resourceVersion].every(isText));
  check("metadata.name", isSubdomain(name));
  check("metadata.namespace", isDnsLabel(namespace));
  check("metadata.labels", isTexts(slice.metadata.labels));
  const labels = slice.metadata.labels ?? {};
  const service = labels[SERVICE_NAME_LABEL];
  if (service === undefined || !isDnsLabel(service) || slice.addressType === "FQDN") return undefined;
  const given: unknown = slice.endpoints ?? [];
  check("endpoints", Array.isArray(given) && given.length <= MAX_ENDPOINTS && given.every(isEndpoint));
  if (!Array.isArray(given)) return undefined;
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
  if (!isRecord(port)) return false;
  const { port: number, name, protocol, targetPort, appProtocol } = port;
  return (
    isPortNumber(number) &&
    [name, protocol].every(isShortText) &&
    // A name with a prefix.
    isText(appProtocol) &&
    String(appProtocol ?? "").length <= 317 &&
    (targetPort === undefined || targetPort === null || isPortNumber(targetPort) || isShortText(targetPort))
  );
}

function isEndpoint(endpoint: unknown): endpoint is Endpoint {
  if (!isRecord(endpoint)) return false;
  const { addresses, hostname, targetRef, conditions } = endpoint;
  return (
    Array.isArray(addresses) &&
    // No more than a name for the endpoint here; an API server takes such as 010.0.0.1 for an address.
    isName(addresses[0]) &&
    (conditions === undefined || conditions === null || isRecord(conditions)) &&
    isShortText(hostname) &&
    isShortText((targetRef as { name?: unknown } | undefined)?.name)
  );
}

function isPortNumber(value: unknown): boolean {
  return Number.isInteger(value) && Number(value) >= 1 && Number(value) <= 65_535;
}

/** Absent, or a text that could be a name. */
function isShortText(value: unknown): boolean {
  return isText(value) && (typeof value !== "string" || value.length <= 253);
}

function isName(value: unknown): boolean {
  return isShortText(value) && Boolean(value);
}

function isText(value: unknown): boolean {
  return value === undefined || value === null || typeof value === "string";
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isTexts(value: unknown): boolean {
  if (value === undefined || value === null) return true;
  return isRecord(value) && Object.values(value).every((each) => typeof each === "string");
}

/** Throws where a field of an object is not what it can be. */
function checker({ metadata }: KubeObject, kind: string, cluster: string) {
  return (field: string, holds: boolean): void => {
    if (holds) return;
    const where = `${String(metadata.namespace)}/${String(metadata.name)}`.slice(0, 200);
    const site = { cluster, method: "GET", path: "" };
    throw notAnApiServer(site, `the target sent ${kind} ${where}, whose ${field} is nothing that it can be`);
  };
}
