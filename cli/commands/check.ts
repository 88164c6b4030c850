import type { Command } from "commander";
import { loadMesh, planStacks, preflight } from "../../stacks/automation.ts";
import { ExitCode } from "../exit.ts";
import type { Terminal } from "../terminal.ts";

const EXAMPLES = `
Examples:
  $ isthmus check
  $ isthmus check --offline      only the file, no cluster: for a pre-commit hook`;

export function checkCommand(program: Command, terminal: Terminal, exit: (code: ExitCode) => void): void {
  program
    .command("check")
    .description(
      "check the declaration, and whether its clusters answer and have the services that they export",
    )
    .option("-f, --file <path>", "the declaration of the mesh", "mesh.yaml")
    .option("--offline", "check the file only")
    .option("--verbose", "say where in the code an error happened")
    .addHelpText("after", EXAMPLES)
    .action(async ({ file, offline }: { file: string; offline?: boolean }) => {
      const { out, style } = terminal;
      const mesh = loadMesh(file);
      const stacks = planStacks(mesh).length;
      out(
        `${style.good("ok")}  ${file}: mesh ${mesh.name}, ${mesh.clusters.length} clusters, ${stacks} stacks`,
      );
      if (offline !== true) {
        await preflight(mesh);
        for (const { name, context } of mesh.clusters)
          out(`${style.good("ok")}  cluster ${name} answers (context ${context})`);
        for (const { cluster, namespace, service } of mesh.exports) {
          out(`${style.good("ok")}  Service ${namespace}/${service} of ${cluster} is there to export`);
        }
      }
      exit(ExitCode.ok);
    });
}
