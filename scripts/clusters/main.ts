import { Command, CommanderError } from "commander";
import { clustersDown, clustersUp, kubeconfigPath, statusOfClusters } from "./clusters.ts";
import type { ClusterStatus } from "./driver.ts";
import { messageOf, UsageError } from "./errors.ts";

/** `npm run clusters -- …`: local Kubernetes clusters of this checkout. See docs/local-clusters.md. */
const program = new Command("clusters")
  .description(
    "Local Kubernetes clusters of this checkout: in kind where a Docker engine answers, else on Linux as root",
  )
  .exitOverride();

program
  .command("up")
  .description("start clusters, or whatever is missing of them")
  .argument("<names...>", "names of clusters; also the names of their contexts in the kubeconfig")
  .option("--control-plane-only", "no nodes: API servers and controllers, but no pods", false)
  .action(async (names: string[], options: { controlPlaneOnly: boolean }) => {
    await clustersUp(names, options);
    console.error(`KUBECONFIG=${await kubeconfigPath()}`);
  });

program
  .command("down")
  .description("remove clusters, all of them unless some are named")
  .argument("[names...]")
  .action((names: string[]) => clustersDown(names.length > 0 ? names : undefined));

program
  .command("status")
  .description("say what there is")
  .option("--json", "as JSON", false)
  .action(async ({ json }: { json: boolean }) => {
    const clusters = await statusOfClusters();
    if (json) console.log(JSON.stringify(clusters, undefined, 2));
    else console.log(clusters.length > 0 ? clusters.map(line).join("\n") : "no clusters");
  });

program
  .command("kubeconfig")
  .description("print the path of the administrator's kubeconfig of that one cluster")
  .argument("<name>")
  .action(async (name: string) => console.log(await kubeconfigPath(name)));

function line(cluster: ClusterStatus): string {
  const what = cluster.controlPlaneOnly ? "control plane only" : "with a node";
  const lacking = cluster.missing.length > 0 ? `, not running: ${cluster.missing.join(", ")}` : "";
  return `${cluster.name}\t${cluster.state} (${cluster.driver}, ${what}${lacking})\t${cluster.apiServer ?? ""}`;
}

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    // Commander has said what is wrong; help that was asked for is no error.
    process.exitCode = error.exitCode === 0 ? 0 : 2;
  } else {
    console.error(messageOf(error));
    process.exitCode = error instanceof UsageError ? 2 : 1;
  }
}
