import { parseArgs } from "node:util";
import { chalk, ProcessOutput } from "zx";
import { messageOf } from "../clusters/errors.ts";
import { type Answer, callThrough } from "./call.ts";
import { Environment } from "./environment.ts";
import { printTable } from "./table.ts";

/**
 * `npm run demo`: two clusters, a mesh, two services exported, and a call to each across. `-- --down` removes everything.
 * Each step finds what an earlier run left and changes nothing that is as it should be.
 */

const services = ["backend-one-svc", "backend-two-svc"];

async function up(): Promise<void> {
  const environment = await Environment.open();
  const step = steps(7);

  step("clusters `local` and `remote`");
  await environment.clusters("up", "local", "remote");

  step("images: the controller, HAProxy, the demo's own");
  await environment.images("local", "remote");

  step("isthmus up: trust anchor, controllers, gateways, links");
  await environment.writeMesh();
  await environment.isthmus("up", "--yes");

  step("workloads: two services in `remote`, a test pod in `local`");
  await environment.deploy("remote", "remote.yaml", ["backend-one", "backend-two"]);
  await environment.deploy("local", "local.yaml", ["test"]);

  step("isthmus export: both services, to every linked cluster");
  const answers: Promise<Answer>[] = [];
  for (const service of services) {
    answers.push(callThrough(environment, service));
    await environment.isthmus("export", service, "--cluster", "remote", "--namespace", "default");
  }

  step("curl from the test pod in `local`");
  const rows = await Promise.all(answers);
  console.log();
  printTable(
    ["SERVICE", "ANSWERED BY", "CLUSTER", "TLS IDENTITY SEEN BY THE GATEWAY", "EXPORT TO FIRST ANSWER"],
    rows.map((row) => [row.mirror, row.payload, row.cluster, row.identity, row.sinceExport]),
  );

  step("what is there now");
  await environment.kubectl("local", ["get", "services"], "show");
  console.log(`
${chalk.bold("Three things to try next")}

  export KUBECONFIG=${environment.kubeconfig}
  alias kubectl=${environment.kubectlPath}
  1. delete a mirror, and see it come back:
       kubectl --context local delete service backend-one-svc-remote; kubectl --context local get services
  2. ask whether the links work, and why:
       kubectl --context local -n isthmus get links; kubectl --context local -n isthmus describe link remote
  3. take a line out of the exports in the demo's mesh.yaml, and see what that would do before it is done:
       npx isthmus preview --file ${environment.meshFile}

  npm run demo -- --down removes everything.
`);
}

async function down(): Promise<void> {
  const environment = await Environment.open();
  await environment.clusters("down", "local", "remote");
  await environment.forget();
}

/** Numbered headlines: progress for steps that take minutes the first time. */
function steps(of: number): (text: string) => void {
  let at = 0;
  const started = performance.now();
  return (text) => {
    at += 1;
    const seconds = Math.round((performance.now() - started) / 1000);
    console.log(chalk.bold(`\n[${at}/${of}] ${text}`) + chalk.dim(`  (${seconds} s)`));
  };
}

const { values } = parseArgs({ options: { down: { type: "boolean", default: false } } });
try {
  await (values.down ? down() : up());
} catch (error) {
  // A command that failed has said why on the terminal; its name and exit code are what is left to say.
  const failed =
    error instanceof ProcessOutput ? `a step failed: ${error.message.trim() || error}` : messageOf(error);
  console.error(`${failed}\nWhat was done is kept: run it again to go on from here.`);
  process.exitCode = 1;
}
