/**
 * The strings on the wire. Those under `mirror.linkerd.io/`, `multicluster.linkerd.io/` and `config.linkerd.io/` are
 * Linkerd's and must never change (linkerd2, multicluster/service-mirror and pkg/k8s/labels.go); those under
 * `isthmus.dev/` are ours.
 */

/** On a Service of the target: `true` (through the gateway) or `remote-discovery` (pod to pod). */
export const EXPORTED_LABEL = "mirror.linkerd.io/exported";
/** On a Service of the target: `member` of the federated service of that name. */
export const FEDERATED_LABEL = "mirror.linkerd.io/federated";
/** On an exported Service: which gateway carries it (the older form of export). */
export const GATEWAY_NAME_ANNOTATION = "mirror.linkerd.io/gateway-name";
/** On an exported Service: the namespace of that gateway. */
export const GATEWAY_NAMESPACE_ANNOTATION = "mirror.linkerd.io/gateway-ns";

/** On everything mirrored: `true`. */
export const MIRRORED_LABEL = "mirror.linkerd.io/mirrored-service";
/** On everything mirrored: the target's name (`Link.spec.targetClusterName`). */
export const CLUSTER_NAME_LABEL = "mirror.linkerd.io/cluster-name";
/** On mirrors and their slices: `<service>.<namespace>.svc.<target's cluster domain>`. */
export const REMOTE_FQ_NAME_ANNOTATION = "mirror.linkerd.io/remote-svc-fq-name";
/** On mirrors: the resourceVersion of the remote Service that the mirror was made from. */
export const REMOTE_RESOURCE_VERSION_ANNOTATION = "mirror.linkerd.io/remote-resource-version";
/** On slices: the TLS identity to expect of the gateway. */
export const REMOTE_GATEWAY_IDENTITY_ANNOTATION = "mirror.linkerd.io/remote-gateway-identity";
/** On a mirror whose pods are called directly: the target's name; Linkerd's destination then asks that cluster for endpoints. */
export const REMOTE_DISCOVERY_LABEL = "multicluster.linkerd.io/remote-discovery";
/** On such a mirror: the name of the remote Service. */
export const REMOTE_SERVICE_LABEL = "multicluster.linkerd.io/remote-service";
/** On a federated Service: its members elsewhere, `<service>@<cluster>` joined by commas. */
export const REMOTE_DISCOVERY_ANNOTATION = "multicluster.linkerd.io/remote-discovery";
/** On a federated Service: the name of its member in this cluster. */
export const LOCAL_DISCOVERY_ANNOTATION = "multicluster.linkerd.io/local-discovery";
/** On the mirror of one pod of a headless service: the name of the service's own mirror. */
export const HEADLESS_MIRROR_LABEL = "mirror.linkerd.io/headless-mirror-svc-name";
/** On the credentials Secret that Linkerd's destination reads: label, and the two annotations that it needs beside it. */
export const DESTINATION_CLUSTER_LABEL = "multicluster.linkerd.io/cluster-name";
export const DESTINATION_TRUST_DOMAIN_ANNOTATION = "multicluster.linkerd.io/trust-domain";
export const DESTINATION_CLUSTER_DOMAIN_ANNOTATION = "multicluster.linkerd.io/cluster-domain";
/** Every label with this prefix belongs to the mirroring itself and is never copied from the target. */
export const MIRROR_PREFIX = "mirror.linkerd.io/";
/** Copied to a mirror even when excluded. */
export const OPAQUE_PORTS_ANNOTATION = "config.linkerd.io/opaque-ports";

/** On a gateway's Service: its TLS identity. */
export const GATEWAY_IDENTITY_ANNOTATION = "mirror.linkerd.io/gateway-identity";
export const PROBE_PATH_ANNOTATION = "mirror.linkerd.io/probe-path";
export const PROBE_PERIOD_ANNOTATION = "mirror.linkerd.io/probe-period";
/** Names of the ports of a gateway's Service. */
export const GATEWAY_PORT_NAME = "mc-gateway";
export const PROBE_PORT_NAME = "mc-probe";

