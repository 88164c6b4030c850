/** What handles the resources of one package (`kubernetes`, `tls`) for the embedded engine. */
import type { LogSeverity } from "../engine.ts";
import type { Properties } from "../wire.ts";
import type { Path } from "./paths.ts";
import type { ResourceState } from "./state/state.ts";

/** One resource as a program asks for it, the engine's part already done (`ignoreChanges` applied to the inputs). */
export interface Desired {
  urn: string;
  type: string;
  name: string;
  inputs: Properties;
  /** Paths that the program leaves to others from the first creation on. */
  ignoreChanges: Path[];
  /** Paths whose change calls for a replacement. */
  replaceOnChanges: Path[];
  /** Milliseconds for each operation; absent: the provider's own. */
  timeouts: { create?: number; update?: number; delete?: number };
  /** Inputs of the provider resource. */
  provider: Properties;
}

export interface Plan {
  op: "create" | "update" | "replace" | "same";
  diff: Path[];
  /** For `replace`: the old object must be gone before the new one can be. */
  deleteFirst?: boolean;
  /** What the outputs would be, as far as it is known. */
  outputs: Properties;
  /** For `create`: the name that the object will have, where it is known beforehand. */
  id?: string;
}

export interface Created {
  id: string;
  outputs: Properties;
}

export interface Work {
  signal: AbortSignal;
  log: (severity: LogSeverity, message: string) => void;
}

export interface Provider {
  /**
   * What `apply` would do; writes nothing.
   * @param old undefined when the stack has no such resource yet
   * @param preview look further ahead than an `up` has to: ask the API server what it would make of a change
   */
  plan(desired: Desired, old: ResourceState | undefined, preview: boolean, work: Work): Promise<Plan>;
  /** @throws IncompleteError when the object was written but did not become ready. */
  create(desired: Desired, work: Work): Promise<Created>;
  /** @throws IncompleteError */
  update(desired: Desired, old: ResourceState, work: Work): Promise<Created>;
  /** Returns when the object is gone; one that is gone already is well. */
  delete(state: ResourceState, providerInputs: Properties, work: Work): Promise<void>;
  /** The state of an object that is not the stack's own. */
  read(type: string, id: string, providerInputs: Properties, work: Work): Promise<Properties>;
  /** Called when the program of the stack has ended, with what a preview could not check before. */
  warnings?(): string[];
  /** Checks the inputs of a provider resource. @throws Error naming what is not supported */
  configure(inputs: Properties): void;
}

/**
 * The object is there, or may be, but not as it should be: it is kept in the state and applied again by the next `up`.
 * Any other error of a creation says that nothing was made.
 */
export class IncompleteError extends Error {
  override readonly name = "IncompleteError";
  readonly created: Created;

  constructor(message: string, created: Created, options?: ErrorOptions) {
    super(message, options);
    this.created = created;
  }
}
