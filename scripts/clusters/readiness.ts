import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import type { ApiAnswer, ApiClient } from "./api.ts";
import { CONTAINERD_SOCKET } from "./containerd.ts";
import { dnsAnswers } from "./dns.ts";
import { ClusterError } from "./errors.ts";
import { type Daemon, findDaemon, pathInside, runningDaemons, type Sandbox } from "./sandbox.ts";
import { waitFor } from "./waiting.ts";

/** A cluster whose parts are waited for. */
export interface StartingCluster {
  name: string;
  /** Its directory. */
  state: string;
  sandbox: Sandbox;
  /** What must keep running while it is waited for. */
  daemons: readonly Daemon[];
}

/** Wait until the API server is ready, and pods could be created in the namespace `default` where controllers run. */
export async function waitForApi(cluster: StartingCluster, api: ApiClient): Promise<void> {
  await waitWhileRunning(
    cluster,
    "its API server to be ready",
    async () => (await api.get("/readyz"))?.status === 200,
    () => api.lastFailure,
  );
}

/** Wait until the controllers have made what every namespace starts with. */
export async function waitForControllers(cluster: StartingCluster, api: ApiClient): Promise<void> {
  const path = "/api/v1/namespaces/default/serviceaccounts/default";
  await waitWhileRunning(cluster, "its controllers", async () => (await api.get(path))?.status === 200);
}

/** Wait until containerd takes connections. */
export async function waitForContainerd(cluster: StartingCluster): Promise<void> {
  const socket = pathInside(cluster.sandbox, CONTAINERD_SOCKET);
  await waitWhileRunning(cluster, "its containerd", () => takesConnections(socket));
}

/** Wait until the node is ready, Services are routed, and the DNS server answers. */
export async function waitForNode(
  cluster: StartingCluster,
  api: ApiClient,
  address: string,
  heartbeatAfter: Date,
): Promise<void> {
  await waitWhileRunning(cluster, "its node to be ready", async () => {
    return isNodeReady(await api.get(`/api/v1/nodes/${cluster.name}`), heartbeatAfter);
  });
  await waitWhileRunning(cluster, "kube-proxy to route Services", () => proxyIsHealthy(address));
  await waitWhileRunning(cluster, "its DNS server", () => dnsAnswers(address));
}

/** The node's word that it is ready; what it said before it was started again does not count. */
function isNodeReady(answer: ApiAnswer | undefined, heartbeatAfter: Date): boolean {
  if (answer?.status !== 200) return false;
  const node = answer.body as {
    status?: { conditions?: { type: string; status: string; lastHeartbeatTime: string }[] };
  };
  const ready = node.status?.conditions?.find((condition) => condition.type === "Ready");
  return ready?.status === "True" && new Date(ready.lastHeartbeatTime) >= heartbeatAfter;
}

async function proxyIsHealthy(address: string): Promise<boolean> {
  try {
    return (await fetch(`http://${address}:10256/healthz`, { signal: AbortSignal.timeout(1000) })).ok;
  } catch {
    // Not listening yet.
    return false;
  }
}

function takesConnections(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const connection = connect(socket);
    connection.on("connect", () => {
      connection.destroy();
      resolve(true);
    });
    connection.on("error", () => resolve(false));
  });
}

/** Wait for a condition; a daemon that ends meanwhile is an error, with what it last wrote. */
async function waitWhileRunning(
  cluster: StartingCluster,
  what: string,
  condition: () => Promise<boolean>,
  seen: () => string = () => "",
): Promise<void> {
  await waitFor(
    `${what} (cluster ${cluster.name})`,
    async () => {
      if (await condition()) return true;
      const running = runningDaemons(cluster.sandbox);
      for (const daemon of cluster.daemons) {
        if (findDaemon(daemon, running)) continue;
        throw new ClusterError(
          `${daemon.name} of cluster ${cluster.name} ended while waiting for ${what}:\n${lastLines(cluster, daemon)}\n` +
            `If its data is damaged, start over: npm run clusters -- down ${cluster.name}, then up`,
        );
      }
      return false;
    },
    () => [seen(), `its logs are in ${join(cluster.state, "log")}`].filter((text) => text !== "").join("; "),
  );
}

/** What a daemon wrote last: of a crash not the stack, but what it says of its reason. */
function lastLines(cluster: StartingCluster, daemon: Daemon): string {
  const lines = readFileSync(join(cluster.state, "log", `${daemon.name}.log`), "utf8")
    .trimEnd()
    .split("\n")
    .slice(-200);
  const reasons = lines.filter((line) =>
    /^panic: |^[EF]\d{4} |"level":"(error|fatal|panic)"|\berror:/i.test(line),
  );
  return (reasons.length > 0 ? reasons : lines).slice(-5).join("\n");
}
