import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { type Document, LineCounter, parseDocument } from "yaml";
import type { LogLevel } from "../components/controller-settings.ts";
import type { GatewayExposure, ImagePullPolicy, Topology } from "../components/index.ts";
// From where it is, not by the index: the command line reads meshes, and has no need of the Pulumi SDK for that.
import { TopologyShape } from "../components/topology.ts";
import { DEFAULT_NAMESPACE } from "../contract/index.ts";
import { checkMesh } from "./checks.ts";
import { displayed, keyOf, lineOf, MeshError, type Path } from "./problems.ts";
import { findings } from "./schema.ts";

/** How a cluster's gateway is exposed, as mesh.yaml says it: what is absent has the default of `Gateway`. */
export interface GatewaySettings {
  exposure?: GatewayExposure;
  addresses?: string[];
  port?: number;
  probePort?: number;
  nodePort?: number;
  probeNodePort?: number;
  replicas?: number;
  egressPorts?: { first: number; last: number };
  serviceAnnotations?: Record<string, string>;
}

/** How a cluster's mirror controller runs, as mesh.yaml says it: what is absent has the default of `MirrorController`. */
export interface ControllerSettings {
  replicas?: number;
  logLevel?: LogLevel;
  createNamespaces?: boolean;
  allowNamespaces?: string[];
  federatedServiceSelector?: Record<string, string>;
  excludedLabels?: string[];
  excludedAnnotations?: string[];
}

export interface MeshCluster {
  name: string;
  /** Context of the kubeconfig that reaches it. */
  context: string;
  /** URL of its API server for the pods of other clusters. Absent: as the kubeconfig has it. */
  apiServer?: string;
  gateway: GatewaySettings;
  controller: ControllerSettings;
}

/** A service that one cluster lets others call. */
export interface MeshExport {
  cluster: string;
  namespace: string;
  service: string;
  /** Absent: every cluster that is linked to its own. */
  allowedClusters?: string[];
}

/** A mesh as declared in a mesh.yaml, valid and with its defaults. */
export interface Mesh {
  /** Absolute path of the file. */
  file: string;
  name: string;
  trustDomain: string;
  /** Absolute path. Absent: KUBECONFIG, then `~/.kube/config`. */
  kubeconfig?: string;
  namespace: string;
  images: { controller?: string; haproxy?: string; pullPolicy?: ImagePullPolicy };
  trust: { anchors: string[]; signer?: string; protect: boolean };
  clusters: MeshCluster[];
  topology: Topology;
  exports: MeshExport[];
}

/** The content of a mesh.yaml that its schema accepts. */
export interface MeshContent {
  name: string;
  trustDomain: string;
  kubeconfig?: string;
  namespace?: string;
  images?: Mesh["images"];
  trust?: { anchors?: string[]; signer?: string; protect?: boolean };
  clusters: (Pick<MeshCluster, "name" | "apiServer"> & Partial<MeshCluster>)[];
  topology?:
    | "full-mesh"
    | { hub: string }
    | { tree: Record<string, string[]> }
    | { links: Topology["links"] };
  exports?: MeshExport[];
}

/**
 * Read and check a mesh.yaml.
 *
 * @throws MeshError with every problem found
 */
export function loadMesh(file: string): Mesh {
  const path = resolve(file);
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    const reason = (error as { code?: string }).code === "ENOENT" ? "there is no such file" : String(error);
    throw new MeshError([{ file: displayed(path), line: 1, key: "", message: reason }]);
  }
  return parseMesh(text, path);
}

/**
 * Check the text of a mesh.yaml. Pure.
 *
 * @param path absolute path of the file: paths in it are relative to its directory
 * @throws MeshError with every problem found
 */
export function parseMesh(text: string, path: string): Mesh {
  const lines = new LineCounter();
  const document: Document = parseDocument(text, { lineCounter: lines });
  const file = displayed(path);
  if (document.errors.length > 0) {
    throw new MeshError(
      document.errors.map(({ message, pos }) => ({
        file,
        line: lines.linePos(pos[0]).line,
        key: "",
        message: `is not YAML: ${message.split(" at line")[0]}`,
      })),
    );
  }
  const content: unknown = document.toJS() ?? {};
  const report = (found: { path: Path; message: string }[]) => {
    if (found.length === 0) return;
    const problems = found.map((finding) => ({
      file,
      line: lineOf(document, lines, finding.path),
      key: keyOf(finding.path),
      message: finding.message,
    }));
    throw new MeshError(problems.sort((a, b) => a.line - b.line));
  };
  report(findings(content));
  const mesh = withDefaults(content as MeshContent, path);
  report(checkMesh(mesh, (at) => lineOf(document, lines, at)));
  return mesh;
}

function withDefaults(content: MeshContent, path: string): Mesh {
  const { kubeconfig, trust, ...rest } = content;
  return {
    file: path,
    name: rest.name,
    trustDomain: rest.trustDomain,
    ...(kubeconfig === undefined ? {} : { kubeconfig: resolve(dirname(path), atHome(kubeconfig)) }),
    namespace: rest.namespace ?? DEFAULT_NAMESPACE,
    images: rest.images ?? {},
    trust: { protect: false, ...trust, anchors: trust?.anchors ?? ["root"] },
    clusters: rest.clusters.map((cluster) => ({
      ...cluster,
      context: cluster.context ?? cluster.name,
      gateway: cluster.gateway ?? {},
      controller: cluster.controller ?? {},
    })),
    topology: topologyOf(rest.topology ?? "full-mesh"),
    exports: rest.exports ?? [],
  };
}

function topologyOf(topology: NonNullable<MeshContent["topology"]>): Topology {
  if (topology === "full-mesh") return { shape: TopologyShape.FullMesh };
  if ("hub" in topology) return { shape: TopologyShape.Hub, hub: topology.hub };
  if ("tree" in topology) return { shape: TopologyShape.Tree, children: topology.tree };
  return { shape: TopologyShape.Links, links: topology.links ?? [] };
}

/** `~/…` as a shell reads it. */
function atHome(path: string): string {
  return path.startsWith("~/") ? join(homedir(), path.slice(2)) : path;
}
