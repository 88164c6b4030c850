import { existsSync } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import { parse, stringify } from "yaml";
import { $ } from "zx";
import { API_PORT, POD_CIDR, SERVICE_CIDR } from "./addresses.ts";
import { ApiClient } from "./api.ts";
import { checkoutId, clusterDirectory, clusterId, clusterKubeconfig, clustersDirectory } from "./checkout.ts";
import type { ClusterStatus, Driver } from "./driver.ts";
import { ClusterError, UsageError } from "./errors.ts";
import {
  type Kubeconfig,
  peerServerOf,
  readKubeconfig,
  singleKubeconfig,
  writeKubeconfig,
} from "./kubeconfig.ts";
import { findCommand } from "./packages.ts";
import type { Progress } from "./progress.ts";

import { waitFor } from "./waiting.ts";

/** A container's host name has at most 63 characters, and kind's names for nodes end like this. */
const NODE_SUFFIX = "-control-plane";
const MANIFESTS = "/etc/kubernetes/manifests";
const API_MANIFEST = "kube-apiserver.yaml";

/** Runs a command without showing it; failing is an answer. */
const ask = $({ quiet: true, nothrow: true, stdio: ["ignore", "pipe", "pipe"] });

/** A node of kind, as Docker shows its container. */
interface NodeContainer {
  running: boolean;
  /** Where the other clusters' nodes and pods reach it; empty while it does not run. */
  address: string;
}

/** Clusters of one node each, made by the command `kind` in containers of a Docker engine. */
export class KindDriver implements Driver {
  readonly name = "kind";
  readonly #root: string;
  readonly #checkout: string;

  /** @param root the checkout that the clusters belong to. */
  constructor(root: string) {
    this.#root = root;
    this.#checkout = checkoutId(root);
  }

  async up(names: readonly string[], _options: object, progress: (name: string) => Progress): Promise<void> {
    checkKind();
    for (const name of names) this.#checkLength(name);
    // One after the other: the first fetches the node's image, and makes the network, for all.
    for (const name of names) await this.#start(name, progress(name));
  }

