import { controllerRules } from "../components/controller-settings.ts";
import { gatewayRules } from "../components/gateway-settings.ts";
import { topologyProblems } from "../components/topology.ts";
import { problemOf, type Rules } from "../components/validation.ts";
import { gatewayIdentity } from "../contract/index.ts";
import type { Mesh } from "./mesh.ts";
import { planStacks } from "./plan.ts";
import type { Path } from "./problems.ts";
import type { Finding } from "./schema.ts";

/** Room that the server name of a call leaves for a gateway's identity: 253, less a label and a dot. */
const MAX_IDENTITY = 189;
/** Longest name that Pulumi gives a stack. */
const MAX_STACK = 100;

/** What is wrong with a mesh that its schema accepts. */
export function checkMesh(mesh: Mesh, lineAt: (path: Path) => number): Finding[] {
  const names = mesh.clusters.map((cluster) => cluster.name);
  return [
    ...uniqueClusters(names, lineAt),
    ...trustAnchors(mesh),
    ...topologyProblems(names, mesh.topology).map(({ path, message }) => ({
      path: ["topology", ...path.map((step) => (step === "children" ? "tree" : step))],
      message,
    })),
    ...exportsOf(mesh, names, lineAt),
    ...settings(mesh),
    ...lengths(mesh),
  ];
}

/** What the schema leaves to the rules of the components. */
function settings({ clusters }: Mesh): Finding[] {
  return clusters.flatMap(({ gateway, controller }, index) => [
    ...breaches(gateway, gatewayRules(gateway), ["clusters", index, "gateway"]),
    ...breaches(controller, controllerRules, ["clusters", index, "controller"]),
  ]);
}

function breaches<A extends object>(values: A, rules: Rules<NoInfer<A>>, within: Path): Finding[] {
  return Object.entries(values).flatMap(([key, value]) => {
    const rule = rules[key as keyof A];
    const message = rule && problemOf(value, rule);
    return message === undefined ? [] : [{ path: [...within, key], message }];
  });
}

function uniqueClusters(names: string[], lineAt: (path: Path) => number): Finding[] {
  return names.flatMap((name, index) => {
    const first = names.indexOf(name);
    if (first === index) return [];
    const line = lineAt(["clusters", first, "name"]);
    const message = `is ${JSON.stringify(name)}, the name of the cluster at line ${line}; every cluster needs a name of its own`;
    return [{ path: ["clusters", index, "name"], message }];
  });
}

function trustAnchors({ trust }: Mesh): Finding[] {
  const found: Finding[] = [];
  for (const [index, anchor] of trust.anchors.entries()) {
    if (trust.anchors.indexOf(anchor) === index) continue;
    found.push({
      path: ["trust", "anchors", index],
      message: `is ${JSON.stringify(anchor)} again; name an anchor once`,
    });
  }
  if (trust.signer !== undefined && !trust.anchors.includes(trust.signer)) {
    found.push({
      path: ["trust", "signer"],
      message: `is ${JSON.stringify(trust.signer)}; it must be one of the anchors: ${trust.anchors.join(", ")}`,
    });
  }
  return found;
}

function exportsOf(mesh: Mesh, names: string[], lineAt: (path: Path) => number): Finding[] {
  const seen = new Map<string, number>();
  return mesh.exports.flatMap((entry, index) => {
    const found: Finding[] = [];
    const mustBeCluster = (name: string, ...path: (string | number)[]) => {
      if (names.includes(name)) return;
      found.push({
        path: ["exports", index, ...path],
        message: `is ${JSON.stringify(name)}, which is no cluster of this mesh; the clusters are ${names.join(", ")}`,
      });
    };
    mustBeCluster(entry.cluster, "cluster");
    for (const [place, name] of (entry.allowedClusters ?? []).entries()) {
      mustBeCluster(name, "allowedClusters", place);
    }
    const service = `${entry.cluster} ${entry.namespace}/${entry.service}`;
    const first = seen.get(service);
    if (first !== undefined) {
      const line = lineAt(["exports", first]);
      found.push({ path: ["exports", index], message: `is the export of line ${line} again; one is enough` });
    }
    seen.set(service, index);
    return found;
  });
}

function lengths(mesh: Mesh): Finding[] {
  const found: Finding[] = [];
  const longest = mesh.clusters.map(({ name }) => gatewayIdentity(name, mesh.trustDomain)).sort(byLength)[0];
  if (longest !== undefined && longest.length > MAX_IDENTITY) {
    found.push({
      path: ["trustDomain"],
      message: `is too long: the gateway ${longest} has ${longest.length} characters, ${MAX_IDENTITY} fit`,
    });
  }
  const stack = planStacks(mesh)
    .map(({ name }) => name)
    .sort(byLength)[0];
  if (stack !== undefined && stack.length > MAX_STACK) {
    found.push({
      path: ["name"],
      message: `is too long: the stack ${stack} has ${stack.length} characters, ${MAX_STACK} fit`,
    });
  }
  return found;
}

function byLength(a: string, b: string): number {
  return b.length - a.length;
}
