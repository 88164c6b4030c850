import * as pulumi from "@pulumi/pulumi";
import { COMPONENT_LABEL, NAME_LABEL, PART_OF_LABEL } from "../contract/index.ts";

/** Labels by their keys. */
export type Labels = { [key: string]: pulumi.Input<string> };

/** Labels of an object that a component makes: which part of Isthmus it is, and what the caller adds. */
export function labelsOf(part: string, added?: pulumi.Input<Labels>): pulumi.Output<Record<string, string>> {
  const own: Record<string, string> = { ...partLabels(part), [NAME_LABEL]: "isthmus" };
  return pulumi.output(added ?? {}).apply((labels) => ({ ...labels, ...own }));
}

/** The labels that select the pods of a part. A Deployment's selector cannot change: these never do. */
export function partLabels(part: string): Record<string, string> {
  return { [PART_OF_LABEL]: "isthmus", [COMPONENT_LABEL]: part };
}
