/** Exporting a service from the command line or a program: the declaration is edited, and its cluster brought up. */
import { readFile, rename, writeFile } from "node:fs/promises";
import { resolve } from "node:path";
import { type ExportKey, removeExport, setExport } from "../exports.ts";
import { loadMesh, type MeshExport, parseMesh } from "../mesh.ts";
import { clusterStack } from "../plan.ts";
import { preflight } from "../preflight.ts";
import type { MeshResult } from "./result.ts";
import { type RunOptions, up } from "./run.ts";

export interface ExportResult {
  /** Whether the declaration had to be changed. */
  edited: boolean;
  result: MeshResult;
}

/**
 * Lets other clusters call a service: puts it under `exports` of the declaration (comments and layout stay) and brings its
 * cluster's stack up, so that the Service is labelled.
 * @throws MeshError for an export that the mesh does not allow, PreflightError when there is no such Service; the
 * declaration is then left alone, as it is where the stack cannot be begun on
 */
export function exportService(entry: MeshExport, options: RunOptions = {}): Promise<ExportResult> {
  return edit(entry, options, (text) => setExport(text, entry));
}

/** Takes an export back: out of the declaration, and its label off the Service. @throws as `exportService` */
export function unexportService(entry: ExportKey, options: RunOptions = {}): Promise<ExportResult> {
  return edit(entry, options, (text) => removeExport(text, entry));
}

async function edit(
  entry: ExportKey,
  options: RunOptions,
  change: (text: string) => string,
): Promise<ExportResult> {
  const file = resolve(options.file ?? "mesh.yaml");
  // First as it is: a declaration that is wrong already is not edited.
  loadMesh(file);
  const before = await readFile(file, "utf8");
  const text = change(before);
  const edited = text !== before;
  const mesh = parseMesh(text, file);
  if (edited) {
    await preflight(mesh, [entry.cluster]);
    await replace(file, text);
  }
  try {
    return { edited, result: await up({ ...options, file, stacks: [clusterStack(mesh, entry.cluster)] }) };
  } catch (error) {
    // It could not even be begun: another run is at work, say, or the state cannot be read.
    if (edited) await replace(file, before);
    throw error;
  }
}

async function replace(file: string, text: string): Promise<void> {
  await writeFile(`${file}.tmp`, text);
  await rename(`${file}.tmp`, file);
}
