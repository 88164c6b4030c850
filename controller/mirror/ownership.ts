import {
  FEDERATED_BY_LABEL,
  LINK_LABEL,
  type Link,
  linkLabelValue,
  MANAGED_BY_LABEL,
  MANAGER,
  MIRRORED_LABEL,
  SERVICE_NAME_LABEL,
} from "../../contract/index.ts";
import type { EndpointSlice, KubeObject } from "../kube/objects.ts";

/** Selects all mirrors that any Isthmus in the cluster has made, and their slices. */
export const OURS_SELECTOR = `${MANAGED_BY_LABEL}=${MANAGER},${MIRRORED_LABEL}`;

/** Selects all that was made for a Link. */
export function madeForSelector(link: Link): string {
  return `${MANAGED_BY_LABEL}=${MANAGER},${LINK_LABEL}=${linkLabelValue(link.metadata)}`;
}

/** Whether an object was made for a Link: only such objects may be changed or deleted. */
export function isMadeFor(object: KubeObject, link: Link): boolean {
  return linkLabelOf(object) === linkLabelValue(link.metadata);
}

/** The value of `isthmus.dev/link` on what we made; `undefined` on what we did not. */
export function linkLabelOf(object: KubeObject): string | undefined {
  const { labels } = object.metadata;
  return labels?.[MANAGED_BY_LABEL] === MANAGER ? labels[LINK_LABEL] : undefined;
}

/** The namespace of the Isthmus that a federated Service, or a slice of one, was made by; `undefined` for all others. */
export function federatedBy(object: KubeObject): string | undefined {
  const { labels } = object.metadata;
  return labels?.[MANAGED_BY_LABEL] === MANAGER ? labels[FEDERATED_BY_LABEL] : undefined;
}

/**
 * Keys of the mirrors that a slice could belong to: what its label says and what its owner says, since either can have
 * been edited.
 */
export function mirrorsOfSlice(slice: EndpointSlice): string[] {
  const { namespace = "", labels, ownerReferences = [] } = slice.metadata;
  const names = [labels?.[SERVICE_NAME_LABEL], ...ownerReferences.map(({ name }) => name)];
  return [...new Set(names)].filter((name) => name !== undefined).map((name) => `${namespace}/${name}`);
}
