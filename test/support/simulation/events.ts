import { SEATS, type Seat } from "./controllers.ts";
import type { Random } from "./random.ts";
import {
  CLUSTERS,
  type ClusterName,
  EXCLUSIONS,
  GATEWAY_HOST,
  GATEWAY_IPS,
  GATEWAY_NAMESPACE,
  GATEWAY_SERVICES,
  GATEWAYS,
  type GatewayName,
  HOSTS,
  LINK_NAMES,
  LINK_TARGETS,
  type LinkName,
  LONELY_NAMESPACES,
  MORTAL_NAMESPACES,
  NAMESPACES_OF_SERVICES,
  OTHER_SELECTORS,
  OWN_IP,
  type Place,
  POD_NAMES,
  PROBE,
  SELECTORS,
  SERVICE_NAMES,
} from "./scene.ts";
import type {
  Belonging,
  GatewayShape,
  LocalShape,
  Meddling,
  NamespaceLabel,
  PodsShape,
  SecretState,
  ServiceShape,
  Spot,
} from "./world.ts";

export type ApiName = "source" | ClusterName;

/** Something that happens. Plain data: it can be printed, left out, and made to happen again. */
export type Event =
  | { do: "service"; place: Place; shape: ServiceShape | undefined }
  /** `undefined`: nothing is known of them. */
  | { do: "pods-behind"; place: Place; pods: PodsShape | undefined }
  | { do: "local"; namespace: string; service: string; shape: LocalShape | undefined }
  | { do: "gateway"; ip: string; alive: boolean }
  | { do: "gateway-host"; ips: string[] }
  | { do: "gateway-service"; cluster: ClusterName; name: GatewayName; shape: GatewayShape | undefined }
  | { do: "link"; link: LinkName; there: boolean }
  | { do: "link-spec"; link: LinkName; field: string; value: unknown }
  | { do: "namespace"; name: string; there: boolean; slowly: boolean }
  | { do: "namespace-label"; name: string; label: NamespaceLabel }
  | ({ do: "belonging" } & Belonging)
  | { do: "secret"; link: LinkName; state: SecretState }
  | { do: "pod"; name: (typeof POD_NAMES)[number]; state: "absent" | "starting" | "serving" }
  | { do: "foreign"; place: Place; spot: Spot; what: "service" | "slice" | "other-isthmus"; there: boolean }
  | { do: "meddle"; place: Place; spot: Spot; how: Meddling }
  | { do: "weather"; api: ApiName; state: "up" | "refusing" | "hanging" }
  | { do: "disturb"; api: ApiName; faults: number; slow: number; repeats: number; breaks: number }
  | { do: "cut" | "forget" | "end-watches" | "fail-watches"; api: ApiName }
  | { do: "pages"; api: ApiName; size: number }
  | { do: "revoke"; cluster: ClusterName; token: "good" | "renewed"; accepted: boolean }
  | { do: "partition"; seat: Seat; api: ApiName; apart: boolean }
  | { do: "start" | "stop" | "kill"; seat: Seat }
  /** Everything works again, and what is then, the controller must come to agree with. */
  | { do: "rest"; idle: boolean };

export interface Step {
  event: Event;
  /** Milliseconds until the next. */
  wait: number;
}

/** What a stretch of events between two rests may disturb. */
interface Stretch {
  apis: ApiName[];
  processes: boolean;
  /** The controller makes namespaces. */
  namespaces: boolean;
}

/**
 * A sequence of events, the last of which is a rest.
 *
 * @param namespaces whether the controller makes namespaces
 */
export function drawSteps(random: Random, count: number, namespaces: boolean): Step[] {
  const steps: Step[] = beginning(random);
  while (steps.length < count - 1) {
    const stretch = { ...drawStretch(random), namespaces };
    const length = random.between(40, 200);
    for (let left = Math.min(length, count - 1 - steps.length); left > 0; left--) {
      steps.push({ event: drawEvent(random, stretch), wait: drawWait(random) });
    }
    steps.push({ event: { do: "rest", idle: random.chance(0.3) }, wait: random.chance(0.5) ? 200_000 : 0 });
  }
  return steps;
}

