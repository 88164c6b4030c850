/** When an object that was applied counts as done. Pure. */
import type { KubeObject } from "./client.ts";

export type Readiness =
  | { state: "ready" }
  /** Not yet; `why` is what is missing, in words. */
  | { state: "waiting"; why: string }
  /** It will not become ready by itself. */
  | { state: "failed"; why: string };

interface Condition {
  type: string;
  status: string;
  reason?: string;
  message?: string;
}

type Check = (object: KubeObject) => Readiness;

const ready: Readiness = { state: "ready" };
const waiting = (why: string): Readiness => ({ state: "waiting", why });

const CHECKS: Record<string, Check> = {
  Namespace: (object) => {
    const phase = field(object, "status").phase;
    return phase === "Active" ? ready : waiting(`its phase is ${phase ?? "not known"}, not Active`);
  },
  Deployment: rolledOut,
  Service: (object) => {
    if (field(object, "spec").type !== "LoadBalancer") return ready;
    const balancer = field(object, "status").loadBalancer as { ingress?: unknown[] } | undefined;
    if ((balancer?.ingress?.length ?? 0) > 0) return ready;
    return waiting("no load balancer has given it an address (does this cluster have one?)");
  },
  Secret: (object) => {
    if (object.type !== "kubernetes.io/service-account-token") return ready;
    const token = (object.data as Record<string, string> | undefined)?.token;
    return token === undefined ? waiting("the cluster has not put a token in it") : ready;
  },
  CustomResourceDefinition: (object) => {
    const names = condition(object, "NamesAccepted");
    if (names?.status === "False") return { state: "failed", why: names.message ?? "its names are taken" };
    return condition(object, "Established")?.status === "True" ? ready : waiting("it is not established");
  },
};

/** Kinds whose readiness Pulumi awaits and this engine cannot tell. */
const UNKNOWN_READINESS = new Set([
  "DaemonSet",
  "Ingress",
  "Job",
  "PersistentVolume",
  "PersistentVolumeClaim",
  "Pod",
  "ReplicaSet",
  "ReplicationController",
  "StatefulSet",
]);

/** @throws Error for a kind that would have to be waited for, and that the engine does not know how to. */
export function checkReadinessKnown(kind: string): void {
  if (!UNKNOWN_READINESS.has(kind)) return;
  throw new Error(
    `the embedded engine cannot tell when a ${kind} is ready. Annotate it pulumi.com/skipAwait: "true", ` +
      "or use the Pulumi CLI (--engine pulumi)",
  );
}

export function readinessOf(object: KubeObject): Readiness {
  return CHECKS[object.kind ?? ""]?.(object) ?? ready;
}

/** As `kubectl rollout status` sees it. */
function rolledOut(object: KubeObject): Readiness {
  const spec = field(object, "spec");
  const status = field(object, "status");
  const generation = object.metadata?.generation ?? 0;
  if (((status.observedGeneration as number | undefined) ?? 0) < generation) {
    return waiting("its controller has not seen it");
  }
  const progressing = condition(object, "Progressing");
  if (progressing?.reason === "ProgressDeadlineExceeded") {
    return { state: "failed", why: progressing.message ?? "it makes no progress" };
  }
  const failure = condition(object, "ReplicaFailure");
  if (failure?.status === "True") return waiting(failure.message ?? "its pods cannot be made");
  const wanted = (spec.replicas as number | undefined) ?? 1;
  const count = (name: string) => (status[name] as number | undefined) ?? 0;
  if (count("updatedReplicas") < wanted) {
    return waiting(`${count("updatedReplicas")} of ${wanted} pods are of the new version`);
  }
  if (count("replicas") > count("updatedReplicas")) {
    return waiting(`${count("replicas") - count("updatedReplicas")} old pods are still there`);
  }
  if (count("availableReplicas") < wanted) {
    return waiting(`${count("availableReplicas")} of ${wanted} pods are available`);
  }
  return ready;
}

function field(object: KubeObject, name: "spec" | "status"): Record<string, unknown> {
  return (object[name] as Record<string, unknown> | undefined) ?? {};
}

function condition(object: KubeObject, type: string): Condition | undefined {
  return (field(object, "status").conditions as Condition[] | undefined)?.find((each) => each.type === type);
}
