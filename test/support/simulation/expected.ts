import {
  hostLabel,
  type LinkSpec,
  linkLabelValue,
  memberSliceName,
  mirrorName,
  parseEgressPorts,
  sliceName,
} from "../../../contract/index.ts";
import type { EndpointSlice, Service, ServicePort } from "../../../controller/kube/objects.ts";
import { SERVICES } from "../../../controller/kube/resource.ts";
import { type Gateway, ipsOf, isAlive, ownGateway, wayTo } from "./gateways.ts";
import {
  admitted,
  type Claim,
  isEmpty,
  localSlicesOf,
  type Member,
  ownerOf,
  podAddresses,
  podsOf,
  slicesBehind,
  tcpPorts,
  type Verdict,
  type Worlds,
} from "./model.ts";
import { ANNOTATIONS, LABELS, OWN_NAMESPACE } from "./scene.ts";

/** What the objects of a mirror must be, field by field. */

type Mirror = Extract<Verdict, { kind: "mirror" }>;

/** How much of the endpoints is to be compared. */
export type Closeness =
  | "all"
  /** What probes say may not be known yet. */
  | "without readiness"
  /** Nor where host names lead, nor which pods have mirrors. */
  | "without endpoints"
  /** Nor by which gateway it is called: what the Services of gateways say may not be known yet. */
  | "without way";

const EGRESS_PORTS = "isthmus.dev/egress-ports";
const MEMBER_PORTS = "egress-ports.isthmus.dev/";
/** What says by which gateway a mirror is called. */
const WAY = ["isthmus.dev/gateway", "mirror.linkerd.io/remote-gateway-identity"];

/** Whether the mirror of a service must be headless. */
export function mustBeHeadless(worlds: Worlds, claim: Claim, actual: Service | undefined): boolean {
  if (claim.kind !== "service" || claim.direct || claim.remote.spec?.clusterIP !== "None") return false;
  if (worlds.dataPlane === "standalone") return true;
  const endpoints = slicesBehind(worlds, claim).flatMap((slice) => slice.endpoints ?? []);
  // With no pods, it stays what it was.
  return endpoints.length === 0
    ? actual?.spec?.clusterIP === "None"
    : endpoints.some(({ hostname }) => hostname);
}

/** How a mirror's Service differs from what it must be, in words. */
export function serviceDifferences(
  worlds: Worlds,
  mirror: Service,
  verdict: Mirror,
  closeness: Closeness = "all",
): string[] {
  const found: string[] = [];
  const { labels = {}, annotations = {} } = mirror.metadata;
  const headless = mustBeHeadless(worlds, verdict.claim, mirror);
  const wanted = metadataOf(worlds, verdict, headless);
  differs(found, "labels", text(labels), text(wanted.labels));
  const isPorts = (key: string) => key === EGRESS_PORTS || key.startsWith(MEMBER_PORTS);
  const entries = Object.entries(annotations);
  const others = Object.fromEntries(entries.filter(([key]) => !isPorts(key)));
  differs(found, "annotations", seen(others, closeness), seen(wanted.annotations, closeness));
  const spec = mirror.spec ?? {};
  differs(found, "type", spec.type ?? "ClusterIP", "ClusterIP");
  differs(found, "selector", text(spec.selector), "{}");
  if ((spec.clusterIP === "None") !== headless) found.push(`it is ${headless ? "not " : ""}headless`);
  differs(found, "ports", describe(spec.ports), describe(verdict.ports));
  const egress = egressOf(worlds, verdict, headless);
  const actual = new Map(entries.filter(([key]) => isPorts(key)));
  differs(
    found,
    "annotations of egress ports",
    [...actual.keys()].sort().join(),
    [...egress.keys()].sort().join(),
  );
  for (const [key, ports] of egress) {
    const numbers = parseEgressPorts(actual.get(key));
    differs(found, `ports with an egress port in ${key}`, [...numbers.keys()].join(), unique(ports).join());
    for (const number of numbers.values()) {
      if (number < 20_000 || number > 28_191) found.push(`egress port ${number} is out of the range`);
    }
  }
  return found;
}

/** How a mirror's slices differ from what they must be. */
export function sliceDifferences(
  worlds: Worlds,
  mirror: Service,
  slices: readonly EndpointSlice[],
  verdict: Mirror,
  closeness: Closeness = "all",
): string[] {
  const wanted = slicesFor(worlds, mirror, verdict);
  const names = wanted.map(({ metadata }) => metadata.name);
  const strays = slices.filter(({ metadata }) => !names.includes(metadata.name));
  const found = strays.map(({ metadata }) => `there is another slice ${metadata.name}`);
  for (const each of wanted) {
    const slice = slices.find(({ metadata }) => metadata.name === each.metadata.name);
    if (slice === undefined) found.push(`there is no slice ${each.metadata.name}`);
    else found.push(...oneSliceDifferences(slice, each, closeness));
  }
  return found;
}

