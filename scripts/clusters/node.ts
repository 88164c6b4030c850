import { existsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { stringify } from "yaml";
import { DNS_SERVICE_IP, NODE_POD_CIDR, POD_CIDR } from "./addresses.ts";
import { CONTAINERD_SOCKET, containerdConfiguration } from "./containerd.ts";
import { daemon } from "./control-plane.ts";
import { ClusterError } from "./errors.ts";
import { type Daemon, STATE } from "./sandbox.ts";

/** Where distributions put the CNI plugins. */
const CNI_DIRECTORIES = ["/usr/lib/cni", "/opt/cni/bin"];

/** What makes the sandbox of the cluster `name` a node of it. */
export interface NodeOptions {
  /** Name of the cluster, and of its one node. */
  name: string;
  build: string;
  address: string;
  /** The cgroup for its pods. */
  cgroup: string;
}

/** kubelet and kube-proxy, once containerd runs. */
export function nodeDaemons({ name, build, address }: NodeOptions): Daemon[] {
  return [
    daemon(build, "kubelet", {
      config: `${STATE}/kubelet.yaml`,
      kubeconfig: `${STATE}/node.conf`,
      "hostname-override": name,
      "node-ip": address,
      "cert-dir": `${STATE}/kubelet-pki`,
    }),
    daemon(build, "kube-proxy", {
      kubeconfig: `${STATE}/proxy.conf`,
      "proxy-mode": "nftables",
      "cluster-cidr": POD_CIDR,
      "hostname-override": name,
      // Limits of connection tracking are the whole machine's: leave them.
      "conntrack-max-per-core": "0",
      "conntrack-tcp-timeout-established": "0",
      "conntrack-tcp-timeout-close-wait": "0",
    }),
  ];
}

/** Write the configuration of containerd, kubelet and the pods' network into the cluster's directory. */
export async function writeNodeConfiguration(state: string, options: NodeOptions): Promise<void> {
  const plugins = CNI_DIRECTORIES.find((directory) => existsSync(join(directory, "bridge")));
  if (plugins === undefined) {
    throw new ClusterError(
      `no CNI plugins in ${CNI_DIRECTORIES.join(" or ")}; install containernetworking-plugins`,
    );
  }
  await mkdir(join(state, "cni"), { recursive: true });
  await writeFile(join(state, "containerd.toml"), await containerdConfiguration(state, plugins));
  await writeFile(join(state, "cni", "10-pods.conflist"), JSON.stringify(podNetwork(), undefined, 2));
  await writeFile(join(state, "kubelet.yaml"), stringify(kubeletConfiguration(options)));
}

function podNetwork(): object {
  return {
    cniVersion: "1.0.0",
    name: "pods",
    plugins: [
      {
        type: "bridge",
        bridge: "cni0",
        isGateway: true,
        ipMasq: true,
        hairpinMode: true,
        ipam: { type: "host-local", ranges: [[{ subnet: NODE_POD_CIDR }]], routes: [{ dst: "0.0.0.0/0" }] },
      },
      { type: "portmap", capabilities: { portMappings: true } },
    ],
  };
}

function kubeletConfiguration({ cgroup }: NodeOptions): object {
  return {
    apiVersion: "kubelet.config.k8s.io/v1beta1",
    kind: "KubeletConfiguration",
    authentication: { anonymous: { enabled: false }, x509: { clientCAFile: `${STATE}/pki/ca.crt` } },
    authorization: { mode: "Webhook" },
    cgroupDriver: "cgroupfs",
    cgroupRoot: cgroup,
    failCgroupV1: false,
    clusterDNS: [DNS_SERVICE_IP],
    clusterDomain: "cluster.local",
    // Names outside the cluster are not resolved: nothing outside can be reached.
    resolvConf: "",
    containerRuntimeEndpoint: `unix://${CONTAINERD_SOCKET}`,
    volumePluginDir: "/var/lib/kubelet/plugins",
    failSwapOn: false,
    enforceNodeAllocatable: [],
    // The machine's disk and memory are not this node's to judge.
    evictionHard: { "memory.available": "0%", "nodefs.available": "0%", "imagefs.available": "0%" },
    imageGCHighThresholdPercent: 100,
    localStorageCapacityIsolation: false,
  };
}
