import { Resolver } from "node:dns/promises";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DNS_SERVICE_IP } from "./addresses.ts";
import type { ApiClient } from "./api.ts";
import { hyperkube } from "./control-plane.ts";
import { type Daemon, STATE } from "./sandbox.ts";

/** The cluster's DNS server: a process of the node, not a pod, so that no image is needed for it. */
export function coredns(build: string): Daemon {
  return { name: "coredns", argv: [hyperkube(build), "coredns", "-conf", `${STATE}/Corefile`] };
}

export async function writeDnsConfiguration(state: string): Promise<void> {
  await writeFile(
    join(state, "Corefile"),
    `.:53 {
  errors
  cache 5
  kubernetes cluster.local in-addr.arpa {
    kubeconfig ${STATE}/kubeconfig
  }
}
`,
  );
}

/** Have the Service `kube-dns`, with a slice that points at the node: there are no pods for a selector to find. */
export async function applyDnsService(api: ApiClient, node: string): Promise<void> {
  const ports = (["UDP", "TCP"] as const).map((protocol) => ({
    name: protocol === "UDP" ? "dns" : "dns-tcp",
    port: 53,
    protocol,
  }));
  await api.apply("/api/v1/namespaces/kube-system/services/kube-dns", {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: "kube-dns", namespace: "kube-system", labels: { "k8s-app": "kube-dns" } },
    spec: { clusterIP: DNS_SERVICE_IP, ports },
  });
  await api.apply("/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices/kube-dns", {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: {
      name: "kube-dns",
      namespace: "kube-system",
      labels: {
        "kubernetes.io/service-name": "kube-dns",
        "endpointslice.kubernetes.io/managed-by": "isthmus-clusters",
      },
    },
    addressType: "IPv4",
    endpoints: [{ addresses: [node], conditions: { ready: true } }],
    ports,
  });
}

/** Whether the DNS server on that node knows the cluster's own name. */
export async function dnsAnswers(node: string): Promise<boolean> {
  const resolver = new Resolver({ timeout: 500, tries: 1 });
  resolver.setServers([node]);
  try {
    return (await resolver.resolve4("kubernetes.default.svc.cluster.local")).length > 0;
  } catch {
    // No answer, or not yet the right one: not ready.
    return false;
  }
}
