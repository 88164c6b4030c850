import {
  ALLOWED_CLUSTERS_ANNOTATION,
  EXPORTED_LABEL,
  FEDERATED_LABEL,
  isDnsLabel,
  MIRRORED_LABEL,
  SOURCE_LABEL,
} from "../../contract/index.ts";
import { type EndpointSlice, keyOf, type Service, type ServiceAccount } from "../kube/objects.ts";
import { doorsOf } from "./doors.ts";
import { byService, isHeadless } from "./host-routes.ts";
import { backendSource, type IngressSettings, ingressConfig, sourceBackend } from "./ingress-config.ts";
import type { Picture, Revoked } from "./picture.ts";
import { tcpPorts } from "./ports.ts";

export interface IngressInput {
  settings: Omit<IngressSettings, "sources">;
  /** Services of the whole cluster; those that are not exported are passed over. */
  services: readonly Service[];
  /** EndpointSlices of the whole cluster; those of other Services than exported headless ones are passed over. */
  slices: readonly EndpointSlice[];
  /** ServiceAccounts of the namespace of Isthmus. */
  serviceAccounts: readonly ServiceAccount[];
}

/** As label selectors: exported Services, and members of federated ones. A selector has no "or". */
export const EXPORTED_SELECTOR = `${EXPORTED_LABEL}=true`;
export const MEMBER_SELECTOR = `${FEDERATED_LABEL}=member`;

/**
 * Whether calls from other clusters may reach this Service at all: it is exported, or a member of a federated service. A
 * mirror is never passed on.
 */
function isLetIn({ metadata: { labels = {} } }: Service): boolean {
  return (
    (labels[EXPORTED_LABEL] === "true" || labels[FEDERATED_LABEL] === "member") &&
    labels[MIRRORED_LABEL] !== "true"
  );
}

/** The clusters that have a remote access here: they may call. */
export function sourcesOf(serviceAccounts: readonly ServiceAccount[]): string[] {
  const sources = serviceAccounts
    .filter(({ metadata }) => metadata.deletionTimestamp === undefined)
    .map(({ metadata }) => metadata.labels?.[SOURCE_LABEL])
    .filter((source) => source !== undefined && isDnsLabel(source));
  return [...new Set(sources as string[])].sort();
}

/** What an ingress should let in, and where to. */
export function ingressPicture({ settings, services, slices, serviceAccounts }: IngressInput): Picture {
  const sources = sourcesOf(serviceAccounts);
  const problems: string[] = [];
  const routes = new Map<string, string>();
  const slicesOf = byService(slices);
  for (const service of services) {
    if (!isLetIn(service)) continue;
    const unreachable = whyUnreachable(service);
    if (unreachable !== undefined) {
      problems.push(
        `exported service ${keyOf(service)} cannot be called from other clusters: ${unreachable}`,
      );
      continue;
    }
    const doors = doorsOf(service, slicesOf.get(keyOf(service)) ?? [], settings.identity);
    for (const caller of callersOf(service, sources)) {
      for (const { serverName, to } of doors) routes.set(`${caller}|${serverName}`, to);
    }
  }
  return {
    config: ingressConfig({ ...settings, sources }),
    maps: [
      {
        file: settings.files.sources,
        entries: new Map(sources.map((source) => [source, sourceBackend(source)])),
        backend: (value) => value,
      },
      { file: settings.files.routes, entries: routes },
    ],
    revoked: (backends) => revoked(backends, sources, settings.files.sources),
    problems,
  };
}

/** The sources without access that a worker still has the backend of. */
function revoked(backends: Iterable<string>, sources: readonly string[], file: string): Revoked[] {
  return [...backends].flatMap((backend) => {
    const source = backendSource(backend);
    return source === undefined || sources.includes(source) ? [] : [{ backend, file, key: source }];
  });
}

/** The clusters that an export is narrowed to; undefined: every source. An annotation without a name lets nobody in. */
export function allowedClusters(service: Service): string[] | undefined {
  const text = service.metadata.annotations?.[ALLOWED_CLUSTERS_ANNOTATION];
  return text
    ?.split(",")
    .map((name) => name.trim())
    .filter((name) => name !== "");
}

/** Who may call, as the keys of the routes map begin: `*`, or the sources that the export is narrowed to. */
function callersOf(service: Service, sources: readonly string[]): string[] {
  const allowed = allowedClusters(service);
  return allowed === undefined ? ["*"] : sources.filter((source) => allowed.includes(source));
}

function whyUnreachable(service: Service): string | undefined {
  const { type, clusterIP = "" } = service.spec ?? {};
  if (type === "ExternalName") return "it is of type ExternalName";
  if (clusterIP === "") return "it has no cluster IP";
  if (isHeadless(service) && service.metadata.labels?.[EXPORTED_LABEL] !== "true") {
    return "it is headless, and no member of a federated service can be";
  }
  if (tcpPorts(service.spec?.ports).length === 0) return "it has no TCP port";
  return undefined;
}
