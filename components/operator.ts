import type { CoreV1Api, KubeConfig } from "@kubernetes/client-node";

/** How an operator reaches a cluster. */
export interface OperatorAccess {
  /** A kubeconfig file. Absent: KUBECONFIG, then `~/.kube/config`. */
  kubeconfig?: string | undefined;
  context: string;
}

/** The operator's kubeconfig, at the context. The client is loaded only now: it takes long, and previews do without. */
export async function operatorConfig(access: OperatorAccess): Promise<KubeConfig> {
  const { KubeConfig } = await import("@kubernetes/client-node");
  const config = new KubeConfig();
  if (access.kubeconfig === undefined) config.loadFromDefault();
  else config.loadFromFile(access.kubeconfig);
  config.setCurrentContext(access.context);
  return config;
}

/** The core API, as the operator. */
export async function coreApi(access: OperatorAccess): Promise<CoreV1Api> {
  const { CoreV1Api } = await import("@kubernetes/client-node");
  return (await operatorConfig(access)).makeApiClient(CoreV1Api);
}

/** What went wrong with a call to an API server, as short as it can be said. */
export function reasonOf(error: unknown): string {
  const { body, cause, message } = error as { body?: unknown; cause?: unknown; message?: string };
  const answer =
    typeof body === "string" ? messageIn(body) : (body as { message?: string } | undefined)?.message;
  if (answer) return answer;
  // A failed fetch says why only in its cause, and a cause of several only in its first.
  const deeper = (cause as { errors?: unknown[] } | undefined)?.errors?.[0] ?? cause;
  return deeper ? reasonOf(deeper) : message || String((error as { code?: string }).code ?? error);
}

/** The message of a Status, as an API server answers with; the text itself where it is none. */
function messageIn(body: string): string {
  try {
    return (JSON.parse(body) as { message?: string }).message ?? body;
  } catch {
    return body;
  }
}
