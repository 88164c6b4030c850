import { CommanderError } from "commander";
import { KubeClient } from "./kube/client.ts";
import { createLog } from "./kube/log.ts";
import { loadOwnCluster } from "./kube/own-cluster.ts";
import { shutdownSignal } from "./kube/signals.ts";
import { type CommonFlags, createProgram, type Roles } from "./program.ts";

const roles: Roles = {
  async mirror({ federatedServiceSelector, excludedLabels, excludedAnnotations, ...flags }) {
    const { log, signal, client } = await start(flags);
    const { runMirror } = await import("./mirror/main.ts");
    const federatedSelector = { matchLabels: federatedServiceSelector };
    const localExclusions = { excludedLabels, excludedAnnotations };
    await runMirror({ ...flags, federatedSelector, localExclusions, client, log }, signal);
    await client.close();
  },

  async gateway({ drainTimeout, ...flags }) {
    const { runGateway } = await import("./gateway/index.ts");
    const options = {
      ...flags,
      drainTimeoutMs: drainTimeout === undefined ? undefined : drainTimeout * 1000,
    };
    if (flags.init) {
      const log = createLog({ level: flags.logLevel, format: flags.logFormat });
      return await runGateway({ ...options, log }, shutdownSignal(log));
    }
    const { log, signal, client } = await start(flags);
    await runGateway({ ...options, log, client }, signal);
    await client.close();
  },

  async identity(flags) {
    const { log, signal, client } = await start(flags);
    const { runIdentity } = await import("./identity/main.ts");
    await runIdentity({ ...flags, client, log }, signal);
    await client.close();
  },
};

/** What every role needs. */
async function start(flags: CommonFlags) {
  const log = createLog({ level: flags.logLevel, format: flags.logFormat });
  const credentials = await loadOwnCluster({ kubeconfig: flags.kubeconfig, context: flags.context });
  const client = new KubeClient({ cluster: flags.context ?? "own", credentials });
  return { log, client, signal: shutdownSignal(log) };
}

/** Exit code: 0 when stopped or done, 1 for failures, 2 for a command line that cannot be. */
async function main(): Promise<number> {
  try {
    await createProgram(roles).parseAsync();
    return 0;
  } catch (error) {
    // Commander has said what was wrong; the code of `--help` is 0.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    process.stderr.write(`isthmus-controller: ${error instanceof Error ? error.message : String(error)}\n`);
    return 1;
  }
}

process.exit(await main());
