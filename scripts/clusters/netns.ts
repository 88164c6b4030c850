import { chmod, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { bridgeAddress, bridgeName } from "./addresses.ts";
import { allocate } from "./allocation.ts";
import { removeCgroup } from "./cgroups.ts";
import { checkoutId, clusterId, clustersDirectory } from "./checkout.ts";
import { type ClusterRecord, directoriesIn, writeRecord } from "./cluster-files.ts";
import type { ClusterStatus, Driver, UpOptions } from "./driver.ts";
import { ClusterError } from "./errors.ts";
import { builtKubectl, ensureHyperkube } from "./hyperkube.ts";
import { NetnsCluster } from "./netns-cluster.ts";
import { ensureBridge, removeBridge, takenNetworks } from "./network.ts";
import { ensurePackages, findCommand } from "./packages.ts";
import type { Progress } from "./progress.ts";
import { findSandbox, findSandboxes, killSandbox } from "./sandbox.ts";
import { shell } from "./shell.ts";

const REQUIREMENTS = [
  { command: "ip", package: "iproute2" },
  { command: "nft", package: "nftables" },
  { command: "iptables", package: "iptables" },
  { command: "conntrack", package: "conntrack" },
  { command: "containerd", package: "containerd" },
  { command: "ctr", package: "containerd" },
  { command: "runc", package: "runc" },
  { anyFile: ["/usr/lib/cni/bridge", "/opt/cni/bin/bridge"], package: "containernetworking-plugins" },
];
/** Modules of the kernel that are on no machine's list to load by themselves. */
const KERNEL_MODULES = ["overlay", "br_netfilter", "nf_conntrack", "nf_tables"];
const INOTIFY_INSTANCES = "/proc/sys/fs/inotify/max_user_instances";
const ENOUGH_INOTIFY_INSTANCES = 1024;

/** Real Kubernetes, each cluster in namespaces of its own on this machine: no Docker. Linux, as root. */
export class NetnsDriver implements Driver {
  readonly name = "netns";
  readonly #root: string;
  readonly #checkout: string;

  /** @param root the checkout that the clusters belong to. */
  constructor(root: string) {
    this.#root = root;
    this.#checkout = checkoutId(root);
  }

  async up(
    names: readonly string[],
    options: UpOptions,
    progress: (name: string) => Progress,
  ): Promise<void> {
    const controlPlaneOnly = options.controlPlaneOnly ?? false;
    const clusters = names.map((name) => this.#cluster(name));
    await this.#prepareMachine(progress("machine"));
    const network = await this.#allocate(clusters, controlPlaneOnly);
    await ensureBridge(bridgeName(this.#checkout), bridgeAddress(network));
    await Promise.all(
      clusters.map(async (cluster) => {
        if (cluster.record?.controlPlaneOnly && !controlPlaneOnly) await cluster.addNode();
        await cluster.start(progress(cluster.name));
      }),
    );
  }

  async down(names: readonly string[], progress: (name: string) => Progress): Promise<void> {
    await Promise.all(
      names.map(async (name) => {
        const tell = progress(name);
        await this.#cluster(name).remove();
        tell("is down");
      }),
    );
    if ((await this.list()).length > 0) return;
    await removeBridge(bridgeName(this.#checkout));
    await removeCgroup(`/isthmus-${this.#checkout}`);
    await rm(clustersDirectory(this.#root), { recursive: true, force: true });
  }

  async list(): Promise<string[]> {
    const prefix = clusterId(this.#checkout, "");
    const running = findSandboxes(prefix).map(({ id }) => id.slice(prefix.length));
    return [...new Set([...directoriesIn(clustersDirectory(this.#root)), ...running])].sort();
  }

  async status(name: string): Promise<ClusterStatus> {
    return this.#cluster(name).status();
  }

  async loadImage(name: string, archive: string): Promise<void> {
    await this.#cluster(name).loadImage(archive);
  }

  async stopApiServer(name: string): Promise<void> {
    await this.#cluster(name).stopApiServer();
  }

  async startApiServer(name: string): Promise<void> {
    await this.#cluster(name).startApiServer();
  }

  async kubectl(): Promise<string> {
    return builtKubectl();
  }

  #cluster(name: string): NetnsCluster {
    return new NetnsCluster(this.#root, name);
  }

  async #prepareMachine(progress: Progress): Promise<void> {
    await ensurePackages(REQUIREMENTS, progress);
    await ensureHyperkube(progress);
    // Where a module is part of the kernel, or may not be loaded, modprobe fails; what misses it then says so.
    if (findCommand("modprobe")) await shell({ nothrow: true })`modprobe --all ${KERNEL_MODULES}`;
    const instances = Number(await readFile(INOTIFY_INSTANCES, "utf8"));
    if (instances < ENOUGH_INOTIFY_INSTANCES) {
      progress(`fs.inotify.max_user_instances is ${instances}, raising it to ${ENOUGH_INOTIFY_INSTANCES}`);
      await writeFile(INOTIFY_INSTANCES, String(ENOUGH_INOTIFY_INSTANCES));
    }
  }

  /** Note index and address of those of `clusters` that have none. @returns the network of the checkout's nodes. */
  async #allocate(clusters: readonly NetnsCluster[], controlPlaneOnly: boolean): Promise<string> {
    const recordOf = (name: string) => this.#cluster(name).record;
    const records = (await this.list())
      .map(recordOf)
      .filter((record): record is ClusterRecord => record !== undefined);
    const taken = await takenNetworks(bridgeName(this.#checkout));
    for (const cluster of clusters) {
      if (cluster.record) continue;
      // Processes of a cluster whose files are gone can't be mended.
      const stray = findSandbox(clusterId(this.#checkout, cluster.name));
      if (stray) await killSandbox(stray);
      await rm(cluster.directory, { recursive: true, force: true });
      await mkdir(cluster.directory, { recursive: true });
      await chmod(cluster.directory, 0o700);
      const record = allocate(this.#checkout, records, taken, controlPlaneOnly);
      await writeRecord(cluster.directory, record);
      records.push(record);
    }
    const network = records[0]?.network;
    if (network === undefined) throw new ClusterError("no cluster was named");
    return network;
  }
}
