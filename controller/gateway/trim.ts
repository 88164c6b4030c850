import { type Link, SERVICE_NAME_LABEL } from "../../contract/index.ts";
import type { Endpoint, EndpointSlice, KubeObject, ObjectMeta, Service } from "../kube/objects.ts";
import { isGone } from "./host-routes.ts";

/** What pictures are made of; the rest need not be kept, and is no reason to draw one anew. */

export function trimService({ apiVersion, kind, metadata, spec }: Service): Service {
  return {
    apiVersion,
    kind,
    metadata,
    ...(spec && {
      spec: {
        ...(spec.type !== undefined && { type: spec.type }),
        ...(spec.clusterIP !== undefined && { clusterIP: spec.clusterIP }),
        ...(spec.ports !== undefined && { ports: spec.ports }),
      },
    }),
  };
}

/** Without endpoints that are gone; whether the others are ready is nothing to a gateway. */
export function trimSlice(slice: EndpointSlice): EndpointSlice {
  const { apiVersion, kind, metadata, addressType, endpoints = [], ports } = slice;
  return {
    apiVersion,
    kind,
    metadata: trimSliceMetadata(metadata),
    addressType,
    endpoints: endpoints.filter((endpoint) => !isGone(endpoint)).map(trimEndpoint),
    ...(ports && { ports: ports.map(({ name, protocol, port }) => ({ name, protocol, port })) }),
  } as EndpointSlice;
}

/** An annotation of slices tells the time of what last changed them. */
function trimSliceMetadata({ namespace, name, uid, resourceVersion, labels }: ObjectMeta): ObjectMeta {
  const service = labels?.[SERVICE_NAME_LABEL];
  return {
    name,
    ...(namespace !== undefined && { namespace }),
    ...(uid !== undefined && { uid }),
    ...(resourceVersion !== undefined && { resourceVersion }),
    ...(service !== undefined && { labels: { [SERVICE_NAME_LABEL]: service } }),
  };
}

function trimEndpoint({ addresses, hostname, targetRef, conditions }: Endpoint): Endpoint {
  return {
    addresses: addresses.slice(0, 1),
    ...(hostname !== undefined && { hostname }),
    ...(targetRef?.kind === "Pod" && { targetRef: { kind: "Pod", name: targetRef.name ?? "" } }),
    ...(conditions?.terminating && { conditions: { terminating: true } }),
  };
}

/** Whether the target's gateways answer is nothing to an egress either: HAProxy asks them itself. */
export function trimLink({ apiVersion, kind, metadata, spec, status }: Link): Link {
  const gateways = status?.gateways?.map(({ addresses, ...gateway }) => ({
    ...gateway,
    addresses: addresses.map(({ address }) => ({ address, alive: true })),
  }));
  return { apiVersion, kind, metadata, spec, ...(gateways && { status: { gateways } }) };
}

/** Whether two states of an object differ in nothing but what the API server keeps account of. */
export function isSameContent(a: KubeObject, b: KubeObject): boolean {
  return content(a) === content(b);
}

function content({ metadata, ...rest }: KubeObject): string {
  const { resourceVersion, generation, ...kept }: ObjectMeta = metadata;
  return JSON.stringify([kept, rest]);
}
