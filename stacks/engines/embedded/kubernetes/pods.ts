/** Why a Deployment does not come up, from its pods: what a user would ask kubectl next. */
import type { Client, KubeObject } from "./client.ts";

interface ContainerStatus {
  name: string;
  state?: {
    waiting?: { reason?: string; message?: string };
    terminated?: { reason?: string; exitCode?: number };
  };
}

interface PodStatus {
  conditions?: { type: string; status: string; message?: string }[];
  containerStatuses?: ContainerStatus[];
  initContainerStatuses?: ContainerStatus[];
}

const MOST = 3;

/** A few lines about the object's pods; none when it has no pods or they cannot be read. */
export async function podTrouble(client: Client, object: KubeObject): Promise<string[]> {
  const selector = (object.spec as { selector?: { matchLabels?: Record<string, string> } } | undefined)
    ?.selector;
  if (object.kind !== "Deployment" || selector?.matchLabels === undefined) return [];
  const namespace = object.metadata?.namespace ?? client.namespace;
  try {
    const labelSelector = Object.entries(selector.matchLabels)
      .map(([key, value]) => `${key}=${value}`)
      .join(",");
    const pods = await client.request({
      method: "GET",
      path: `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods`,
      query: { labelSelector },
    });
    const texts = (pods.items as KubeObject[]).flatMap(troubleOf);
    return [...new Set(texts)].slice(0, MOST);
  } catch (error) {
    return [`its pods cannot be read: ${(error as Error).message}`];
  }
}

export function troubleOf(pod: KubeObject): string[] {
  const status = (pod.status ?? {}) as PodStatus;
  const unscheduled = (status.conditions ?? [])
    .filter(({ type, status: value }) => type === "PodScheduled" && value === "False")
    .map(({ message }) => `pod ${pod.metadata?.name} is not scheduled: ${message ?? "no reason given"}`);
  const containers = [...(status.initContainerStatuses ?? []), ...(status.containerStatuses ?? [])].flatMap(
    ({ name, state }) => {
      const where = `container ${name} of pod ${pod.metadata?.name}`;
      if (state?.waiting !== undefined && state.waiting.reason !== "PodInitializing") {
        return [
          `${where} is waiting: ${[state.waiting.reason, state.waiting.message].filter(Boolean).join(", ")}`,
        ];
      }
      if (state?.terminated !== undefined && state.terminated.exitCode !== 0) {
        return [
          `${where} ended with code ${state.terminated.exitCode} (${state.terminated.reason ?? "no reason given"})`,
        ];
      }
      return [];
    },
  );
  return [...unscheduled, ...containers];
}
