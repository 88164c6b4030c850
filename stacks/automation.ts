/**
 * What the command line does, for programs: `import { preview, up } from "isthmus/automation"`.
 *
 * @example
 * const result = await up({ file: "mesh.yaml", onEvent: (event) => console.log(event) });
 * if (!result.ok) process.exitCode = 1;
 */
export { EngineName } from "./engines/choose.ts";
export {
  type Change,
  type ChangeCounts,
  type EngineEvent,
  type LogSeverity,
  type Operation,
  type ResourceStep,
  StackError,
  type StackResult,
} from "./engines/engine.ts";
export type { Properties, Value } from "./engines/wire.ts";
export { loadMesh, type Mesh, type MeshCluster, type MeshExport, parseMesh } from "./mesh.ts";
export { type PlannedStack, planStacks, StackKind } from "./plan.ts";
export { PreflightError, preflight } from "./preflight.ts";
export { MeshError, type Problem } from "./problems.ts";
export { NoSuchLinkError, type RotateOptions, type Rotation, rotateCredentials } from "./rotate.ts";
export { type Danger, DangerKind, dangersOf } from "./runner/dangers.ts";
export { type ExportResult, exportService, unexportService } from "./runner/exports.ts";
export { changeCount, type MeshEvent, type MeshResult, type StackOutcome } from "./runner/result.ts";
export { destroy, preview, previewDestroy, type RunOptions, stackOutputs, up } from "./runner/run.ts";
export type { Step } from "./runner/steps.ts";
