import { isIP } from "node:net";
import {
  type GatewayReference,
  type Link,
  type LinkGatewayStatus,
  linkLabelValue,
} from "../../../contract/index.ts";
import type { Service } from "../../../controller/kube/objects.ts";
import { SERVICES } from "../../../controller/kube/resource.ts";
import { type Claim, type Member, type Worlds, wantedBy } from "./model.ts";
import { OWN_IP } from "./scene.ts";

/** By which gateways exported services are called, and how these are reached, once all is known. */

/** How a gateway is reached. */
export interface Gateway {
  /** None: it cannot be, or may not be. */
  addresses: readonly string[];
  port: number;
  identity?: string | undefined;
  /** Whether its addresses are probed. */
  probed: boolean;
}

/** The way to an exported service. */
export interface Way {
  gateway: Gateway;
  /** The gateway that the service chooses, where that is not the Link's own. */
  choice?: GatewayReference;
  /** It cannot be called as it wants to be. */
  problem?: true;
  /** What it wants cannot even be understood: nobody is to be called. */
  closed?: true;
}

const UNREACHABLE: Gateway = { addresses: [], port: 4143, probed: false };

export function wayTo(worlds: Worlds, link: Link, remote: Service): Way {
  const wanted = choiceOf(remote);
  const own = ownGateway(worlds, link);
  if (wanted === "neither") return { gateway: own, problem: true, closed: true };
  if (wanted === undefined || isOwn(worlds, link, wanted)) return { gateway: own };
  const gateway = chosenGateway(worlds, link, wanted);
  return { gateway, choice: wanted, ...(gateway === UNREACHABLE && { problem: true }) };
}

/** The Link's own gateway: where the Service that it follows says, or where the Link does. Its identity is the Link's. */
export function ownGateway(worlds: Worlds, link: Link): Gateway {
  const { gateway, gatewayAddresses = [], gatewayPort = 4143, gatewayIdentity, probe } = link.spec;
  const said = gateway && readGateway(find(worlds, link, gateway));
  const { addresses, port } = said ?? { addresses: gatewayAddresses, port: gatewayPort };
  return { addresses, port, identity: gatewayIdentity, probed: probe !== undefined };
}

/** For the status of a Link: its own gateway, and all that services choose or mirrors still name. */
export function gatewaysOf(worlds: Worlds, link: Link): { ref?: GatewayReference; gateway: Gateway }[] {
  const refs = new Map<string, GatewayReference>();
  const add = (ref: GatewayReference) => refs.set(`${ref.namespace}/${ref.name}`, ref);
  for (const remote of targetOf(worlds, link).list(SERVICES)) {
    const { mirrored, federated } = wantedBy(link, remote.metadata.labels);
    const choice = choiceOf(remote);
    if ((mirrored || federated) && typeof choice === "object") add(choice);
  }
  for (const { metadata } of worlds.source.list(SERVICES)) {
    const [namespace, name] = metadata.annotations?.["isthmus.dev/gateway"]?.split("/") ?? [];
    const ours = metadata.labels?.["isthmus.dev/link"] === linkLabelValue(link.metadata);
    if (ours && namespace && name) add({ namespace, name });
  }
  const others = [...refs].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, ref]) => ref);
  return [
    { gateway: ownGateway(worlds, link) },
    ...others
      .filter((ref) => !isOwn(worlds, link, ref))
      .map((ref) => ({ ref, gateway: chosenGateway(worlds, link, ref) })),
  ].filter(({ gateway }) => gateway.addresses.length > 0);
}

/** What a Link's status must say of its gateways. */
export function gatewayStatuses(worlds: Worlds, link: Link): LinkGatewayStatus[] {
  return gatewaysOf(worlds, link).map(({ ref, gateway }) => ({
    ...ref,
    addresses: gateway.addresses.map((address) => ({
      address,
      alive: ipsOf(worlds, [address]).some((ip) => isAlive(worlds, gateway, ip)),
    })),
    port: gateway.port,
    ...(gateway.identity !== undefined && { identity: gateway.identity }),
  }));
}

/** The IP addresses behind addresses, each once. */
export function ipsOf(worlds: Worlds, addresses: readonly string[]): string[] {
  return [...new Set(addresses.flatMap((each) => (isIP(each) === 0 ? worlds.ipsOf(each) : [each])))];
}

export function isAlive(worlds: Worlds, { probed }: Gateway, ip: string): boolean {
  return !probed || worlds.isAlive(ip);
}

/** Whether how something is called hangs on Services of gateways. */
export function followsGateways(claim: Claim): boolean {
  if (claim.kind === "federated") return claim.members.some(({ link }) => link.spec.gateway !== undefined);
  return claim.link.spec.gateway !== undefined || choiceOf(claim.remote) !== undefined;
}

/** The gateway that a service chooses; `neither` one nor the Link's own where its annotations make no sense. */
function choiceOf({ metadata: { annotations = {} } }: Service): GatewayReference | "neither" | undefined {
  const name = annotations["mirror.linkerd.io/gateway-name"];
  const namespace = annotations["mirror.linkerd.io/gateway-ns"];
  if (name === undefined && namespace === undefined) return undefined;
  return name === undefined || namespace === undefined ? "neither" : { namespace, name };
}

/** Whether a gateway is the Link's own: by its name, or by what it proves. */
function isOwn(worlds: Worlds, link: Link, ref: GatewayReference): boolean {
  const { gateway, gatewayIdentity } = link.spec;
  if (gateway?.namespace === ref.namespace && gateway.name === ref.name) return true;
  const identity = find(worlds, link, ref)?.metadata.annotations?.["mirror.linkerd.io/gateway-identity"];
  return gatewayIdentity !== undefined && identity === gatewayIdentity;
}

function chosenGateway(worlds: Worlds, link: Link, ref: GatewayReference): Gateway {
  const said = readGateway(find(worlds, link, ref));
  if (said?.identity === undefined) return UNREACHABLE;
  const domainOf = (identity = "") => identity.split(".").slice(1).join(".");
  const own = domainOf(link.spec.gatewayIdentity);
  // Without a mesh it must not be another cluster's.
  if (worlds.dataPlane === "standalone" && (own === "" || domainOf(said.identity) !== own))
    return UNREACHABLE;
  return { ...said, probed: said.probed && link.spec.probe !== undefined };
}

/** What the Service of a gateway says; `undefined` where it says too little, or what it may not. */
function readGateway(service: Service | undefined): Gateway | undefined {
  const portOf = (wanted: string) => service?.spec?.ports?.find(({ name }) => name === wanted)?.port;
  const port = portOf("mc-gateway");
  const ingress = service?.status?.loadBalancer?.ingress ?? [];
  const addresses = ingress.flatMap(({ ip, hostname }) => ip ?? hostname ?? []);
  if (port === undefined || addresses.length === 0 || addresses.includes(OWN_IP)) return undefined;
  const identity = service?.metadata.annotations?.["mirror.linkerd.io/gateway-identity"];
  return { addresses, port, identity, probed: portOf("mc-probe") !== undefined };
}

function find(worlds: Worlds, link: Link, ref: GatewayReference): Service | undefined {
  return targetOf(worlds, link).find(SERVICES, ref);
}

function targetOf(worlds: Worlds, { spec }: Link) {
  return worlds.targets[spec.targetClusterName as Member["cluster"]];
}