/** How one slice of a mirror differs from what it must be; nothing where it should not be. */
export function differencesOfSlice(
  worlds: Worlds,
  mirror: Service,
  slice: EndpointSlice,
  verdict: Mirror,
  closeness: Closeness,
): string[] {
  const wanted = slicesFor(worlds, mirror, verdict).find(
    ({ metadata }) => metadata.name === slice.metadata.name,
  );
  return wanted === undefined ? ["it should not be"] : oneSliceDifferences(slice, wanted, closeness);
}

function oneSliceDifferences(slice: EndpointSlice, wanted: EndpointSlice, closeness: Closeness): string[] {
  const found: string[] = [];
  const owners = ({ metadata }: EndpointSlice) =>
    (metadata.ownerReferences ?? []).map((owner) => owner.uid).join();
  differs(found, "slice's labels", text(slice.metadata.labels), text(wanted.metadata.labels));
  const annotations = ({ metadata }: EndpointSlice) => seen(metadata.annotations, closeness);
  differs(found, "slice's annotations", annotations(slice), annotations(wanted));
  differs(found, "slice's owners", owners(slice), owners(wanted));
  const endpoints = ({ endpoints: all = [] }: EndpointSlice) =>
    all
      .map(({ addresses, hostname = "", conditions }) => {
        const ready = closeness === "all" && conditions?.ready === false ? "not ready" : "";
        return [addresses.join("+"), hostname, ready].filter(Boolean).join(" ");
      })
      .sort()
      .join();
  if (closeness === "all" || closeness === "without readiness")
    differs(found, "slice's endpoints", endpoints(slice), endpoints(wanted));
  const ports = ({ ports: all = [] }: EndpointSlice) =>
    all
      .map(({ name = "", protocol, port, appProtocol = "" }) => `${name}/${protocol}/${port}/${appProtocol}`)
      .sort()
      .join();
  if (closeness !== "without way") differs(found, "slice's ports", ports(slice), ports(wanted));
  return found;
}

function metadataOf(
  worlds: Worlds,
  { claim, model }: Mirror,
  headless: boolean,
): { labels: Record<string, string>; annotations: Record<string, string> } {
  const { namespace, name, resourceVersion = "" } = model.metadata;
  if (claim.kind === "federated") {
    const members = admitted(worlds, claim.members);
    const local = claim.local === model;
    const spec: Partial<LinkSpec> = local ? {} : members[0]!.link.spec;
    const entries = members.map(({ cluster }) => `${name}@${cluster}`).sort();
    return {
      labels: {
        ...copied(model.metadata.labels, LABELS, spec.excludedLabels),
        "mirror.linkerd.io/mirrored-service": "true",
        "app.kubernetes.io/managed-by": "isthmus",
        "isthmus.dev/federated-by": OWN_NAMESPACE,
      },
      annotations: {
        ...copied(model.metadata.annotations, ANNOTATIONS, spec.excludedAnnotations),
        "isthmus.dev/remote-service": `${namespace}/${name}`,
        ...(entries.length > 0 && { "multicluster.linkerd.io/remote-discovery": entries.join() }),
        ...(local && { "multicluster.linkerd.io/local-discovery": name }),
      },
    };
  }
  const { link, cluster } = claim;
  const direct = claim.kind === "service" && claim.direct;
  const host = claim.kind === "pod" ? `${claim.host}.` : "";
  const { choice } = direct || headless ? {} : wayTo(worlds, link, model);
  const domain = link.spec.targetClusterDomain ?? "cluster.local";
  return {
    labels: {
      ...copied(model.metadata.labels, LABELS, link.spec.excludedLabels),
      "mirror.linkerd.io/mirrored-service": "true",
      "mirror.linkerd.io/cluster-name": cluster,
      "app.kubernetes.io/managed-by": "isthmus",
      "isthmus.dev/link": linkLabelValue(link.metadata),
      ...(direct && {
        "multicluster.linkerd.io/remote-discovery": cluster,
        "multicluster.linkerd.io/remote-service": name,
      }),
      ...(claim.kind === "pod" && {
        "mirror.linkerd.io/headless-mirror-svc-name": mirrorName(name, cluster),
      }),
    },
    annotations: {
      ...copied(model.metadata.annotations, ANNOTATIONS, link.spec.excludedAnnotations),
      "mirror.linkerd.io/remote-svc-fq-name": `${host}${name}.${namespace}.svc.${domain}`,
      "mirror.linkerd.io/remote-resource-version": resourceVersion,
      "isthmus.dev/remote-service": `${namespace}/${name}`,
      ...(claim.kind === "pod" && { "isthmus.dev/remote-host": claim.host }),
      ...(choice && { "isthmus.dev/gateway": `${choice.namespace}/${choice.name}` }),
    },
  };
}