function beginning(random: Random): Step[] {
  const events: Event[] = [
    ...LINK_NAMES.map((link): Event => ({ do: "secret", link, state: "good" })),
    ...random.some(LINK_NAMES, 0.7).map((link): Event => ({ do: "link", link, there: true })),
    ...random
      .some(MORTAL_NAMESPACES, 0.8)
      .map((name): Event => ({ do: "namespace", name, there: true, slowly: false })),
    ...random.some(POD_NAMES, 0.7).map((name): Event => ({ do: "pod", name, state: "serving" })),
    ...random.some(SEATS, 0.8).map((seat): Event => ({ do: "start", seat })),
    ...Array.from(
      { length: 12 },
      (): Event => ({ do: "service", place: drawPlace(random), shape: drawShape(random) }),
    ),
    ...CLUSTERS.flatMap((cluster) =>
      GATEWAY_SERVICES.map((name) => drawGatewayService(random, cluster, name)),
    ),
    ...Array.from({ length: 8 }, (): Event => drawPodsBehind(random, drawPlace(random))),
  ];
  return events
    .map((event) => ({ event, order: random.next() }))
    .sort((a, b) => a.order - b.order)
    .map(({ event }) => ({ event, wait: random.between(0, 50) }));
}

function drawStretch(random: Random): Omit<Stretch, "namespaces"> {
  const some = random.some(CLUSTERS);
  return random.weighted<Omit<Stretch, "namespaces">>([
    [3, { apis: [], processes: false }],
    [3, { apis: some.length > 0 ? some : ["east"], processes: false }],
    [2, { apis: [], processes: true }],
    [4, { apis: ["source", ...some], processes: true }],
  ]);
}

function drawWait(random: Random): number {
  return random.weighted([
    [6, random.between(0, 100)],
    [6, random.between(100, 1_500)],
    [3, random.between(1_500, 6_000)],
    [1, random.between(6_000, 60_000)],
    [0.2, random.between(60_000, 300_000)],
  ]);
}

function drawEvent(random: Random, { apis, processes, namespaces }: Stretch): Event {
  const place = drawPlace(random);
  const link = random.pick(LINK_NAMES);
  const choices: [number, () => Event][] = [
    [30, () => ({ do: "service", place, shape: random.chance(0.25) ? undefined : drawShape(random) })],
    [16, () => drawPodsBehind(random, place)],
    [5, () => drawLocal(random, place)],
    [3, () => ({ do: "gateway", ip: random.pick(GATEWAY_IPS), alive: random.chance(0.6) })],
    [1, () => ({ do: "gateway-host", ips: atLeastOne(random, GATEWAY_IPS) })],
    [4, () => drawGatewayService(random, place.cluster, random.pick(GATEWAY_SERVICES))],
    [4, () => ({ do: "link", link, there: random.chance(0.65) })],
    [6, () => drawLinkSpec(random, link)],
    [4, () => drawNamespace(random)],
    [
      6,
      () => ({
        do: "pod",
        name: random.pick(POD_NAMES),
        state: random.pick(["absent", "starting", "serving", "serving"]),
      }),
    ],
    [6, () => drawForeign(random, place)],
    [16, () => ({ do: "meddle", place, spot: drawSpot(random), how: random.pick(MEDDLING) })],
    [2, () => ({ do: "secret", link, state: random.pick(["good", "renewed"]) })],
  ];
  if (namespaces) {
    const name = random.pick([...LONELY_NAMESPACES, ...LONELY_NAMESPACES, ...MORTAL_NAMESPACES]);
    const lonely = {
      cluster: random.pick(CLUSTERS.slice(0, 2)),
      namespace: random.pick(LONELY_NAMESPACES),
      service: "web",
    };
    choices.push(
      [
        20,
        () => ({ do: "service", place: lonely, shape: random.chance(0.6) ? undefined : drawShape(random) }),
      ],
      [2, () => ({ do: "namespace", name, there: random.chance(0.4), slowly: random.chance(0.3) })],
      [3, () => ({ do: "namespace-label", name, label: random.pick(NAMESPACE_LABELS) })],
      [12, () => drawBelonging(random, name)],
    );
  }
  if (apis.length > 0) {
    const api = random.pick(apis);
    choices.push(
      [6, () => ({ do: "weather", api, state: random.pick(["up", "up", "refusing", "hanging"]) })],
      [8, () => drawDisturbance(random, api)],
      [3, () => ({ do: "cut", api })],
      [3, () => ({ do: "forget", api })],
      [3, () => ({ do: "end-watches", api })],
      [2, () => ({ do: "fail-watches", api })],
      [2, () => ({ do: "pages", api, size: random.pick([1, 3, 500]) })],
    );
    const clusters = apis.filter((each) => each !== "source");
    const links = LINK_NAMES.filter((each) => clusters.some((cluster) => each.startsWith(cluster)));
    if (links.length > 0) {
      choices.push([
        5,
        () => ({ do: "secret", link: random.pick(links), state: random.pick(SECRET_STATES) }),
      ]);
      const cluster = random.pick(clusters) as ClusterName;
      const token = random.pick(["good", "renewed"] as const);
      choices.push([2, () => ({ do: "revoke", cluster, token, accepted: random.chance(0.5) })]);
    }
  }
  if (processes) {
    const seat = random.pick(SEATS);
    const api = random.pick(["source", ...CLUSTERS] as const);
    choices.push([5, () => ({ do: random.pick(["start", "start", "start", "stop", "kill"]), seat })]);
    if (apis.includes("source"))
      choices.push([3, () => ({ do: "partition", seat, api, apart: random.chance(0.5) })]);
  }
  return random.weighted(choices)();
}