  async down(names: readonly string[], progress: (name: string) => Progress): Promise<void> {
    checkKind();
    for (const name of names) {
      const tell = progress(name);
      await run("kind", "delete", "cluster", "--name", this.#id(name));
      await rm(clusterDirectory(this.#root, name), { recursive: true, force: true });
      tell("is down");
    }
    if ((await this.list()).length > 0) return;
    await rm(clustersDirectory(this.#root), { recursive: true, force: true });
  }

  async list(): Promise<string[]> {
    checkKind();
    const prefix = clusterId(this.#checkout, "");
    const ids = (await run("kind", "get", "clusters")).split("\n");
    return ids.filter((id) => id.startsWith(prefix)).map((id) => id.slice(prefix.length));
  }

  async status(name: string): Promise<ClusterStatus> {
    const config = await readKubeconfig(clusterKubeconfig(this.#root, name));
    const container = await this.#node(name);
    const missing: string[] = [];
    if (!config || !container?.running) missing.push("node");
    else if (!(await this.#hasApiServer(name))) missing.push("kube-apiserver");
    const apiServer = config && peerServerOf(config);
    return {
      name,
      driver: "kind",
      state: missing.length === 0 ? "running" : "incomplete",
      controlPlaneOnly: false,
      ...(apiServer && { apiServer }),
      ...(container?.address && { nodeAddress: container.address }),
      missing,
    };
  }

  async loadImage(name: string, archive: string): Promise<void> {
    await run("kind", "load", "image-archive", archive, "--name", this.#id(name));
  }

  /** The API server is a pod that the kubelet runs as long as its manifest is there. */
  async stopApiServer(name: string): Promise<void> {
    await this.#inNode(name, `mv ${MANIFESTS}/${API_MANIFEST} /etc/kubernetes/`);
    await this.#inNode(
      name,
      "crictl ps --quiet --name kube-apiserver | xargs --no-run-if-empty crictl stop --timeout 0",
    );
    const api = await ApiClient.connect(clusterKubeconfig(this.#root, name));
    await waitFor(
      `the end of the API server of ${name}`,
      async () => (await api.get("/readyz")) === undefined,
    );
  }

  async startApiServer(name: string): Promise<void> {
    if (!(await this.#hasApiServer(name))) {
      await this.#inNode(name, `mv /etc/kubernetes/${API_MANIFEST} ${MANIFESTS}/`);
    }
    await this.#waitForApi(name);
  }

  async kubectl(): Promise<string> {
    const path = findCommand("kubectl");
    if (!path)
      throw new ClusterError(
        "kubectl is not on the PATH; get it from https://kubernetes.io/docs/tasks/tools",
      );
    return path;
  }

  async #start(name: string, progress: Progress): Promise<void> {
    const kubeconfig = clusterKubeconfig(this.#root, name);
    const exists = (await this.list()).includes(name);
    // Our kubeconfig is written last: without it, an earlier `up` did not get to the end.
    if (exists && !existsSync(kubeconfig)) {
      progress("was only half made; making it anew");
      await run("kind", "delete", "cluster", "--name", this.#id(name));
    }
    if (!exists || !existsSync(kubeconfig)) await this.#create(name, progress);
    else await this.#mend(name, progress);
    progress("is up");
  }

  async #create(name: string, progress: Progress): Promise<void> {
    progress("kind create cluster (fetches the node's image the first time: about 350 MB)");
    await mkdir(clusterDirectory(this.#root, name), { recursive: true, mode: 0o700 });
    const config = stringify({
      kind: "Cluster",
      apiVersion: "kind.x-k8s.io/v1alpha4",
      networking: { podSubnet: POD_CIDR, serviceSubnet: SERVICE_CIDR },
      nodes: [{ role: "control-plane" }],
    });
    const aside = `${clusterKubeconfig(this.#root, name)}.kind`;
    await run(
      { input: config },
      ...["kind", "create", "cluster", "--name", this.#id(name), "--config", "-"],
      ...["--kubeconfig", aside, "--wait", "180s"],
    );
    await rm(aside, { force: true });
    await writeKubeconfig(clusterKubeconfig(this.#root, name), await this.#kubeconfig(name));
    await this.#waitForDns(name);
  }

  /** Start what was stopped: the container, by a restart of the machine, or the API server, by a test. */
  async #mend(name: string, progress: Progress): Promise<void> {
    const before = await this.#node(name);
    if (!before?.running) {
      progress("starting its container");
      await run("docker", "start", this.#id(name) + NODE_SUFFIX);
    }
    await this.startApiServer(name);
    await this.#waitForDns(name);
    const config = await this.#kubeconfig(name);
    const known = await readKubeconfig(clusterKubeconfig(this.#root, name));
    if (known && peerServerOf(known) !== peerServerOf(config)) {
      throw new ClusterError(
        `Docker gave cluster ${name} another address when it started its container, one that its certificate does not ` +
          `name; start over: npm run clusters -- down ${name}, then up`,
      );
    }
  }

  async #waitForApi(name: string): Promise<void> {
    const api = await ApiClient.connect(clusterKubeconfig(this.#root, name));
    await waitFor(`the API server of ${name}`, async () => (await api.get("/readyz"))?.status === 200);
  }

  async #waitForDns(name: string): Promise<void> {
    const api = await ApiClient.connect(clusterKubeconfig(this.#root, name));
    await waitFor(`the DNS server of ${name}`, async () => {
      const answer = await api.get("/apis/apps/v1/namespaces/kube-system/deployments/coredns");
      const deployment = answer?.body as { status?: { availableReplicas?: number } } | undefined;
      return (deployment?.status?.availableReplicas ?? 0) > 0;
    });
  }

  /** kind's kubeconfig in our shape: its server is a port of this machine, so the container's address is added. */
  async #kubeconfig(name: string): Promise<Kubeconfig> {
    const config = parse(await run("kind", "get", "kubeconfig", "--name", this.#id(name))) as Kubeconfig;
    const [cluster] = config.clusters;
    const [user] = config.users;
    const node = await this.#node(name);
    if (!cluster || !user || !node?.address)
      throw new ClusterError(`kind says too little of cluster ${name}`);
    const decode = (text: string) => Buffer.from(text, "base64").toString();
    return singleKubeconfig(name, cluster.cluster.server, `https://${node.address}:${API_PORT}`, {
      authority: decode(cluster.cluster["certificate-authority-data"]),
      certificate: decode(user.user["client-certificate-data"]),
      key: decode(user.user["client-key-data"]),
    });
  }

  async #node(name: string): Promise<NodeContainer | undefined> {
    const format = '{"running":{{.State.Running}},"address":"{{.NetworkSettings.Networks.kind.IPAddress}}"}';
    const shown = await ask`docker container inspect --format ${format} ${this.#id(name) + NODE_SUFFIX}`;
    return shown.exitCode === 0 ? shown.json<NodeContainer>() : undefined;
  }

  async #hasApiServer(name: string): Promise<boolean> {
    const node = this.#id(name) + NODE_SUFFIX;
    return (await ask`docker exec ${node} test -e ${`${MANIFESTS}/${API_MANIFEST}`}`).exitCode === 0;
  }

  async #inNode(name: string, script: string): Promise<void> {
    await run("docker", "exec", this.#id(name) + NODE_SUFFIX, "sh", "-c", script);
  }

  #id(name: string): string {
    return clusterId(this.#checkout, name);
  }

  #checkLength(name: string): void {
    const most = 63 - (this.#id("") + NODE_SUFFIX).length;
    if (name.length > most)
      throw new UsageError(`with kind, a cluster's name has at most ${most} characters: "${name}"`);
  }
}

function checkKind(): void {
  if (findCommand("kind") === undefined) {
    throw new ClusterError(
      "local clusters in Docker need the command kind on the PATH; get it from https://kind.sigs.k8s.io, or set " +
        "ISTHMUS_CLUSTERS=netns to do without Docker (Linux, as root)",
    );
  }
}

/** Run a command; its output. @throws ClusterError with what it wrote when it fails. */
async function run(first: string | { input: string }, ...rest: string[]): Promise<string> {
  const command = typeof first === "string" ? [first, ...rest] : rest;
  const input = typeof first === "string" ? "" : first.input;
  const done = await ask({ input, stdio: "pipe" })`${command}`;
  if (done.exitCode === 0) return done.stdout.trim();
  throw new ClusterError(`"${command.join(" ")}" failed:\n${done.stderr.trim()}`);
}