/** Which ports have egress ports, by the annotation that says so. */
function egressOf(worlds: Worlds, { claim, ports }: Mirror, headless: boolean): Map<string, number[]> {
  const numbers = (all: readonly ServicePort[]) => all.map(({ port }) => port);
  if (worlds.dataPlane === "linkerd" || headless) return new Map();
  if (claim.kind !== "federated") return new Map([[EGRESS_PORTS, numbers(ports)]]);
  return new Map(
    admitted(worlds, claim.members).map(({ link, remote }) => [
      `${MEMBER_PORTS}${linkLabelValue(link.metadata)}`,
      numbers(tcpPorts(remote)),
    ]),
  );
}

function slicesFor(worlds: Worlds, mirror: Service, { claim }: Mirror): EndpointSlice[] {
  const { name } = mirror.metadata;
  if (claim.kind === "federated") {
    if (worlds.dataPlane === "linkerd") return [];
    return [
      ...admitted(worlds, claim.members).map((member) => memberSlice(worlds, mirror, member)),
      ...localSlicesOf(worlds, claim.local).map((slice) => localSlice(mirror, slice)),
    ];
  }
  if (claim.kind === "service" && claim.direct) return [];
  const frame = frameOf(mirror, sliceName(name));
  if (mustBeHeadless(worlds, claim, mirror)) {
    const ports = (mirror.spec?.ports ?? []).map((port) => slicePort(port, port.port));
    return [{ ...frame, endpoints: podEndpoints(worlds, claim), ports }];
  }
  const way = wayTo(worlds, claim.link, claim.remote);
  const empty = way.closed ?? (claim.kind === "pod" ? !claim.ready : isEmpty(worlds, claim));
  const { endpoints, port, identity } = backendOf(worlds, way.gateway, empty);
  const egress = parseEgressPorts(mirror.metadata.annotations?.[EGRESS_PORTS]);
  const ports = (mirror.spec?.ports ?? []).flatMap((each) => {
    const number = port ?? egress.get(each.port);
    return number === undefined ? [] : [slicePort(each, number)];
  });
  const annotations = {
    ...frame.metadata.annotations,
    ...(identity && { "mirror.linkerd.io/remote-gateway-identity": identity }),
    ...(empty && { "isthmus.dev/remote-endpoints": "none" }),
  };
  return [{ ...frame, metadata: { ...frame.metadata, annotations }, endpoints, ports }];
}

function frameOf({ metadata }: Service, name: string): EndpointSlice {
  const { namespace = "", uid = "", labels = {}, annotations = {} } = metadata;
  const fqName = annotations["mirror.linkerd.io/remote-svc-fq-name"];
  return {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: {
      namespace,
      name,
      labels: {
        ...labels,
        "kubernetes.io/service-name": metadata.name,
        "endpointslice.kubernetes.io/managed-by": "isthmus.dev",
      },
      annotations: fqName === undefined ? {} : { "mirror.linkerd.io/remote-svc-fq-name": fqName },
      ownerReferences: [{ apiVersion: "v1", kind: "Service", name: metadata.name, uid }],
    },
    addressType: "IPv4",
  };
}

function memberSlice(worlds: Worlds, mirror: Service, member: Member): EndpointSlice {
  const { link, cluster, remote } = member;
  const frame = frameOf(mirror, memberSliceName(mirror.metadata.name, cluster));
  const label = linkLabelValue(link.metadata);
  const empty = isEmpty(worlds, member);
  const egress = parseEgressPorts(mirror.metadata.annotations?.[`${MEMBER_PORTS}${label}`]);
  const ports = (mirror.spec?.ports ?? []).flatMap((each) => {
    const own = tcpPorts(remote).find(({ name }) => name === each.name);
    const number = own && egress.get(own.port);
    return number === undefined ? [] : [slicePort(each, number)];
  });
  const labels = {
    ...frame.metadata.labels,
    "mirror.linkerd.io/cluster-name": cluster,
    "isthmus.dev/link": label,
  };
  const annotations = {
    ...frame.metadata.annotations,
    ...(empty && { "isthmus.dev/remote-endpoints": "none" }),
  };
  const { endpoints } = backendOf(worlds, ownGateway(worlds, link), empty);
  return { ...frame, metadata: { ...frame.metadata, labels, annotations }, endpoints, ports };
}

