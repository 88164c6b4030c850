import { spawn } from "node:child_process";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { parseDocument } from "yaml";
import { $ } from "zx";
import { COMPONENT, DEFAULT_NAMESPACE, EXPORTED_LABEL } from "../../contract/index.ts";
import { kubeconfigPath, kubectlPath } from "../clusters/index.ts";
import { eventually } from "./call.ts";

const root = join(import.meta.dirname, "../..");
const folder = join(root, ".isthmus", "demo");

/** A call as the log of a gateway's ingress tells it; see docs/gateway.md. */
export interface CallSeen {
  cluster: string;
  identity: string;
  tls: string;
}

/** The demo's clusters, its declaration, and the commands that work on them. */
export class Environment {
  /** Kubeconfig with the contexts `local` and `remote`. */
  readonly kubeconfig: string;
  readonly kubectlPath: string;
  /** The demo's copy of `mesh.yaml`, so that exporting does not touch the checkout's own. */
  readonly meshFile = join(folder, "mesh.yaml");

  private constructor(kubeconfig: string, kubectl: string) {
    this.kubeconfig = kubeconfig;
    this.kubectlPath = kubectl;
  }

  static async open(): Promise<Environment> {
    return new Environment(await kubeconfigPath(), await kubectlPath());
  }

  /** `npm run clusters -- …`, its progress shown. */
  async clusters(...args: string[]): Promise<void> {
    await $({ cwd: root, stdio: "inherit" })`node scripts/clusters/main.ts ${args}`;
  }

  /** Build the images and load them into these clusters. */
  async images(...clusters: string[]): Promise<void> {
    await $({ cwd: root, stdio: "inherit" })`node scripts/images/main.ts load ${clusters}`;
  }

  /** `isthmus …` on the demo's declaration. */
  async isthmus(...args: string[]): Promise<void> {
    await $({ cwd: root, stdio: "inherit" })`node bin/isthmus.js ${args} --file ${this.meshFile}`;
  }

  /** `kubectl` in one cluster; its output, or, with `show`, on the terminal. */
  async kubectl(context: string, args: string[], show?: "show"): Promise<string> {
    const options = { cwd: root, quiet: true, ...(show && { stdio: "inherit" as const }) };
    const out = await $(
      options,
    )`${this.kubectlPath} --kubeconfig ${this.kubeconfig} --context ${context} ${args}`;
    return out.stdout;
  }

  /** Make the demo's declaration out of the checkout's `mesh.yaml`, unless an earlier run has. */
  async writeMesh(): Promise<void> {
    await mkdir(folder, { recursive: true });
    try {
      await readFile(this.meshFile);
    } catch {
      const document = parseDocument(await readFile(join(root, "mesh.yaml"), "utf8"));
      document.set("kubeconfig", this.kubeconfig);
      await writeFile(this.meshFile, String(document));
    }
  }

  /** Apply one of the files beside this one, and wait until its Deployments are rolled out. */
  async deploy(context: string, file: string, deployments: string[]): Promise<void> {
    await this.kubectl(context, ["apply", "-f", join(import.meta.dirname, "workloads", file)], "show");
    for (const name of deployments) {
      await this.kubectl(context, ["rollout", "status", `deployment/${name}`, "--timeout=180s"]);
    }
  }

  /** Whether the Service is exported already. */
  async exported(service: string): Promise<boolean> {
    return (await this.kubectl("remote", ["get", "service", service, "-o", exportedLabel])).trim() === "true";
  }

  /** The moment, in milliseconds, at which the watched Service gets the label of an exported one. */
  untilExported(service: string): Promise<number> {
    const args = ["--kubeconfig", this.kubeconfig, "--context", "remote"];
    args.push("get", "service", service, "--watch", "-o", `${exportedLabel}{"\\n"}`);
    const watch = spawn(this.kubectlPath, args, { stdio: ["ignore", "pipe", "inherit"] });
    return new Promise((resolve, reject) => {
      watch.on("error", reject);
      watch.on("exit", (code) => reject(new Error(`watching ${service} in remote ended with code ${code}`)));
      createInterface(watch.stdout).on("line", (line) => {
        if (line.trim() !== "true") return;
        resolve(Date.now());
        watch.kill();
      });
    });
  }

  /** The last call to a service that the gateway of `cluster` let in. */
  async lastCallSeen(cluster: string, service: string): Promise<CallSeen> {
    const selector = `app.kubernetes.io/component=${COMPONENT.ingress}`;
    return eventually(`the call to ${service} in the log of the gateway of ${cluster}`, async () => {
      const log = await this.kubectl(cluster, [
        ...["--namespace", DEFAULT_NAMESPACE, "logs", "--selector", selector],
        ...["--container", "haproxy", "--tail", "200"],
      ]);
      const calls = log.split("\n").flatMap((line) => {
        try {
          return [JSON.parse(line)];
        } catch {
          return []; // HAProxy's own notices stand between the calls
        }
      });
      const call = calls.findLast((entry) => String(entry.sni).startsWith(`${service}-8888-`));
      return call && { cluster, identity: call.identity, tls: call.tls };
    });
  }

  /** Remove what the demo keeps on this machine: its declaration, and the state of its stacks. */
  async forget(): Promise<void> {
    await rm(folder, { recursive: true, force: true });
  }
}

const exportedLabel = `jsonpath={.metadata.labels.${EXPORTED_LABEL.replaceAll(".", "\\.")}}`;
