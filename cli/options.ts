/** Options that several commands share. */
import { type Command, InvalidArgumentError, Option } from "commander";
import { EngineName } from "../stacks/automation.ts";
import { PARALLEL } from "../stacks/parallel.ts";

/** As commander hands them over. */
export interface CommonOptions {
  file: string;
  engine?: string;
  parallel: number;
  verbose?: boolean;
}

export function withCommonOptions(command: Command): Command {
  return command
    .option("-f, --file <path>", "the declaration of the mesh", "mesh.yaml")
    .addOption(
      new Option("--engine <name>", "what brings the stacks up (default: the Pulumi CLI where there is one)")
        .choices(Object.values(EngineName))
        .env("ISTHMUS_ENGINE"),
    )
    .option("--parallel <n>", "how many stacks are worked on at once", wholeNumber, PARALLEL)
    .option("--verbose", "say everything, and where in the code an error happened");
}

export function wholeNumber(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1)
    throw new InvalidArgumentError("It must be a whole number from 1 on.");
  return value;
}

/** `a,b` */
export function names(text: string): string[] {
  const list = text.split(",").map((name) => name.trim());
  if (list.includes("")) throw new InvalidArgumentError("It must be names, separated by commas.");
  return list;
}
