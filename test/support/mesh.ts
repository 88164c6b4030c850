import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { stringify } from "yaml";
import { $, type ProcessOutput } from "zx";
import { COMPONENT, COMPONENT_LABEL, DEFAULT_NAMESPACE } from "../../contract/index.ts";
import { kubeconfigPath, kubectlPath } from "../../scripts/clusters/index.ts";
import { eventually } from "./wait.ts";

const root = join(import.meta.dirname, "../..");

/** A mesh over the local clusters `east` and `west`, brought up by the command line as a user would. */
export class TestMesh {
  readonly #folder: string;
  readonly #kubectl: string;
  readonly kubeconfig: string;

  private constructor(folder: string, kubectl: string, kubeconfig: string) {
    this.#folder = folder;
    this.#kubectl = kubectl;
    this.kubeconfig = kubeconfig;
  }

  /** @param folder where `mesh.yaml` and the state go. */
  static async at(folder: string): Promise<TestMesh> {
    return new TestMesh(folder, await kubectlPath(), await kubeconfigPath());
  }

  get file(): string {
    return join(this.#folder, "mesh.yaml");
  }

  /** Write `mesh.yaml`: both clusters, every link, and what `more` adds or replaces. */
  async declare(more: object = {}): Promise<void> {
    const gateway = { exposure: "NodePort" };
    const mesh = {
      name: "test",
      trustDomain: "test.mesh",
      kubeconfig: this.kubeconfig,
      images: { controller: "isthmus-controller:dev", haproxy: "isthmus-haproxy:dev", pullPolicy: "Never" },
      clusters: [
        { name: "east", gateway },
        { name: "west", gateway },
      ],
      topology: "full-mesh",
      ...more,
    };
    await writeFile(this.file, stringify(mesh));
  }

  /** `isthmus … --file mesh.yaml`, whatever its exit code. */
  isthmus(...args: string[]): Promise<ProcessOutput> {
    return $({ cwd: root, nothrow: true, quiet: true })`node bin/isthmus.js ${args} --file ${this.file}`;
  }

  /** `kubectl` in one of the clusters: its output, or an error with what it said. */
  async kubectl(cluster: string, ...args: string[]): Promise<string> {
    const run = await this.tryKubectl(cluster, ...args);
    if (run.exitCode === 0) return run.stdout;
    throw new Error(
      `kubectl --context ${cluster} ${args.join(" ")} ended with ${run.exitCode}: ${run.stderr}`,
    );
  }

  /** `kubectl`, whatever its exit code. */
  tryKubectl(cluster: string, ...args: string[]): Promise<ProcessOutput> {
    const at = ["--kubeconfig", this.kubeconfig, "--context", cluster];
    return $({ cwd: root, nothrow: true, quiet: true })`${this.#kubectl} ${at} ${args}`;
  }

  /** Apply objects given as JSON. */
  async apply(cluster: string, ...objects: object[]): Promise<void> {
    const list = JSON.stringify({ apiVersion: "v1", kind: "List", items: objects });
    const at = ["--kubeconfig", this.kubeconfig, "--context", cluster];
    await $({ cwd: root, quiet: true, input: list })`${this.#kubectl} ${at} apply -f -`;
  }

  async get<T>(cluster: string, ...args: string[]): Promise<T> {
    return JSON.parse(await this.kubectl(cluster, "get", ...args, "-o", "json"));
  }

  /**
   * The access log of a cluster's ingress, an entry a call.
   *
   * @param pods labels of the ingress' pods @default those of the cluster's own
   */
  async ingressLog(cluster: string, pods = `${COMPONENT_LABEL}=${COMPONENT.ingress}`): Promise<CallSeen[]> {
    const of = ["-n", DEFAULT_NAMESPACE, "-l", pods, "-c", "haproxy", "--tail", "-1"];
    const log = await this.kubectl(cluster, "logs", ...of);
    return log
      .split("\n")
      .filter((line) => line.startsWith("{"))
      .map((line) => JSON.parse(line));
  }

  /** `curl` in the pod of the Deployment `caller`; its output, or undefined when it fails. */
  async curl(cluster: string, url: string): Promise<string | undefined> {
    const run = await this.tryCurl(cluster, url);
    return run.exitCode === 0 ? run.stdout : undefined;
  }

  /** The same, whatever its exit code; what curl has to say of a failure is in `stderr`. */
  tryCurl(cluster: string, url: string): Promise<ProcessOutput> {
    return this.tryKubectl(cluster, "exec", "deploy/caller", "--", "curl", "-sSf", "-m", "5", url);
  }
}

/** A call as the ingress of a gateway tells it; `docs/gateway.md` has all of it. */
export interface CallSeen {
  source?: string;
  identity?: string;
  tls?: string;
  sni?: string;
  route?: string;
}

/** A Deployment of the demo's server, which answers on 8888 with `payload`, and, unless it only calls, its Service. */
export function workload(name: string, payload: string, kind: "server" | "caller" = "server"): object[] {
  const labels = { app: name };
  const container = {
    name: "main",
    image: "isthmus-demo:dev",
    imagePullPolicy: "Never",
    env: [{ name: "PAYLOAD", value: payload }],
    readinessProbe: { httpGet: { path: "/", port: 8888 }, periodSeconds: 1 },
  };
  const deployment = {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name, namespace: "default" },
    spec: {
      selector: { matchLabels: labels },
      template: {
        metadata: { labels },
        spec: { terminationGracePeriodSeconds: 1, containers: [container] },
      },
    },
  };
  const service = {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name, namespace: "default" },
    spec: { selector: labels, ports: [{ name: "http", port: 8888 }] },
  };
  return kind === "server" ? [deployment, service] : [deployment];
}

/** A StatefulSet of the demo's server, whose pods answer on 8888 with their names, and its headless Service. */
export function statefulWorkload(name: string, replicas: number, serviceLabels: object): object[] {
  const labels = { app: name };
  const [deployment] = workload(name, "", "caller") as [{ spec: { template: PodTemplate } }];
  const { template } = deployment.spec;
  const ownName = { name: "PAYLOAD", valueFrom: { fieldRef: { fieldPath: "metadata.name" } } };
  const containers = template.spec.containers.map((container) => ({ ...container, env: [ownName] }));
  return [
    {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name, namespace: "default", labels: serviceLabels },
      spec: { clusterIP: "None", selector: labels, ports: [{ name: "http", port: 8888 }] },
    },
    {
      apiVersion: "apps/v1",
      kind: "StatefulSet",
      metadata: { name, namespace: "default" },
      spec: {
        serviceName: name,
        replicas,
        podManagementPolicy: "Parallel",
        selector: { matchLabels: labels },
        template: { ...template, spec: { ...template.spec, containers } },
      },
    },
  ];
}

interface PodTemplate {
  spec: { containers: object[] };
}

/** Wait a minute at most for something to be there, or to be true. */
export async function until<T>(condition: () => Promise<T>, what: string) {
  try {
    return await eventually(condition);
  } catch (error) {
    throw new Error(`waited for ${what}: ${error instanceof Error ? error.message : error}`);
  }
}
