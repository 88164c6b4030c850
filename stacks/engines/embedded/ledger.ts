/** What a deployment knows and tells: the resources of the last run and of this one, the secrets among them, the events. */
import type { EngineEvent, LogSeverity, Operation, ResourceStep } from "../engine.ts";
import { isProviderType, parseUrn } from "../urn.ts";
import { type Properties, redact, secretStrings } from "../wire.ts";
import { findFormer } from "./aliases.ts";
import type { Registration } from "./registration.ts";
import type { ResourceState, StackState } from "./state/state.ts";

/** A resource could not be brought about. The message carries no secret. */
export class ResourceFailure extends Error {
  override readonly name = "ResourceFailure";
  readonly urn: string;

  constructor(urn: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.urn = urn;
  }
}

export class Ledger {
  readonly stack: string;
  readonly #state: StackState;
  readonly #write: () => Promise<void>;
  readonly #emit: (event: EngineEvent) => void;
  readonly #former: ReadonlyMap<string, ResourceState>;
  readonly #current: Map<string, ResourceState>;
  readonly #seen = new Map<string, ResourceState>();
  /** The URN that each resource of this run had in the last one, where that was another. */
  readonly #formerNames = new Map<string, string>();
  readonly #secrets = new Set<string>();

  /**
   * @param state Changed in place by `save`; a preview never saves.
   * @param write Returns when the state is safe on disk.
   */
  constructor(
    stack: string,
    state: StackState,
    write: () => Promise<void>,
    emit: (event: EngineEvent) => void,
  ) {
    this.stack = stack;
    this.#state = state;
    this.#write = write;
    this.#emit = emit;
    this.#former = new Map(state.resources.map((resource) => [resource.urn, resource]));
    this.#current = new Map(this.#former);
    for (const { inputs, outputs } of [...state.resources, ...state.pendingDeletes]) {
      this.learnSecrets(inputs, outputs);
    }
  }

  /** The resource's state after the last run. */
  former(urn: string, registration: Registration): ResourceState | undefined {
    const found = findFormer(urn, registration, this.#former, this.#formerNames);
    if (found !== undefined && found.urn !== urn) this.#formerNames.set(urn, found.urn);
    return found;
  }

  /** Of this run, else of the last. */
  known(urn: string): ResourceState | undefined {
    return this.#seen.get(urn) ?? this.#former.get(urn);
  }

  registered(urn: string): ResourceState | undefined {
    return this.#seen.get(urn);
  }

  /** The program has asked for it in this run. @throws Error when it did so before */
  see(state: ResourceState): void {
    if (this.#seen.has(state.urn)) {
      throw new Error(`the program registers ${state.urn} twice; names must differ within a type`);
    }
    this.#seen.set(state.urn, state);
  }

  /** Resources of the last run that this one did not ask for. */
  left(): ResourceState[] {
    const renamed = new Set(this.#formerNames.values());
    return [...this.#current.values()].filter(({ urn }) => !this.#seen.has(urn) && !renamed.has(urn));
  }

  /** Replaced objects that are still to be deleted. */
  get pendingDeletes(): readonly ResourceState[] {
    return this.#state.pendingDeletes;
  }

  keep(state: ResourceState): void {
    const former = this.#formerNames.get(state.urn);
    if (former !== undefined) this.#current.delete(former);
    this.#current.set(state.urn, state);
  }

  forget(state: ResourceState): void {
    if (this.#current.get(state.urn) === state) this.#current.delete(state.urn);
    this.#state.pendingDeletes = this.#state.pendingDeletes.filter((other) => other !== state);
  }

  deleteLater(state: ResourceState): void {
    this.#state.pendingDeletes.push(state);
  }

  /** Returns when all that was kept and forgotten is safe on disk. */
  save(outputs?: Properties): Promise<void> {
    this.#state.resources = [...this.#current.values()];
    if (outputs !== undefined) this.#state.outputs = outputs;
    return this.#write();
  }

  step(op: Operation, urn: string, type: string): ResourceStep {
    const counted = op !== "read" && !isProviderType(type);
    return { op, urn, type, name: parseUrn(urn).name, diff: [], counted };
  }

  tell(event: "planned" | "started" | "done", step: ResourceStep): void {
    this.#emit({ event, stack: this.stack, ...step });
  }

  tellFailure(step: ResourceStep, error: unknown): void {
    this.#emit({
      event: "failed",
      stack: this.stack,
      message: this.failure(step.urn, error).message,
      ...step,
    });
  }

  /** A message of the program or of a provider, without the secrets that this stack has to do with. */
  log(severity: LogSeverity, message: string, urn = ""): void {
    const text = redact(message, this.#secrets);
    this.#emit({ event: "log", stack: this.stack, severity, message: text, ...(urn === "" ? {} : { urn }) });
  }

  failure(urn: string, error: unknown): ResourceFailure {
    const message = redact(error instanceof Error ? error.message : String(error), this.#secrets);
    return new ResourceFailure(urn, message, { cause: error });
  }

  redact(text: string): string {
    return redact(text, this.#secrets);
  }

  learnSecrets(...all: Properties[]): void {
    for (const properties of all) secretStrings(properties, this.#secrets);
  }
}
