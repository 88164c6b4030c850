import type * as k8s from "@pulumi/kubernetes";
import type * as pulumi from "@pulumi/pulumi";
import {
  ADMIN_PORT,
  COMPONENT,
  EGRESS,
  GATEWAY_CERTIFICATE_SECRET,
  GATEWAY_PORT,
  GATEWAY_PORT_NAME,
  IN_SLICES_GATE,
  INGRESS,
  LINK_GROUP,
  PROBE_PORT,
  PROBE_PORT_NAME,
  TRUST_BUNDLE_CONFIG_MAP,
  TRUST_BUNDLE_KEY,
} from "../contract/index.ts";
import { egressPortsVariable, type PortRangeArgs } from "./egress-ports.ts";
import type { Images } from "./images.ts";
import { partLabels } from "./labels.ts";
import { ADMIN, LOCKED, PATIENT, POD, requests, spread, variable } from "./pod.ts";

type Container = k8s.types.input.core.v1.Container;
type PodSpec = k8s.types.input.core.v1.PodSpec;
type PolicyRule = k8s.types.input.rbac.v1.PolicyRule;

/** One of the two ways through a gateway, as far as they differ. */
export interface Way {
  way: "ingress" | "egress";
  /** Name of the Deployment and of its ServiceAccount. */
  name: string;
  component: string;
  /** How long an ending pod waits for its open connections, in seconds. */
  drainSeconds: number;
  memory: string;
  clusterRules: PolicyRule[];
  namespaceRules: PolicyRule[];
}

const WATCH = ["list", "watch"];

const SERVICES_AND_SLICES: PolicyRule[] = [
  { apiGroups: [""], resources: ["services"], verbs: WATCH },
  { apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"], verbs: WATCH },
];

/** Master and worker, in the foreground, with the master's socket by which the agent has it reload. */
const HAPROXY = [
  ...["haproxy", "-W", "-db"],
  ...["-S", "/run/isthmus/master.sock,mode,600"],
  ...["-f", "/run/isthmus/haproxy.cfg"],
];

/**
 * What other clusters see. It learns which services are exported, where the pods of headless ones are, and which sources
 * have a remote access.
 */
export const INGRESS_WAY: Way = {
  way: "ingress",
  name: INGRESS,
  component: COMPONENT.ingress,
  drainSeconds: 60,
  memory: "64Mi",
  clusterRules: SERVICES_AND_SLICES,
  namespaceRules: [{ apiGroups: [""], resources: ["serviceaccounts"], verbs: WATCH }],
};

/** Never exposed: it holds plain ports backed by the cluster's client certificate. */
export const EGRESS_WAY: Way = {
  way: "egress",
  name: EGRESS,
  component: COMPONENT.egress,
  drainSeconds: 120,
  memory: "128Mi",
  clusterRules: SERVICES_AND_SLICES,
  namespaceRules: [{ apiGroups: [LINK_GROUP], resources: ["links"], verbs: WATCH }],
};

export interface GatewayPodArgs {
  namespace: pulumi.Input<string>;
  identity: pulumi.Input<string>;
  images: Images;
  egressPorts: pulumi.Input<PortRangeArgs> | undefined;
}

/**
 * A pod of the gateway: HAProxy, which carries the bytes, and our agent, which tells it where to. `docs/gateway.md` gives
 * the reasons of each line.
 */
export function gatewayPod(way: Way, args: GatewayPodArgs): PodSpec {
  const { controller, haproxy, pullPolicy } = args.images;
  const env = [
    variable("NAMESPACE", args.namespace),
    variable("IDENTITY", args.identity),
    variable("HAPROXY_DIRECTORY", "/run/isthmus"),
    variable("CERTIFICATE_DIRECTORY", "/certificates"),
    variable("TRUST_BUNDLE", `/trust/${TRUST_BUNDLE_KEY}`),
    variable("DRAIN_TIMEOUT", String(way.drainSeconds)),
    ...(way.way === "egress" ? egressPortsVariable(args.egressPorts) : []),
    { name: "ISTHMUS_POD_IPS", valueFrom: { fieldRef: { fieldPath: "status.podIPs" } } },
  ];
  const run = { name: "run", mountPath: "/run/isthmus" };
  const mounts = [
    run,
    { name: "certificates", mountPath: "/certificates", readOnly: true },
    { name: "trust", mountPath: "/trust", readOnly: true },
  ];
  const account = {
    name: "api",
    mountPath: "/var/run/secrets/kubernetes.io/serviceaccount",
    readOnly: true,
  };
  const ours = { image: controller, imagePullPolicy: pullPolicy, env, securityContext: LOCKED };
  const drain: Pick<Container, "lifecycle"> = {
    lifecycle: { preStop: { httpGet: { path: "/drain", port: ADMIN_PORT } } },
  };
  const probePort = { name: PROBE_PORT_NAME, containerPort: PROBE_PORT };
  return {
    ...POD,
    serviceAccountName: way.name,
    // The agent mounts the token itself; HAProxy never has it.
    automountServiceAccountToken: false,
    terminationGracePeriodSeconds: way.drainSeconds + 15,
    ...(way.way === "egress" ? { readinessGates: [{ conditionType: IN_SLICES_GATE }] } : {}),
    initContainers: [
      {
        name: "first-configuration",
        ...ours,
        args: ["gateway", way.way, "--init"],
        volumeMounts: mounts,
      },
    ],
    containers: [
      {
        name: "haproxy",
        image: haproxy,
        imagePullPolicy: pullPolicy,
        command: HAPROXY,
        ports:
          way.way === "ingress"
            ? [{ name: GATEWAY_PORT_NAME, containerPort: GATEWAY_PORT }, probePort]
            : [probePort],
        livenessProbe: { httpGet: { path: "/live", port: PROBE_PORT }, ...PATIENT },
        ...drain,
        volumeMounts: [run],
        ...requests("100m", way.memory),
        securityContext: LOCKED,
      },
      {
        name: "agent",
        ...ours,
        args: ["gateway", way.way],
        ...ADMIN,
        ...drain,
        volumeMounts: [...mounts, account],
        ...requests("20m", "64Mi"),
      },
    ],
    volumes: [
      // Holds the private key: memory, not disk.
      { name: "run", emptyDir: { medium: "Memory", sizeLimit: "64Mi" } },
      { name: "certificates", secret: { secretName: GATEWAY_CERTIFICATE_SECRET, defaultMode: 0o440 } },
      { name: "trust", configMap: { name: TRUST_BUNDLE_CONFIG_MAP } },
      { name: "api", projected: { sources: ACCOUNT_SOURCES } },
    ],
    ...spread(partLabels(way.component)),
  };
}

/** What Kubernetes mounts for a pod's account by itself where that is not switched off. */
const ACCOUNT_SOURCES = [
  { serviceAccountToken: { path: "token", expirationSeconds: 3600 } },
  { configMap: { name: "kube-root-ca.crt", items: [{ key: "ca.crt", path: "ca.crt" }] } },
  { downwardAPI: { items: [{ path: "namespace", fieldRef: { fieldPath: "metadata.namespace" } }] } },
];
