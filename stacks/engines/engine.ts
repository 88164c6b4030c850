/** What brings one stack up. Two implementations: Pulumi's own CLI, and the embedded engine. */
import type { Properties } from "./wire.ts";

/** What happens to one resource. `same` and `read` change nothing. */
export type Operation = "create" | "update" | "replace" | "delete" | "same" | "read";

/** The operations that change something, in the order in which summaries name them. */
export const CHANGES = ["create", "update", "replace", "delete"] as const;
export type Change = (typeof CHANGES)[number];

export interface ResourceStep {
  op: Operation;
  urn: string;
  /** Type token: `kubernetes:core/v1:Secret`. */
  type: string;
  /** The resource's name within the program. */
  name: string;
  /** Paths of the properties that differ (never their values). Empty unless `update` or `replace`. */
  diff: string[];
  /** Components, providers and stack references are steps too, but no objects of their own: summaries leave them out. */
  counted: boolean;
}

export type EngineEvent =
  /** What a preview says would happen. */
  | ({ event: "planned"; stack: string } & ResourceStep)
  | ({ event: "started"; stack: string } & ResourceStep)
  | ({ event: "done"; stack: string } & ResourceStep)
  | ({ event: "failed"; stack: string; message: string } & ResourceStep)
  /** What the program, a provider or an API server says, without any secret in it. */
  | { event: "log"; stack: string; severity: LogSeverity; message: string; urn?: string };

export type LogSeverity = "info" | "warning" | "error";

export type ChangeCounts = Record<Operation, number>;

export interface StackResult {
  stack: string;
  /** How many counted resources each operation befell (preview: would befall). */
  changes: ChangeCounts;
  /** The counted resources that changed (preview: would change), in the order in which it happened. */
  resources: ResourceStep[];
  /** The stack's outputs, secrets wrapped; in preview what is not known yet is `UNKNOWN`. */
  outputs: Properties;
}

export interface StackOptions {
  onEvent?: (event: EngineEvent) => void;
  /** Ends the work early: what is being written is finished, what is being waited for is not. */
  signal?: AbortSignal;
  /** How many resources of the stack are worked on at once. @default 16 */
  parallel?: number;
}

export interface PreviewOptions extends StackOptions {
  /** Outputs that the stacks before this one would have; `null` for a stack that would be gone. */
  planned?: PlannedOutputs;
}

/** By stack name. */
export type PlannedOutputs = ReadonlyMap<string, Properties | null>;

/** Where the programs are and what they are told. */
export interface ProjectOptions {
  /** Pulumi project name. @default "isthmus" */
  project?: string;
  /** Absolute path of the declaration; the programs read it from the config value `isthmus:mesh`. */
  meshFile: string;
  /** Name of the mesh: names the state file. */
  mesh: string;
}

export interface Engine {
  /** `pulumi` or `embedded`. */
  readonly name: string;
  /** One line that tells the user which engine works, and what follows from that. */
  describe(): string;
  /** Runs `work` while no other run may change the stacks of this mesh. Engines that lock each stack just run it. */
  exclusively<T>(work: () => Promise<T>): Promise<T>;
  /** @throws StackError: what was done before the failure is kept, and the next `up` goes on from there. */
  up(stack: string, options?: StackOptions): Promise<StackResult>;
  /** Changes nothing. @throws StackError */
  preview(stack: string, options?: PreviewOptions): Promise<StackResult>;
  /** Deletes every resource of the stack, and then the stack. @throws StackError */
  destroy(stack: string, options?: StackOptions): Promise<StackResult>;
  /** What a destroy of the stack would delete. @throws StackError */
  previewDestroy(stack: string, options?: StackOptions): Promise<StackResult>;
  /** Outputs of the last `up`; undefined where the stack does not exist. */
  outputs(stack: string): Promise<Properties | undefined>;
  exists(stack: string): Promise<boolean>;
  /** Names of the existing stacks of this mesh. */
  stacks(): Promise<string[]>;
}

/** A stack could not be brought to where it should be. `result` says what was done all the same. */
export class StackError extends Error {
  override readonly name = "StackError";
  readonly stackName: string;
  /** The resource at fault, if it is one resource's. */
  readonly urn: string | undefined;
  readonly result: StackResult;

  constructor(message: string, result: StackResult, urn?: string) {
    super(message);
    this.stackName = result.stack;
    this.result = result;
    this.urn = urn;
  }
}

export function emptyCounts(): ChangeCounts {
  return { create: 0, update: 0, replace: 0, delete: 0, same: 0, read: 0 };
}

export function isChange(op: Operation): op is Change {
  return (CHANGES as readonly Operation[]).includes(op);
}
