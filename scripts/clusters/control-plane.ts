import { API_PORT, POD_CIDR, SERVICE_CIDR } from "./addresses.ts";
import { BUILDS, type Daemon, STATE } from "./sandbox.ts";

const PKI = `${STATE}/pki`;

/** Path, in the sandbox, of the program that is all of Kubernetes. */
export function hyperkube(build: string): string {
  return `${BUILDS}/${build}/hyperkube`;
}

/** etcd and the API server: what everything else needs. */
export function apiDaemons(build: string, address: string): Daemon[] {
  return [etcd(build), apiServer(build, address)];
}

/** What acts on the objects of the API server, and needs no node. */
export function controllerDaemons(build: string): Daemon[] {
  return [
    daemon(build, "kube-controller-manager", {
      kubeconfig: `${STATE}/kubeconfig`,
      "service-account-private-key-file": `${PKI}/service-accounts.key`,
      "root-ca-file": `${PKI}/ca.crt`,
      "cluster-signing-cert-file": `${PKI}/ca.crt`,
      "cluster-signing-key-file": `${PKI}/ca.key`,
      "use-service-account-credentials": "true",
      "cluster-cidr": POD_CIDR,
      "leader-elect": "false",
      // With the default of 20 requests a second, its controllers take five seconds to start.
      "kube-api-qps": "100",
      "kube-api-burst": "200",
    }),
    daemon(build, "kube-scheduler", { kubeconfig: `${STATE}/kubeconfig`, "leader-elect": "false" }),
  ];
}

export function apiServer(build: string, address: string): Daemon {
  return daemon(build, "kube-apiserver", {
    "etcd-servers": "http://127.0.0.1:2379",
    "bind-address": "0.0.0.0",
    "secure-port": String(API_PORT),
    "advertise-address": address,
    "service-cluster-ip-range": SERVICE_CIDR,
    "client-ca-file": `${PKI}/ca.crt`,
    "tls-cert-file": `${PKI}/apiserver.crt`,
    "tls-private-key-file": `${PKI}/apiserver.key`,
    "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
    "service-account-key-file": `${PKI}/service-accounts.pub`,
    "service-account-signing-key-file": `${PKI}/service-accounts.key`,
    "authorization-mode": "Node,RBAC",
    "enable-admission-plugins": "NodeRestriction",
    "allow-privileged": "true",
    "kubelet-client-certificate": `${PKI}/admin.crt`,
    "kubelet-client-key": `${PKI}/admin.key`,
    "kubelet-preferred-address-types": "InternalIP",
  });
}

function etcd(build: string): Daemon {
  return daemon(build, "etcd", {
    "data-dir": `${STATE}/etcd`,
    "listen-client-urls": "http://127.0.0.1:2379",
    "advertise-client-urls": "http://127.0.0.1:2379",
    "listen-peer-urls": "http://127.0.0.1:2380",
    "log-level": "warn",
    // A crash of the whole machine may cost the data of a test cluster; a crash of etcd does not. Writes are far faster.
    "unsafe-no-fsync": "true",
  });
}

/** A role of hyperkube with those flags. */
export function daemon(build: string, role: string, flags: Record<string, string>): Daemon {
  const args = Object.entries(flags).map(([name, value]) => `--${name}=${value}`);
  return { name: role, argv: [hyperkube(build), role, ...args] };
}