/** The credentials Secret: its type, and the one key of its data. */
export const CREDENTIALS_SECRET_TYPE = "mirror.linkerd.io/remote-kubeconfig";
export const CREDENTIALS_SECRET_KEY = "kubeconfig";

/** Kubernetes' own. */
export const MANAGED_BY_LABEL = "app.kubernetes.io/managed-by";
export const COMPONENT_LABEL = "app.kubernetes.io/component";
export const NAME_LABEL = "app.kubernetes.io/name";
export const PART_OF_LABEL = "app.kubernetes.io/part-of";
export const SERVICE_NAME_LABEL = "kubernetes.io/service-name";
export const SLICE_MANAGED_BY_LABEL = "endpointslice.kubernetes.io/managed-by";
/** Set by Kubernetes on the slices of a headless Service. */
export const HEADLESS_LABEL = "service.kubernetes.io/headless";

/** Value of `app.kubernetes.io/managed-by` on what the controller makes, and the start of all its field managers. */
export const MANAGER = "isthmus";
/** Value of `endpointslice.kubernetes.io/managed-by` on our slices. */
export const SLICE_MANAGER = "isthmus.dev";

/** Our own prefix. */
export const ISTHMUS_PREFIX = "isthmus.dev/";
/** On everything the controller makes: `<namespace of the Link>.<name of the Link>`, see `linkLabelValue`. */
export const LINK_LABEL = "isthmus.dev/link";
/** On mirrors: `<namespace>/<name>` of the remote Service. */
export const REMOTE_SERVICE_ANNOTATION = "isthmus.dev/remote-service";
/** On mirrors: the egress port of each service port, as `<port>=<egress port>` joined by commas: `8888=20417,9090=27110`. */
export const EGRESS_PORTS_ANNOTATION = "isthmus.dev/egress-ports";
/** On the mirror of one pod of a headless service: which pod, as `endpointHost` names it. */
export const REMOTE_HOST_ANNOTATION = "isthmus.dev/remote-host";
/** On a mirror whose service chooses a gateway of its own: `<namespace>/<name>` of that gateway's Service in the target. */
export const GATEWAY_ANNOTATION = "isthmus.dev/gateway";
/**
 * On a federated Service and its slices, instead of `isthmus.dev/link`, which only the slices of its members have: the
 * namespace of the Isthmus that made it.
 */
export const FEDERATED_BY_LABEL = "isthmus.dev/federated-by";
/**
 * On a federated Service, for each member elsewhere: `egress-ports.isthmus.dev/<label of the Link>`, with the egress port of
 * each port of that member's Service, as in `isthmus.dev/egress-ports`.
 */
export const MEMBER_PORTS_PREFIX = "egress-ports.isthmus.dev/";
/** On a namespace that the controller made: the namespace of the Isthmus that made it. */
export const CREATED_BY_LABEL = "isthmus.dev/created-by";
/** On the slices of a mirror whose service has no ready endpoint in the target: `none`. */
export const REMOTE_ENDPOINTS_ANNOTATION = "isthmus.dev/remote-endpoints";
/** On an exported Service: names of the clusters that may call it, joined by commas. Absent: every source with access. */
export const ALLOWED_CLUSTERS_ANNOTATION = "isthmus.dev/allowed-clusters";
/** On the ServiceAccount of a remote access: the source cluster that may use it. */
export const SOURCE_LABEL = "isthmus.dev/source";
/** On every object that the stacks and `Mesh` make: the name of the mesh. */
export const MESH_LABEL = "isthmus.dev/mesh";
/** Finalizer on Links: the controller removes the mirrors before the Link goes. */
export const LINK_FINALIZER = "isthmus.dev/mirrors";
/** Readiness gate of egress pods: true once every mirror's slice names the pod. */
export const IN_SLICES_GATE = "isthmus.dev/in-slices";
