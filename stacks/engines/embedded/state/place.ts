import { dirname, join } from "node:path";
import type { ProjectOptions } from "../../engine.ts";

/** Where the state of a mesh is kept unless told otherwise. */
export function embeddedStateFile({ meshFile, mesh }: ProjectOptions): string {
  return join(dirname(meshFile), ".isthmus", "state", `${mesh}.json`);
}
