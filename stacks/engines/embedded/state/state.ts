/** What the embedded engine remembers of the stacks of one mesh. */
import type { Properties } from "../../wire.ts";

export interface ResourceState {
  urn: string;
  type: string;
  /** False for components: they group others and are nothing outside. */
  custom: boolean;
  /** The provider's own name of the object; empty for components. */
  id: string;
  parent: string;
  /** What the program asked for, secrets wrapped. */
  inputs: Properties;
  outputs: Properties;
  /** Resources that must outlive this one. */
  dependencies: string[];
  /** `<urn>::<id>` of the provider resource; empty for the package's default provider. */
  provider: string;
  protect?: boolean;
  retainOnDelete?: boolean;
  deletedWith?: string;
  /** Milliseconds. */
  deleteTimeout?: number;
  /** Its creation or update began and was not seen to end well: the next `up` applies it again. */
  incomplete?: boolean;
}

export interface StackState {
  resources: ResourceState[];
  /** Replaced objects that are still to be deleted. */
  pendingDeletes: ResourceState[];
  /** Outputs of the last run that ended well. */
  outputs: Properties;
}

export interface MeshState {
  /** Version of this layout. */
  version: 1;
  mesh: string;
  stacks: Record<string, StackState>;
}

export const STATE_VERSION = 1;

export function emptyMeshState(mesh: string): MeshState {
  return { version: STATE_VERSION, mesh, stacks: {} };
}

export function emptyStackState(): StackState {
  return { resources: [], pendingDeletes: [], outputs: {} };
}
