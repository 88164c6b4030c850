import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, dirname, join, resolve } from "node:path";
import { parse, stringify } from "yaml";

/** Extension of a cluster in a kubeconfig that says how pods of other clusters reach its API server. */
export const API_SERVER_EXTENSION = "isthmus.dev/api-server";

/** How to reach an API server and how to know it. */
export interface ApiServer {
  /** Its URL. */
  server: string;
  /** The certificates that sign for it, PEM in base64. Empty: those of the system. */
  certificateAuthorityData: string;
}

/** As much of a kubeconfig as is read here. */
interface Kubeconfig {
  contexts?: { name: string; context?: { cluster?: string } }[];
  clusters?: { name: string; cluster?: ClusterEntry }[];
}

interface ClusterEntry {
  server?: string;
  "certificate-authority"?: string;
  "certificate-authority-data"?: string;
  extensions?: { name: string; extension?: { server?: string } }[];
}

/** A context is not in the kubeconfig, or the kubeconfig cannot be read. */
export class KubeconfigError extends Error {
  override readonly name = "KubeconfigError";
}

/** The kubeconfig files that a path, or its absence, stands for: the path, else KUBECONFIG, else `~/.kube/config`. */
export function kubeconfigFiles(path?: string): string[] {
  if (path !== undefined) return [path];
  const listed = (process.env.KUBECONFIG ?? "").split(delimiter).filter((file) => file !== "");
  return listed.length > 0 ? listed : [join(homedir(), ".kube", "config")];
}

/**
 * How other clusters reach the API server of a context: what the cluster's extension `isthmus.dev/api-server` says, else
 * the address that the kubeconfig has for everybody. The certificates are always those of the kubeconfig.
 *
 * @param path a kubeconfig file. @default KUBECONFIG, then `~/.kube/config`
 * @throws KubeconfigError naming the context, the files, and the contexts that are there
 */
export function apiServerOf(context: string, path?: string): ApiServer & { ownAddress: string } {
  const files = kubeconfigFiles(path);
  const present = files.filter((file) => existsSync(file));
  if (present.length === 0) {
    throw new KubeconfigError(`there is no kubeconfig at ${files.join(" or ")}`);
  }
  const configs = present.map((file) => ({ file, config: readFile(file) }));
  const contexts = configs.flatMap(({ config }) => config.contexts ?? []);
  const found = contexts.find((entry) => entry.name === context);
  if (!found) {
    const names = contexts.map((entry) => entry.name).join(", ") || "none";
    throw new KubeconfigError(
      `there is no context ${JSON.stringify(context)} in ${present.join(", ")}; the contexts there are: ${names}`,
    );
  }
  for (const { file, config } of configs) {
    const cluster = config.clusters?.find((entry) => entry.name === found.context?.cluster)?.cluster;
    if (!cluster?.server) continue;
    const authority = cluster["certificate-authority"];
    return {
      ownAddress: cluster.server,
      server: outsideAddress(cluster.extensions) ?? cluster.server,
      certificateAuthorityData:
        cluster["certificate-authority-data"] ??
        (authority === undefined ? "" : readFileSync(resolve(dirname(file), authority)).toString("base64")),
    };
  }
  throw new KubeconfigError(
    `the context ${JSON.stringify(context)} in ${present.join(", ")} names the cluster ` +
      `${JSON.stringify(found.context?.cluster ?? "")}, which has no server there`,
  );
}

function outsideAddress(extensions: ClusterEntry["extensions"]): string | undefined {
  return extensions?.find(({ name }) => name === API_SERVER_EXTENSION)?.extension?.server;
}

function readFile(file: string): Kubeconfig {
  try {
    return (parse(readFileSync(file, "utf8")) ?? {}) as Kubeconfig;
  } catch (error) {
    throw new KubeconfigError(`the kubeconfig ${file} cannot be read: ${(error as Error).message}`);
  }
}

/** The kubeconfig that a source keeps for a target: one server, one token, and the token's namespace. */
export function tokenKubeconfig(
  target: string,
  apiServer: ApiServer,
  namespace: string,
  token: string,
): string {
  return stringify({
    apiVersion: "v1",
    kind: "Config",
    clusters: [
      {
        name: target,
        cluster: {
          server: apiServer.server,
          ...(apiServer.certificateAuthorityData === ""
            ? {}
            : { "certificate-authority-data": apiServer.certificateAuthorityData }),
        },
      },
    ],
    users: [{ name: target, user: { token } }],
    contexts: [{ name: target, context: { cluster: target, user: target, namespace } }],
    "current-context": target,
  });
}
