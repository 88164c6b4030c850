import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { API_PORT, bridgeAddress, bridgeName, cableName } from "./addresses.ts";
import { ApiClient } from "./api.ts";
import { ensureCgroup, removeCgroup } from "./cgroups.ts";
import { checkoutId, clusterDirectory, clusterId, clusterKubeconfig } from "./checkout.ts";
import { type ClusterRecord, readRecord, writeRecord } from "./cluster-files.ts";
import { containerd, importImage } from "./containerd.ts";
import { apiDaemons, apiServer, controllerDaemons, hyperkube } from "./control-plane.ts";
import { writeCredentials } from "./credentials.ts";
import { applyDnsService, coredns, writeDnsConfiguration } from "./dns.ts";
import type { ClusterStatus } from "./driver.ts";
import { ClusterError } from "./errors.ts";
import { buildKey, buildsDirectory } from "./hyperkube.ts";
import { ensureCable, removeInterface } from "./network.ts";
import { type NodeOptions, nodeDaemons, writeNodeConfiguration } from "./node.ts";
import { pauseArchive } from "./pause-image.ts";
import { ensurePki } from "./pki.ts";
import type { Progress } from "./progress.ts";
import {
  type StartingCluster,
  waitForApi,
  waitForContainerd,
  waitForControllers,
  waitForNode,
} from "./readiness.ts";
import {
  type Daemon,
  ensureDaemons,
  findDaemon,
  findSandbox,
  killSandbox,
  pathInside,
  runningDaemons,
  type Sandbox,
  startSandbox,
  stopDaemon,
} from "./sandbox.ts";

/** One cluster in namespaces of its own: how it is started, mended and removed. */
export class NetnsCluster {
  readonly name: string;
  readonly #checkout: string;
  readonly #id: string;
  /** Its files. */
  readonly directory: string;
  /** Path of its administrator's kubeconfig. */
  readonly kubeconfig: string;

  /** @param root the checkout that it belongs to. */
  constructor(root: string, name: string) {
    this.name = name;
    this.#checkout = checkoutId(root);
    this.#id = clusterId(this.#checkout, name);
    this.directory = clusterDirectory(root, name);
    this.kubeconfig = clusterKubeconfig(root, name);
  }

  /** What is noted of it; undefined when it was never started. */
  get record(): ClusterRecord | undefined {
    return readRecord(this.directory);
  }

  /** Start whatever of it does not run, and wait until it is ready. Its record must be written, the bridge be there. */
  async start(progress: Progress): Promise<void> {
    const record = this.#existing();
    await this.#writeConfiguration(record);
    const sandbox = await this.#ensureSandbox(record, progress);
    const api = await ApiClient.connect(this.kubeconfig);
    await this.#startApi(record, sandbox, api, progress);
    if (!record.controlPlaneOnly) await this.#prepareNode(record, sandbox, api);
    await this.#startOthers(record, sandbox, api, progress);
    progress(record.controlPlaneOnly ? "control plane is up" : "is up");
  }