const MEDDLING: Meddling[] = [
  "delete",
  "delete",
  "delete-slice",
  "ports",
  "labels",
  "annotations",
  "egress-port",
  "selector",
  "headless",
  "disown",
  "endpoints",
  "slice-labels",
  "stray-slice",
  "members",
];

const SECRET_STATES: SecretState[] = [
  "good",
  "renewed",
  "revoked",
  "absent",
  "garbage",
  "wrong-type",
  "nowhere",
];

function drawPlace(random: Random): Place {
  const namespace = random.chance(0.05) ? "kube-system" : random.pick(NAMESPACES_OF_SERVICES.slice(0, 3));
  return { cluster: random.pick(CLUSTERS), namespace, service: random.pick(SERVICE_NAMES) };
}

function drawShape(random: Random): ServiceShape {
  const kind = random.weighted<ServiceShape["kind"]>([
    [12, "exported"],
    [2, "private"],
    [1, "direct"],
    [4, "headless"],
    [1, "external"],
    [1, "mirror"],
    [1, "no-tcp"],
  ]);
  const ports = atLeastOne(random, [80, 443, 9090]).map((port) => ({
    port,
    name: `p${port}`,
    protocol: "TCP",
    ...(port === 443 && { appProtocol: "https" }),
  }));
  const labels: Record<string, string> = {};
  if (random.chance(0.4)) labels["example.com/tier"] = random.pick(["gold", "silver", "lead"]);
  if (random.chance(0.2)) labels["team.example/name"] = random.pick(["red", "blue"]);
  if (random.chance(0.1)) labels["argocd.argoproj.io/instance"] = "app";
  if (random.chance(0.1)) labels["app.kubernetes.io/managed-by"] = "Helm";
  const annotations: Record<string, string> = {};
  if (random.chance(0.3)) annotations["example.com/note"] = random.pick(["one", "two"]);
  if (random.chance(0.2)) annotations["team.example/owner"] = "somebody";
  if (random.chance(0.1)) annotations["kubectl.kubernetes.io/last-applied-configuration"] = "{}";
  if (random.chance(0.05)) annotations["isthmus.dev/egress-ports"] = "80=20001";
  if (random.chance(0.05)) annotations["egress-ports.isthmus.dev/isthmus.east"] = "80=20001";
  if (random.chance(0.1)) annotations["config.linkerd.io/opaque-ports"] = "80";
  if (random.chance(0.2)) {
    annotations["mirror.linkerd.io/gateway-name"] = random.pick([...GATEWAY_SERVICES, "nowhere"]);
    if (random.chance(0.9)) annotations["mirror.linkerd.io/gateway-ns"] = GATEWAY_NAMESPACE;
  }
  return { kind, federated: random.chance(0.4), ports, labels, annotations };
}

function drawGatewayService(random: Random, cluster: ClusterName, name: GatewayName): Event {
  if (random.chance(0.15)) return { do: "gateway-service", cluster, name, shape: undefined };
  // Mostly others than the Links themselves say.
  const addresses = random.pick([
    ["192.0.2.128"],
    ["192.0.2.129"],
    ["192.0.2.129", GATEWAY_HOST],
    [],
    [OWN_IP],
  ]);
  const identity = random.pick([
    `${name}.${cluster}.demo.mesh`,
    `gateway.${cluster}.demo.mesh`,
    "side.elsewhere.mesh",
  ]);
  const shape = {
    addresses,
    port: random.pick([4143, 4143, 5143]),
    probed: random.chance(0.7),
    ...(random.chance(0.9) && { identity }),
  };
  return { do: "gateway-service", cluster, name, shape };
}

