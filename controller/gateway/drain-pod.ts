import { drain } from "./drain.ts";
import type { HaproxyMaster } from "./haproxy/master.ts";
import type { HaproxyRuntime } from "./haproxy/runtime.ts";
import { HaproxyUnreachableError } from "./haproxy/socket.ts";
import type { ResolvedGatewayOptions } from "./options.ts";
import { type WatchOptions, watchOwnSlices } from "./watches.ts";

export interface PodToDrain {
  options: ResolvedGatewayOptions;
  watchOptions: WatchOptions;
  runtime: HaproxyRuntime;
  master: HaproxyMaster;
}

/**
 * Answers the kubelet's `preStop` call when this pod can be stopped, or when it has waited long enough. An egress gets
 * calls for as long as a slice names it; the slices are watched only now, since until now nobody asked.
 */
export async function drainPod(
  pod: PodToDrain,
  signal: AbortSignal,
): Promise<{ status: number; body: string }> {
  const { options, watchOptions } = pod;
  const { direction, podIps, drainTimeoutMs, clock, log } = options;
  const ended = new AbortController();
  const slices =
    direction === "egress"
      ? watchOwnSlices({ ...watchOptions, changed: () => undefined }, podIps)
      : undefined;
  const watching = slices?.run(AbortSignal.any([signal, ended.signal]));
  try {
    const { clean, text } = await drain(
      {
        called: slices === undefined ? () => false : slices.called,
        open: () => openConnections(pod),
        timeoutMs: drainTimeoutMs,
        clock,
      },
      signal,
    );
    log[clean ? "info" : "warn"]("this pod can be stopped", { because: text });
    return { status: 200, body: `${text}\n` };
  } finally {
    ended.abort();
    await watching;
  }
}

/** An old worker lives as long as it has a connection: it counts as one. Without HAProxy, none is open. */
async function openConnections({ options, runtime, master }: PodToDrain): Promise<number> {
  try {
    const rows = await runtime.stat();
    const frontend = rows.find(({ proxy, service }) => proxy === options.direction && service === "FRONTEND");
    return (frontend?.open ?? 0) + (await master.processes()).oldWorkers.length;
  } catch (error) {
    if (error instanceof HaproxyUnreachableError) return 0;
    throw error;
  }
}