  /** Note that it is to have a node. */
  async addNode(): Promise<void> {
    await writeRecord(this.directory, { ...this.#existing(), controlPlaneOnly: false });
  }

  /** Remove all of it. Works on whatever is left of it. */
  async remove(): Promise<void> {
    const sandbox = findSandbox(this.#id);
    if (sandbox) await killSandbox(sandbox);
    const index = this.#soundRecord()?.index;
    // It also goes by itself, a moment after the sandbox.
    if (index !== undefined) await removeInterface(cableName(this.#checkout, index));
    await removeCgroup(this.#cgroup);
    await rm(this.directory, { recursive: true, force: true });
  }

  status(): ClusterStatus {
    const record = this.#soundRecord();
    const sandbox = findSandbox(this.#id);
    const running = sandbox ? runningDaemons(sandbox) : [];
    const missing = record
      ? this.#daemons(record).filter((daemon) => !findDaemon(daemon, running))
      : [{ name: "everything" }];
    return {
      name: this.name,
      driver: "netns",
      state: missing.length === 0 ? "running" : "incomplete",
      controlPlaneOnly: record?.controlPlaneOnly ?? false,
      ...(record && { apiServer: apiUrl(record), nodeAddress: record.address }),
      missing: missing.map((daemon) => daemon.name),
    };
  }

  async loadImage(archive: string): Promise<void> {
    const record = this.#existing();
    if (record.controlPlaneOnly)
      throw new ClusterError(`cluster ${this.name} has no node to load ${archive} into`);
    await importImage(this.#running(), this.directory, archive);
  }

  async stopApiServer(): Promise<void> {
    await stopDaemon(this.#running(), apiServer(buildKey(), this.#existing().address));
  }

  async startApiServer(): Promise<void> {
    const daemon = apiServer(buildKey(), this.#existing().address);
    await ensureDaemons(this.#running(), [daemon]);
    await waitForApi(this.#starting(this.#running(), [daemon]), await ApiClient.connect(this.kubeconfig));
  }

  async #ensureSandbox(record: ClusterRecord, progress: Progress): Promise<Sandbox> {
    const running = findSandbox(this.#id);
    // One that was started before the cache was removed sees none of what was built since.
    const sound = running && existsSync(pathInside(running, hyperkube(buildKey())));
    if (running && !sound) await killSandbox(running);
    const sandbox = sound ? running : await this.#startSandbox(record, progress);
    const cable = cableName(this.#checkout, record.index);
    await ensureCable(
      sandbox,
      cable,
      bridgeName(this.#checkout),
      record.address,
      bridgeAddress(record.network),
    );
    return sandbox;
  }

  async #startSandbox(record: ClusterRecord, progress: Progress): Promise<Sandbox> {
    progress(`starting at ${record.address}`);
    // Groups of pods that died with an earlier sandbox keep a kubelet busy for half a minute.
    await removeCgroup(this.#cgroup);
    return startSandbox(this.#id, this.directory, buildsDirectory());
  }

  /** Start etcd, the API server and, since it needs nothing of them, containerd; wait for the API server. */
  async #startApi(
    record: ClusterRecord,
    sandbox: Sandbox,
    api: ApiClient,
    progress: Progress,
  ): Promise<void> {
    const daemons = apiDaemons(buildKey(), record.address);
    if (!record.controlPlaneOnly) daemons.push(containerd());
    const started = await ensureDaemons(sandbox, daemons);
    await waitForApi(this.#starting(sandbox, daemons), api);
    if (started.length > 0) progress(`${started.join(", ")} started, API server ready`);
  }

  /** Have containerd and the API server know what a node needs of them before it starts. */
  async #prepareNode(record: ClusterRecord, sandbox: Sandbox, api: ApiClient): Promise<void> {
    await ensureCgroup(this.#cgroup);
    await waitForContainerd(this.#starting(sandbox, [containerd()]));
    await importImage(sandbox, this.directory, await pauseArchive());
    await applyDnsService(api, record.address);
  }

  /** Start what needs the API server, and wait until all of it is ready. */
  async #startOthers(
    record: ClusterRecord,
    sandbox: Sandbox,
    api: ApiClient,
    progress: Progress,
  ): Promise<void> {
    const daemons = controllerDaemons(buildKey());
    if (!record.controlPlaneOnly) daemons.push(...this.#nodeDaemons(record));
    // The node's heartbeat counts in whole seconds.
    const now = new Date(Math.floor(Date.now() / 1000) * 1000);
    const started = await ensureDaemons(sandbox, daemons);
    const starting = this.#starting(sandbox, daemons);
    if (started.length > 0) progress(`${started.join(", ")} started`);
    await waitForControllers(starting, api);
    if (record.controlPlaneOnly) return;
    await waitForNode(starting, api, record.address, started.includes("kubelet") ? now : new Date(0));
  }

  async #writeConfiguration(record: ClusterRecord): Promise<void> {
    await ensurePki(join(this.directory, "pki"), this.name, record.address);
    await writeCredentials(this.directory, this.name, apiUrl(record), record.controlPlaneOnly);
    if (record.controlPlaneOnly) return;
    await writeNodeConfiguration(this.directory, this.#nodeOptions(record));
    await writeDnsConfiguration(this.directory);
  }

  /** All that should run. */
  #daemons(record: ClusterRecord): Daemon[] {
    const controlPlane = [...apiDaemons(buildKey(), record.address), ...controllerDaemons(buildKey())];
    return record.controlPlaneOnly
      ? controlPlane
      : [...controlPlane, containerd(), ...this.#nodeDaemons(record)];
  }

  #nodeDaemons(record: ClusterRecord): Daemon[] {
    return [...nodeDaemons(this.#nodeOptions(record)), coredns(buildKey())];
  }

  #nodeOptions(record: ClusterRecord): NodeOptions {
    return { name: this.name, build: buildKey(), address: record.address, cgroup: this.#cgroup };
  }

  #starting(sandbox: Sandbox, daemons: readonly Daemon[]): StartingCluster {
    return { name: this.name, state: this.directory, sandbox, daemons };
  }

  get #cgroup(): string {
    return `/isthmus-${this.#checkout}/${this.name}`;
  }

  #existing(): ClusterRecord {
    const record = this.record;
    if (!record)
      throw new ClusterError(
        `there is no cluster ${this.name}; start it: npm run clusters -- up ${this.name}`,
      );
    return record;
  }

  #running(): Sandbox {
    const sandbox = findSandbox(this.#id);
    if (!sandbox)
      throw new ClusterError(
        `cluster ${this.name} does not run; start it: npm run clusters -- up ${this.name}`,
      );
    return sandbox;
  }

  /** The record, where it can be read: a damaged one must keep nobody from looking, or from removing the rest. */
  #soundRecord(): ClusterRecord | undefined {
    try {
      return this.record;
    } catch (error) {
      if (error instanceof ClusterError) return undefined;
      throw error;
    }
  }
}

function apiUrl(record: ClusterRecord): string {
  return `https://${record.address}:${API_PORT}`;
}
