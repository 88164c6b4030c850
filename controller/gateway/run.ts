import { watch } from "node:fs";
import { dirname } from "node:path";
import { Registry } from "prom-client";
import { isDnsName } from "../../contract/index.ts";
import { AdminServer } from "../kube/admin.ts";
import type { KubeClient } from "../kube/client.ts";
import { Initialized } from "../kube/initialized.ts";
import type { Log } from "../kube/log.ts";
import { GatewayAgent } from "./agent.ts";
import { Applier } from "./apply.ts";
import { drainPod } from "./drain-pod.ts";
import { gatewayFiles } from "./files.ts";
import { writeFirstConfiguration } from "./first-configuration.ts";
import { HaproxyMaster } from "./haproxy/master.ts";
import { HaproxyRuntime } from "./haproxy/runtime.ts";
import { readMaterial } from "./material.ts";
import { GatewayMetrics } from "./metrics.ts";
import { type GatewayOptions, type ResolvedGatewayOptions, resolveOptions } from "./options.ts";
import { egressSettings, ingressSettings } from "./settings.ts";
import { type WatchOptions, watchForEgress, watchForIngress } from "./watches.ts";

/** How often HAProxy is asked for its counts, and whether it is there at all. */
const OBSERVE_MS = 2_000;

/**
 * The role `gateway`: keeps the HAProxy beside it doing what this cluster's objects say, until `signal` is aborted. With
 * `init` it writes a configuration that starts, and returns.
 *
 * @throws Error when an option cannot be, when the admin port is taken, and with `init` when the certificate is not sound
 */
export async function runGateway(options: GatewayOptions, signal: AbortSignal): Promise<void> {
  const resolved = resolveOptions(options);
  if (!isDnsName(resolved.identity))
    throw new Error(`--identity ${JSON.stringify(resolved.identity)} is no DNS name`);
  if (resolved.init) return writeFirstConfiguration(resolved);
  if (options.client === undefined)
    throw new Error("the gateway's agent needs access to its cluster's API server");
  await runAgent(resolved, options.client, signal);
}

async function runAgent(
  options: ResolvedGatewayOptions,
  client: KubeClient,
  signal: AbortSignal,
): Promise<void> {
  const { direction, clock, log } = options;
  const files = gatewayFiles(options.haproxyDirectory);
  const runtime = new HaproxyRuntime(files.runtimeSocket);
  const master = new HaproxyMaster(files.masterSocket, { clock });
  const registry = new Registry();
  const metrics = new GatewayMetrics(registry, direction);
  const observe = async () => metrics.observe(await runtime.stat());

  const watchOptions: WatchOptions = {
    client,
    namespace: options.namespace,
    changed: () => agent.changed(),
    clock,
    log,
  };
  const watches =
    direction === "ingress"
      ? watchForIngress(watchOptions, ingressSettings(options))
      : watchForEgress(watchOptions, egressSettings(options));
  const agent: GatewayAgent = new GatewayAgent({
    applier: new Applier({ files, runtime, master, beforeReload: observe, clock, log }),
    picture: watches.picture,
    readMaterial: () => readMaterial(options),
    onApplied: (...what) => metrics.applied(...what),
    onError: () => metrics.failed(),
    clock,
    log,
  });

  const admin = new AdminServer({
    address: options.adminAddress,
    registry,
    initialized: new Initialized(),
    notReady: () => agent.notReady(),
    log,
  });
  admin.state("gateway", () => ({ direction, ...agent.state() }));
  admin.state("watches", () => watches.state());
  // Both containers of the pod ask, and anybody else may: there is one answer for all.
  let draining: ReturnType<typeof drainPod> | undefined;
  admin.route("/drain", () => {
    draining ??= drainPod({ options, watchOptions, runtime, master }, signal).finally(() => {
      draining = undefined;
    });
    return draining;
  });
  await admin.listen();
  const mounted = [options.certificateDirectory, dirname(options.trustBundle)];
  const unwatch = watchFiles(mounted, log, () => agent.changed());
  try {
    await Promise.all([
      watches.run(signal),
      agent.run(signal),
      observeHaproxy(observe, agent, options, signal),
    ]);
  } finally {
    unwatch();
    await admin.close();
  }
}

/**
 * The kubelet exchanges a mounted volume by renaming a link in its directory; that wakes a watch on the directory. Where
 * the watch fails, the agent's regular look at the files has to do.
 */
function watchFiles(directories: readonly string[], log: Log, changed: () => void): () => void {
  const watchers = directories.map((directory) =>
    watch(directory, changed).on("error", (error) =>
      log.warn("files are watched no longer", { directory, error }),
    ),
  );
  return () => {
    for (const watcher of watchers) watcher.close();
  };
}

/** Takes over what HAProxy counts. Where HAProxy is gone, the agent learns of it by trying, and tries until it is back. */
async function observeHaproxy(
  observe: () => Promise<void>,
  agent: GatewayAgent,
  { clock, log }: ResolvedGatewayOptions,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    await clock.sleep(OBSERVE_MS, signal);
    if (agent.notReady().length > 0) continue;
    try {
      await observe();
    } catch (error) {
      log.debug("HAProxy could not be asked for its counts", { error });
      agent.changed();
    }
  }
}
