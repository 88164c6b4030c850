/** Which engine brings the stacks up. */
import { existsSync } from "node:fs";
import { embeddedStateFile } from "./embedded/state/place.ts";
import type { Engine, ProjectOptions } from "./engine.ts";
import { findPulumi } from "./pulumi/command.ts";

export const EngineName = { pulumi: "pulumi", embedded: "embedded" } as const;
export type EngineName = (typeof EngineName)[keyof typeof EngineName];

/** Names the engine where no option does. */
export const ENGINE_VARIABLE = "ISTHMUS_ENGINE";

export interface Choice {
  engine: EngineName;
  /** In words, for the user; empty where the user asked for it. */
  why: string;
}

/**
 * Pure. A mesh stays with the engine that brought it up: the other one knows nothing of its objects and keys.
 * @throws Error naming what is not possible
 */
export function decideEngine(
  asked: string | undefined,
  pulumi: string | undefined,
  embeddedState: string | undefined,
): Choice {
  const names = Object.values(EngineName) as string[];
  if (asked !== undefined && !names.includes(asked)) {
    throw new Error(`There is no engine "${asked}": it is one of ${names.join(", ")}`);
  }
  if (asked === EngineName.embedded) return { engine: EngineName.embedded, why: "" };
  if (asked === EngineName.pulumi) {
    if (pulumi === undefined)
      throw new Error("The Pulumi CLI was asked for, but there is no `pulumi` on the PATH");
    if (embeddedState !== undefined) {
      throw new Error(
        `This mesh was brought up by the embedded engine (${embeddedState}), and Pulumi knows nothing of it. ` +
          "Destroy it first with --engine embedded, or read docs/engines.md on moving over",
      );
    }
    return { engine: EngineName.pulumi, why: "" };
  }
  if (embeddedState !== undefined) {
    return { engine: EngineName.embedded, why: "it brought this mesh up" };
  }
  return pulumi === undefined
    ? { engine: EngineName.embedded, why: "there is no Pulumi CLI on the PATH" }
    : { engine: EngineName.pulumi, why: "" };
}

/** @param asked @default the variable ISTHMUS_ENGINE. @throws Error */
export async function chooseEngine(
  options: ProjectOptions,
  asked: string | undefined = process.env[ENGINE_VARIABLE] || undefined,
): Promise<{ engine: Engine; why: string }> {
  const command = await findPulumi();
  const state = embeddedStateFile(options);
  const { engine, why } = decideEngine(asked, command, existsSync(state) ? state : undefined);
  // Loaded only when needed: either brings a good part of a second with it.
  if (engine === EngineName.embedded) {
    const { EmbeddedEngine } = await import("./embedded/engine.ts");
    return { engine: new EmbeddedEngine(options), why };
  }
  const { PulumiEngine } = await import("./pulumi/engine.ts");
  return { engine: new PulumiEngine({ ...options, command: command as string }), why };
}