function drawPodsBehind(random: Random, place: Place): Event {
  if (random.chance(0.1)) return { do: "pods-behind", place, pods: undefined };
  const hosts = random.some(
    HOSTS.map((_, index) => index),
    0.35,
  );
  const pods = hosts.map((host) => ({ host, ready: random.chance(0.7) }));
  const slices = random.pick(["one", "one", "two", "families"] as const);
  return { do: "pods-behind", place, pods: { pods, slices } };
}

function drawLocal(random: Random, { namespace, service }: Place): Event {
  const home = namespace === "kube-system" ? "shop" : namespace;
  const ports = atLeastOne(random, [80, 443]).map((port) => ({ port, name: `p${port}` }));
  const labels: Record<string, string> = {};
  if (random.chance(0.3)) labels["example.com/tier"] = "gold";
  const shape = random.chance(0.4) ? undefined : { ports, labels, ready: random.chance(0.7) };
  return { do: "local", namespace: home, service, shape };
}

function drawSpot(random: Random): Spot {
  const host = random.between(0, HOSTS.length - 1);
  return random.weighted<Spot>([
    [5, "mirror"],
    [4, "federated"],
    [3, { host }],
  ]);
}

function atLeastOne<T>(random: Random, from: readonly T[]): T[] {
  const some = random.some(from, 0.6);
  return some.length > 0 ? some : [from[0] as T];
}

function drawLinkSpec(random: Random, link: LinkName): Event {
  const [field, value] = random.pick<[string, unknown]>([
    ["selector", random.pick(Object.values(SELECTORS))],
    ["selector", SELECTORS.default],
    ["excludedLabels", random.pick(EXCLUSIONS)],
    ["excludedAnnotations", random.pick(EXCLUSIONS)],
    ["remoteDiscoverySelector", random.pick(Object.values(OTHER_SELECTORS))],
    ["federatedServiceSelector", random.pick(Object.values(OTHER_SELECTORS))],
    ["federatedServiceSelector", undefined],
    ["gatewayAddresses", random.pick(GATEWAYS)],
    ["gatewayAddresses", ["192.0.2.127"]],
    ["gatewayPort", random.pick([4143, 5143, undefined])],
    ["gatewayIdentity", `gateway.${LINK_TARGETS[link]}.demo.mesh`],
    [
      "gatewayIdentity",
      random.pick([`other.${LINK_TARGETS[link]}.demo.mesh`, "gateway.elsewhere.mesh", undefined]),
    ],
    ["gateway", { namespace: GATEWAY_NAMESPACE, name: random.pick([...GATEWAY_SERVICES, "nowhere"]) }],
    ["gateway", random.pick([{ namespace: GATEWAY_NAMESPACE, name: "main" }, undefined])],
    ["targetClusterDomain", random.pick(["cluster.local", "other.example", undefined])],
    ["probe", random.pick([PROBE, undefined])],
  ]);
  return { do: "link-spec", link, field, value };
}

function drawNamespace(random: Random): Event {
  const name = random.pick(MORTAL_NAMESPACES);
  return { do: "namespace", name, there: random.chance(0.7), slowly: random.chance(0.3) };
}

const NAMESPACE_LABELS: NamespaceLabel[] = ["other", "other", "taken away", "given back"];

function drawBelonging(random: Random, namespace: string): Event {
  const kind = random.weighted<Belonging["kind"]>([
    [4, "ConfigMap"],
    [4, "Secret"],
    [1, "ResourceQuota"],
  ]);
  return {
    do: "belonging",
    namespace,
    kind,
    there: random.chance(0.4),
    when: random.pick(["now", "now", "counted", "closed"]),
  };
}

function drawForeign(random: Random, place: Place): Event {
  const what = random.pick(["service", "service", "slice", "other-isthmus"] as const);
  return { do: "foreign", place, spot: drawSpot(random), what, there: random.chance(0.4) };
}

function drawDisturbance(random: Random, api: ApiName): Event {
  const faults = random.pick([0, 0.02, 0.1, 0.3]);
  const slow = random.pick([0, 0.02, 0.2]);
  return {
    do: "disturb",
    api,
    faults,
    slow,
    repeats: random.pick([0, 0.1]),
    breaks: random.pick([0, 0.02, 0.1]),
  };
}
