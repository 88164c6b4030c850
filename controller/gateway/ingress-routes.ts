import {
  ALLOWED_CLUSTERS_ANNOTATION,
  EXPORTED_LABEL,
  isDnsLabel,
  MIRRORED_LABEL,
  SOURCE_LABEL,
} from "../../contract/index.ts";
import { keyOf, type Service, type ServiceAccount } from "../kube/objects.ts";
import { backendSource, type IngressSettings, ingressConfig, sourceBackend } from "./ingress-config.ts";
import { isMapToken, type Picture, type Revoked } from "./picture.ts";
import { serverNameFor } from "./server-names.ts";

export interface IngressInput {
  settings: Omit<IngressSettings, "sources">;
  /** Services of the whole cluster; those that are not exported are passed over. */
  services: readonly Service[];
  /** ServiceAccounts of the namespace of Isthmus. */
  serviceAccounts: readonly ServiceAccount[];
}

/** Whether calls from other clusters may reach this Service at all. A mirror is never passed on. */
export function isExported(service: Service): boolean {
  const labels = service.metadata.labels ?? {};
  return labels[EXPORTED_LABEL] === "true" && labels[MIRRORED_LABEL] !== "true";
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
export function ingressPicture({ settings, services, serviceAccounts }: IngressInput): Picture {
  const sources = sourcesOf(serviceAccounts);
  const problems: string[] = [];
  const routes = new Map<string, string>();
  for (const service of services) {
    if (!isExported(service)) continue;
    const unreachable = whyUnreachable(service);
    if (unreachable !== undefined) {
      problems.push(
        `exported service ${keyOf(service)} cannot be called from other clusters: ${unreachable}`,
      );
      continue;
    }
    for (const [key, value] of routesOf(service, settings.identity, sources)) routes.set(key, value);
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

/**
 * Entries of the routes map. Key: who (`*`, or one source), then which server name. Value:
 * `<address>/<port>/<namespace>/<service>:<port>`, where the last part is for the log.
 */
function* routesOf(
  service: Service,
  identity: string,
  sources: readonly string[],
): Generator<[key: string, value: string]> {
  const { name, namespace = "" } = service.metadata;
  const allowed = allowedClusters(service);
  const callers = allowed === undefined ? ["*"] : sources.filter((source) => allowed.includes(source));
  for (const { port, protocol = "TCP" } of service.spec?.ports ?? []) {
    if (protocol !== "TCP") continue;
    const serverName = serverNameFor(service, { namespace, service: name, port }, identity);
    const value = `${service.spec?.clusterIP}/${port}/${namespace}/${name}:${port}`;
    for (const caller of callers) {
      const key = `${caller}|${serverName}`;
      if (isMapToken(key) && isMapToken(value)) yield [key, value];
    }
  }
}

function whyUnreachable({ spec }: Service): string | undefined {
  if (spec?.type === "ExternalName") return "it is of type ExternalName";
  if (spec?.clusterIP === undefined || spec.clusterIP === "" || spec.clusterIP === "None") {
    return "it has no cluster IP";
  }
  if (!spec.ports?.some(({ protocol = "TCP" }) => protocol === "TCP")) return "it has no TCP port";
  return undefined;
}
