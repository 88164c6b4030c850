import * as pulumi from "@pulumi/pulumi";
import { plannedOutput } from "./engines/planned.ts";

/** Outputs of another stack of this project, by their names. */
export interface Across<T> {
  /**
   * One output. In a preview a stack or an output that is not there yet is unknown; in an `up` it is an error that says
   * which stack to bring up first.
   */
  get<K extends keyof T & string>(name: K): pulumi.Output<T[K]>;
}

/** The one way from a stack to another's outputs. */
export async function across<T>(stack: string): Promise<Across<T>> {
  const source = (await sourceOf(stack)) as <V>(name: string) => pulumi.Output<V | undefined>;
  return { get: (name) => present(source(name), stack, `output ${name}`) };
}

/** What answers for another stack: what the runner plans for it, nothing that is known, or the stack itself. */
async function sourceOf(stack: string): Promise<(name: string) => pulumi.Output<unknown>> {
  const isPlanned = plannedOutput(stack, "") !== undefined;
  if (isPlanned) return (name) => plannedOutput(stack, name)!;
  const qualified = `${pulumi.getOrganization()}/${pulumi.getProject()}/${stack}`;
  if (pulumi.runtime.isDryRun() && !(await exists(qualified))) return () => unknown();
  const reference = new pulumi.StackReference(qualified);
  return (name) => reference.getOutput(name);
}

/**
 * A part of another stack, once it is there. Where it is not: unknown in a preview, since the other stack may be about to
 * make it, and an error in an `up`.
 *
 * @param what what it is, for the error: `output gateway`
 */
export function present<T>(
  value: pulumi.Output<T | undefined>,
  stack: string,
  what: string,
): pulumi.Output<T> {
  return value.apply((found) => {
    if (found !== undefined) return pulumi.output(found);
    if (pulumi.runtime.isDryRun()) return unknown();
    throw new pulumi.RunError(
      `the stack ${stack} has no ${what} yet: bring it up first, by \`isthmus up\` or \`pulumi up -s ${stack}\``,
    );
  }) as pulumi.Output<T>;
}

function unknown(): pulumi.Output<unknown> {
  return pulumi.output(pulumi.unknown);
}

/**
 * Whether there is such a stack. A StackReference to one that is not there ends the program, so a preview asks before: by
 * the call that StackReference was made of before it became a resource, and that every engine still answers.
 */
async function exists(qualified: string): Promise<boolean> {
  try {
    await pulumi.runtime.invoke("pulumi:pulumi:readStackOutputs", { name: qualified });
    return true;
  } catch (error) {
    if ((error as Error).message.includes("unknown stack")) return false;
    throw error;
  }
}
