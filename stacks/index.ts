import { resolve } from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { cluster } from "./cluster.ts";
import { links } from "./links.ts";
import { loadMesh, type Mesh } from "./mesh.ts";
import { type PlannedStack, planStacks, StackKind } from "./plan.ts";
import { PreflightError } from "./preflight.ts";
import { MeshError } from "./problems.ts";
import { trust } from "./trust.ts";

/**
 * What `pulumi up` runs, whatever the stack: reads the mesh, by default the mesh.yaml beside Pulumi.yaml, and runs the
 * program that the stack's name stands for.
 */
export async function program(): Promise<object> {
  try {
    const file = new pulumi.Config("isthmus").get("mesh") ?? "mesh.yaml";
    const mesh = loadMesh(resolve(pulumi.getRootDirectory(), file));
    return await run(mesh, stackNamed(mesh, pulumi.getStack()));
  } catch (error) {
    // These say all that there is to say: a trace of our own would only hide it.
    if (error instanceof MeshError || error instanceof PreflightError)
      throw new pulumi.RunError(error.message);
    throw error;
  }
}

function run(mesh: Mesh, stack: PlannedStack): Promise<object> {
  if (stack.kind === StackKind.Trust) return trust(mesh);
  const member = mesh.clusters.find(({ name }) => name === stack.cluster)!;
  return stack.kind === StackKind.Cluster ? cluster(mesh, member) : links(mesh, member);
}

/** @throws pulumi.RunError naming the stacks that there are */
export function stackNamed(mesh: Mesh, name: string): PlannedStack {
  const stacks = planStacks(mesh);
  const found = stacks.find((stack) => stack.name === name);
  if (found) return found;
  throw new pulumi.RunError(
    `the mesh ${mesh.name} has no stack ${JSON.stringify(name)}; its stacks are ${stacks.map((stack) => stack.name).join(", ")}`,
  );
}
