import type { Command } from "commander";
import { exportService, type MeshResult, unexportService } from "../../stacks/automation.ts";
import { ExitCode } from "../exit.ts";
import { type CommonOptions, names, withCommonOptions } from "../options.ts";
import { summary } from "../render/summary.ts";
import { withProgress } from "../running.ts";
import type { Terminal } from "../terminal.ts";

interface ExportOptions extends CommonOptions {
  cluster: string;
  namespace: string;
  allowedClusters?: string[];
}

const EXPORT_EXAMPLES = `
The export is written into mesh.yaml (commit it), and the cluster's stack is brought up, so that the Service is labelled.
The mirrors appear in the linked clusters as SERVICE-CLUSTER, in the same namespace.

Examples:
  $ isthmus export backend-one-svc --cluster remote --namespace default
  $ isthmus export payments --cluster east --namespace shop --allowed-clusters west,north`;

const UNEXPORT_EXAMPLES = `
Example:
  $ isthmus unexport backend-one-svc --cluster remote --namespace default`;

export function exportCommand(program: Command, terminal: Terminal, exit: (code: ExitCode) => void): void {
  withCommonOptions(program.command("export <service>"))
    .description("let linked clusters call a service")
    .requiredOption("--cluster <name>", "the cluster that the service runs in")
    .option("-n, --namespace <name>", "the service's namespace", "default")
    .option(
      "--allowed-clusters <names>",
      "only these clusters may call it (default: all that are linked)",
      names,
    )
    .addHelpText("after", EXPORT_EXAMPLES)
    .action(async (service: string, options: ExportOptions) => {
      const { cluster, namespace, allowedClusters } = options;
      const entry = { cluster, namespace, service, ...(allowedClusters && { allowedClusters }) };
      const { ok } = await edit(terminal, options, (run) => exportService(entry, run));
      if (ok) terminal.out(`Service ${namespace}/${service} is now exported`);
      exit(ok ? ExitCode.ok : ExitCode.failure);
    });
}

export function unexportCommand(program: Command, terminal: Terminal, exit: (code: ExitCode) => void): void {
  withCommonOptions(program.command("unexport <service>"))
    .description("take an export back: the mirrors of the service go")
    .requiredOption("--cluster <name>", "the cluster that the service runs in")
    .option("-n, --namespace <name>", "the service's namespace", "default")
    .addHelpText("after", UNEXPORT_EXAMPLES)
    .action(async (service: string, options: ExportOptions) => {
      const { cluster, namespace } = options;
      const { ok, edited } = await edit(terminal, options, (run) =>
        unexportService({ cluster, namespace, service }, run),
      );
      const name = `Service ${namespace}/${service}`;
      const said = edited
        ? `${name} is not exported any more`
        : `${name} of cluster ${cluster} is not among the exports of ${options.file}: nothing to take back`;
      if (ok) terminal.out(said);
      exit(ok ? ExitCode.ok : ExitCode.failure);
    });
}

type Edit = (run: Parameters<typeof exportService>[1]) => Promise<{ edited: boolean; result: MeshResult }>;

/** @returns whether the cluster's stack came up, and whether the declaration had to be changed */
async function edit(
  terminal: Terminal,
  options: ExportOptions,
  work: Edit,
): Promise<{ ok: boolean; edited: boolean }> {
  let changed = false;
  const { result, seconds } = await withProgress(terminal, options, false, false, async (run) => {
    const { edited, result } = await work(run);
    changed = edited;
    if (edited) terminal.out(terminal.style.dim(`${options.file} was changed`));
    return result;
  });
  if (!result.ok) terminal.out(summary(result, false, seconds, terminal.style));
  return { ok: result.ok, edited: changed };
}
