import type { Progress } from "./progress.ts";

/** Options of `up`. */
export interface UpOptions {
  /**
   * Only etcd and Kubernetes' control plane: no node, so no pods, but ready in a few seconds. A cluster that has a node
   * keeps it. With kind, every cluster has a node.
   * @default false
   */
  controlPlaneOnly?: boolean;
}

/** What there is of one cluster. */
export interface ClusterStatus {
  name: string;
  driver: "kind" | "netns";
  /** `incomplete`: some of it does not run, which `up` mends. */
  state: "running" | "incomplete";
  controlPlaneOnly: boolean;
  /** URL of the API server that the other clusters' pods can use. Absent while it is not known. */
  apiServer?: string;
  /** Address of the node. Absent while it is not known. */
  nodeAddress?: string;
  /** Names of the parts that should run and do not. */
  missing: string[];
}

/** A way to have Kubernetes clusters on this machine. Names are those of the checkout's clusters. */
export interface Driver {
  readonly name: "kind" | "netns";
  /** Start clusters, or whatever is missing of them, and wait until they are ready. */
  up(names: readonly string[], options: UpOptions, progress: (name: string) => Progress): Promise<void>;
  /** Remove clusters and all that is left of them, whatever state they are in. */
  down(names: readonly string[], progress: (name: string) => Progress): Promise<void>;
  /** Names of the checkout's clusters, half-made ones too. */
  list(): Promise<string[]>;
  status(name: string): Promise<ClusterStatus>;
  /** Give the cluster's node an image, from a docker archive. */
  loadImage(name: string, archive: string): Promise<void>;
  /** Stop the cluster's API server, as a crash would; everything else keeps running. `up` starts it too. */
  stopApiServer(name: string): Promise<void>;
  /** Start it again, and wait until it is ready. */
  startApiServer(name: string): Promise<void>;
  /** Path of a kubectl that suits these clusters. With netns it exists once a cluster was started. */
  kubectl(): Promise<string>;
}