function localSlice(mirror: Service, slice: EndpointSlice): EndpointSlice {
  const names = (mirror.spec?.ports ?? []).map(({ name }) => name);
  return {
    ...frameOf(mirror, memberSliceName(mirror.metadata.name, `/${slice.metadata.name}`)),
    endpoints: (slice.endpoints ?? []).map(({ addresses, conditions }) => ({
      addresses,
      ...(conditions && { conditions }),
    })),
    ports: (slice.ports ?? []).filter(({ name }) => names.includes(name)),
  };
}

/** The pods of a headless service at the addresses of their mirrors. */
function podEndpoints(worlds: Worlds, member: Member): NonNullable<EndpointSlice["endpoints"]> {
  const { remote, cluster } = member;
  return [...podsOf(worlds, member)].flatMap(([key, { host, ready }]) => {
    const [namespace, name = ""] = key.split("/");
    const mirror = worlds.source.find(SERVICES, { namespace, name });
    const owner = mirror && ownerOf(worlds.source, mirror);
    const { annotations = {} } = mirror?.metadata ?? {};
    const isIts =
      owner?.spec.targetClusterName === cluster &&
      annotations["isthmus.dev/remote-host"] === host &&
      annotations["isthmus.dev/remote-service"] === `${remote.metadata.namespace}/${remote.metadata.name}`;
    if (!isIts) return [];
    return [{ addresses: mirror?.spec?.clusterIPs ?? [], hostname: hostLabel(host), conditions: { ready } }];
  });
}

/** Where the calls to a mirror go. */
function backendOf(worlds: Worlds, gateway: Gateway, empty: boolean) {
  const ips = ipsOf(worlds, gateway.addresses);
  const endpoint = (ip: string, alive: boolean) => ({
    addresses: [ip],
    conditions: { ready: alive && !empty },
  });
  if (ips.length === 0) return { endpoints: [] };
  if (worlds.dataPlane === "standalone") {
    const alive = ips.some((ip) => isAlive(worlds, gateway, ip));
    return { endpoints: podAddresses(worlds.source).map((ip) => endpoint(ip, alive)) };
  }
  const endpoints = ips.map((ip) => endpoint(ip, isAlive(worlds, gateway, ip)));
  return { endpoints, port: gateway.port, identity: gateway.identity };
}

function slicePort({ name = "", appProtocol }: ServicePort, port: number) {
  return { name, protocol: "TCP", port, ...(appProtocol && { appProtocol }) };
}

function copied(
  from: Record<string, string> | undefined,
  rules: Record<string, string>,
  excluded: readonly string[] = [],
): Record<string, string> {
  return Object.fromEntries(
    Object.entries(from ?? {}).filter(([key]) => {
      if (rules[key] === "always") return true;
      if (rules[key] === "dropped") return false;
      if (rules[key] !== "copied") throw new Error(`the scene does not say whether ${key} is copied`);
      return !excluded.some((pattern) =>
        pattern.endsWith("/*") ? key.startsWith(pattern.slice(0, -1)) : key === pattern,
      );
    }),
  );
}

/** As much of annotations as is to be compared. */
function seen(annotations: Record<string, string> | undefined, closeness: Closeness): string {
  const entries = Object.entries(annotations ?? {});
  return text(
    Object.fromEntries(entries.filter(([key]) => closeness !== "without way" || !WAY.includes(key))),
  );
}

export function differs(found: string[], what: string, actual: string, wanted: string): void {
  if (actual !== wanted) found.push(`${what} are ${actual || "none"}, not ${wanted || "none"}`);
}

export function text(record: Record<string, string> | undefined): string {
  return JSON.stringify(
    Object.fromEntries(Object.entries(record ?? {}).sort(([a], [b]) => (a < b ? -1 : 1))),
  );
}

function describe(ports: readonly ServicePort[] | undefined): string {
  return (ports ?? [])
    .map(({ name = "", protocol = "TCP", port, targetPort, appProtocol = "" }) =>
      [name, protocol, port, targetPort ?? port, appProtocol].join("/"),
    )
    .join(" ");
}

function unique(numbers: readonly number[]): number[] {
  return [...new Set(numbers)].sort((a, b) => a - b);
}
