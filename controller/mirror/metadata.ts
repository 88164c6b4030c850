import {
  ISTHMUS_PREFIX,
  type LinkSpec,
  MANAGED_BY_LABEL,
  MEMBER_PORTS_PREFIX,
  MIRROR_PREFIX,
  OPAQUE_PORTS_ANNOTATION,
} from "../../contract/index.ts";

type Metadata = Readonly<Record<string, string>>;

/** Ours and Linkerd's own: never taken over from a target, which could otherwise pass its objects off as ours. */
const RESERVED = [
  `${MIRROR_PREFIX}*`,
  `${ISTHMUS_PREFIX}*`,
  `${MEMBER_PORTS_PREFIX}*`,
  "multicluster.linkerd.io/*",
];

/**
 * Labels that other tools read as an order or as their mark of ownership. Copied, they would make the source's Argo CD
 * prune the mirror, its Flux adopt it, its kube-proxy ignore it.
 */
const FOREIGN_LABELS = [
  "app.kubernetes.io/instance",
  "argocd.argoproj.io/*",
  "endpointslice.kubernetes.io/*",
  "helm.sh/*",
  "helm.toolkit.fluxcd.io/*",
  "kubernetes.io/service-name",
  "kustomize.toolkit.fluxcd.io/*",
  "service.kubernetes.io/*",
];

/** Annotations of the same sort: what was last applied, who deployed it, load balancers and DNS names to make. */
const FOREIGN_ANNOTATIONS = [
  "argocd.argoproj.io/*",
  "cloud.google.com/*",
  "endpoints.kubernetes.io/*",
  "external-dns.alpha.kubernetes.io/*",
  "field.cattle.io/*",
  "fluxcd.io/*",
  "helm.sh/*",
  "helm.toolkit.fluxcd.io/*",
  "io.cilium/*",
  "kubectl.kubernetes.io/*",
  "kustomize.toolkit.fluxcd.io/*",
  "meta.helm.sh/*",
  "metallb.io/*",
  "metallb.universe.tf/*",
  "networking.gke.io/*",
  "pulumi.com/*",
  "service.alpha.kubernetes.io/*",
  "service.beta.kubernetes.io/*",
  "service.cilium.io/*",
  "service.kubernetes.io/*",
];

/** Whether `key` is one of `patterns`: keys, or prefixes written `example.com/*`. */
export function matchesKey(key: string, patterns: readonly string[]): boolean {
  return patterns.some((pattern) =>
    pattern.endsWith("/*") ? key.startsWith(pattern.slice(0, -1)) : key === pattern,
  );
}

/** Whether an annotation of an exported service is one that mirrors get, unless their Link excludes it. */
export function isCopiedAnnotation(key: string): boolean {
  return key === OPAQUE_PORTS_ANNOTATION || !matchesKey(key, [...RESERVED, ...FOREIGN_ANNOTATIONS]);
}

/** What a Link, or whoever has a say over a member in this cluster, excludes besides. */
export type Exclusions = Pick<LinkSpec, "excludedLabels" | "excludedAnnotations">;

/** The labels of an exported service that its mirror gets too. */
export function copiedLabels(remote: Metadata | undefined, spec: Exclusions): Record<string, string> {
  const excluded = [...RESERVED, MANAGED_BY_LABEL, ...FOREIGN_LABELS, ...(spec.excludedLabels ?? [])];
  return without(remote, (key) => matchesKey(key, excluded));
}

/** The annotations of an exported service that its mirror gets too; `config.linkerd.io/opaque-ports` always. */
export function copiedAnnotations(remote: Metadata | undefined, spec: Exclusions): Record<string, string> {
  const excluded = [...RESERVED, ...FOREIGN_ANNOTATIONS, ...(spec.excludedAnnotations ?? [])];
  return without(remote, (key) => key !== OPAQUE_PORTS_ANNOTATION && matchesKey(key, excluded));
}

/**
 * What a mirror's labels or annotations must become: exactly `desired`, but for the keys of other tools, which are never
 * copied and so were put there by a tool of the source. Those stay, or the two would undo each other for ever.
 */
export function mergedLabels(actual: Metadata | undefined, desired: Metadata): Record<string, string> {
  return { ...without(actual, (key) => !matchesKey(key, FOREIGN_LABELS)), ...desired };
}

/** As `mergedLabels`, for annotations. */
export function mergedAnnotations(actual: Metadata | undefined, desired: Metadata): Record<string, string> {
  return { ...without(actual, (key) => !matchesKey(key, FOREIGN_ANNOTATIONS)), ...desired };
}

/** Whether two sets of labels or annotations are the same; none is as good as empty. */
export function sameMetadata(a: Metadata | undefined, b: Metadata | undefined): boolean {
  const left = Object.entries(a ?? {});
  return left.length === Object.keys(b ?? {}).length && left.every(([key, value]) => b?.[key] === value);
}

function without(metadata: Metadata | undefined, drop: (key: string) => boolean): Record<string, string> {
  return Object.fromEntries(Object.entries(metadata ?? {}).filter(([key]) => !drop(key)));
}
