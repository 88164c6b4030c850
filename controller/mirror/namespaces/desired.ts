import {
  CLUSTER_NAME_LABEL,
  CREATED_BY_LABEL,
  MANAGED_BY_LABEL,
  MANAGER,
  MIRRORED_LABEL,
} from "../../../contract/index.ts";
import type { Namespace } from "../../kube/objects.ts";

/** The namespace that is made where services of a cluster want one that is not there. */
export function desiredNamespace(name: string, cluster: string, isthmus: string): Namespace {
  return {
    apiVersion: "v1",
    kind: "Namespace",
    metadata: {
      name,
      labels: {
        [MIRRORED_LABEL]: "true",
        [CLUSTER_NAME_LABEL]: cluster,
        [MANAGED_BY_LABEL]: MANAGER,
        [CREATED_BY_LABEL]: isthmus,
      },
    },
  };
}

/**
 * Whether the Isthmus of a namespace made this one. By that label alone: whoever takes it away has made the namespace
 * theirs, for ever.
 */
export function isMadeBy(isthmus: string, namespace: Namespace): boolean {
  return namespace.metadata.labels?.[CREATED_BY_LABEL] === isthmus;
}

/** Whether a namespace may have been made by an Isthmus, and was made somebody's since: a quota of ours may be left in it. */
export function isTakenOver({ metadata: { labels = {} } }: Namespace): boolean {
  return labels[CLUSTER_NAME_LABEL] !== undefined && labels[CREATED_BY_LABEL] === undefined;
}

/** The cluster for whose services a namespace was made. */
export function clusterOf(namespace: Namespace): string {
  return namespace.metadata.labels?.[CLUSTER_NAME_LABEL] ?? "";
}

/** Kubernetes keeps names with this beginning for itself. */
export function isReserved(namespace: string): boolean {
  return namespace.startsWith("kube-");
}
