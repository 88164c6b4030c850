/** One run of one stack's program: every resource that it registers is planned, brought about, and remembered at once. */
import type { EngineEvent, LogSeverity, Operation, ResourceStep } from "../engine.ts";
import { Limit } from "../limit.ts";
import { isProviderType, makeUrn, STACK_REFERENCE_TYPE, STACK_TYPE } from "../urn.ts";
import { containsSecret, type Properties, redact, secretStrings } from "../wire.ts";
import { findFormer } from "./aliases.ts";
import { Bringing } from "./bringing.ts";
import { diffProperties, formatPaths } from "./diff.ts";
import { InFlight } from "./inflight.ts";
import { keepAt } from "./paths.ts";
import type { Provider } from "./provider.ts";
import { ProviderSet } from "./providers.ts";
import { goesWith, hasObject, inDeletionOrder, refusal } from "./prune.ts";
import type { Registration } from "./registration.ts";
import type { ResourceState, StackState } from "./state/state.ts";

export interface DeploymentOptions {
  stack: string;
  project: string;
  /** Changed in place as resources come and go; left alone by a preview. */
  state: StackState;
  /** Returns when the state is safe on disk. */
  save: () => Promise<void>;
  preview: boolean;
  providers: ReadonlyMap<string, Provider>;
  /** Outputs of another stack; undefined when there is none. */
  reference: (stack: string) => Promise<Properties | undefined>;
  emit: (event: EngineEvent) => void;
  parallel: number;
  signal: AbortSignal;
}

/** A resource could not be brought about. The message carries no secret. */
export class ResourceFailure extends Error {
  override readonly name = "ResourceFailure";
  readonly urn: string;

  constructor(urn: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.urn = urn;
  }
}

export interface Registered {
  urn: string;
  id: string;
  outputs: Properties;
}

export class Deployment {
  readonly work: InFlight<ResourceFailure>;
  /** What the program registered as the stack's outputs. */
  outputs: Properties = {};

  readonly #options: DeploymentOptions;
  readonly #former: ReadonlyMap<string, ResourceState>;
  readonly #current: Map<string, ResourceState>;
  readonly #seen = new Map<string, ResourceState>();
  /** The URN that each resource of this run had in the last one, where that was another. */
  readonly #formerNames = new Map<string, string>();
  readonly #secrets = new Set<string>();
  readonly #providers: ProviderSet;
  readonly #bringing: Bringing;

  constructor(options: DeploymentOptions) {
    this.#options = options;
    this.work = new InFlight(options.parallel, options.signal);
    this.#former = new Map(options.state.resources.map((state) => [state.urn, state]));
    this.#current = new Map(this.#former);
    for (const state of options.state.resources) this.#learnSecrets(state.inputs, state.outputs);
    this.#providers = new ProviderSet(
      options.providers,
      (urn) => this.#seen.get(urn) ?? this.#former.get(urn),
    );
    this.#bringing = new Bringing({
      preview: options.preview,
      work: { signal: options.signal, log: (severity, message) => this.log(severity, message) },
      keep: (state) => this.#keep(state),
      forget: (state) => this.#current.delete(state.urn),
      save: () => this.#save(),
      doom: async (state) => {
        options.state.pendingDeletes.push(state);
        await this.#save();
      },
    });
  }

  get isPreview(): boolean {
    return this.#options.preview;
  }

  /** @param read Tells the rest of what the program asks for; it throws where that is not supported. */
  register(
    resource: { parent: string; type: string; name: string },
    read: () => Registration,
  ): Promise<Registered> {
    const urn = this.#urn(resource.parent, resource.type, resource.name);
    const attempt = () => this.#register(urn, read());
    return this.work.attempt(attempt, (error) => this.#failure(urn, error));
  }

  registerOutputs(urn: string, outputs: Properties): void {
    this.#learnSecrets(outputs);
    const state = this.#seen.get(urn);
    if (state === undefined)
      throw new Error(`outputs were registered for ${urn}, which was not registered itself`);
    if (state.type === STACK_TYPE) this.outputs = outputs;
    else state.outputs = outputs;
  }

  read(resource: {
    type: string;
    name: string;
    id: string;
    parent: string;
    provider: string;
  }): Promise<Registered> {
    const urn = this.#urn(resource.parent, resource.type, resource.name);
    const attempt = async () => {
      const outputs = await this.#read(resource.type, resource.id, resource.provider);
      this.#learnSecrets(outputs);
      this.#emit(this.#options.preview ? "planned" : "done", this.#step("read", urn, resource));
      return { urn, id: resource.id, outputs };
    };
    return this.work.attempt(attempt, (error) => this.#failure(urn, error));
  }

  /** Outputs of another stack. @param name `stack` or `organization/project/stack` */
  outputsOf(name: string): Promise<Properties | undefined> {
    return this.#options.reference(name.slice(name.lastIndexOf("/") + 1));
  }

  /** A message of the program or of a provider, without the secrets that this stack has to do with. */
  log(severity: LogSeverity, message: string, urn = ""): void {
    const { emit, stack } = this.#options;
    const text = redact(message, this.#secrets);
    emit({ event: "log", stack, severity, message: text, ...(urn === "" ? {} : { urn }) });
  }

  /** Deletes what the program, ended well, did not register any more, and what was replaced. */
  async prune(): Promise<void> {
    const { state, preview, providers, parallel } = this.#options;
    const left = [...this.#current.values()].filter((resource) => !this.#seen.has(resource.urn));
    const reason = refusal(left);
    if (reason !== undefined) throw new Error(reason);
    const doomed = [...state.pendingDeletes, ...left];
    const limit = new Limit(parallel);
    const failures = await inDeletionOrder(doomed, (resource) =>
      limit.run(() => this.#delete(resource, doomed)),
    );
    const first = failures[0];
    if (first !== undefined) throw this.#failure(first.state.urn, first.error);
    if (preview) {
      for (const provider of providers.values()) {
        for (const warning of provider.warnings?.() ?? []) this.log("warning", warning);
      }
    } else {
      state.outputs = this.outputs;
      await this.#save();
    }
  }

  async #register(urn: string, registration: Registration): Promise<Registered> {
    if (this.#seen.has(urn))
      throw new Error(`the program registers ${urn} twice; names must differ within a type`);
    const old = findFormer(urn, registration, this.#former, this.#formerNames);
    if (old !== undefined && old.urn !== urn) this.#formerNames.set(urn, old.urn);
    const inputs =
      old === undefined
        ? registration.inputs
        : keepAt(registration.inputs, old.inputs, registration.ignoreChanges);
    this.#learnSecrets(inputs);
    const state = stateOf(urn, registration, inputs, old);
    this.#seen.set(urn, state);
    if (!registration.custom || isProviderType(registration.type)) return this.#registerInternal(state, old);
    const provider = this.#providers.of(registration.type);
    const providerInputs = this.#providers.inputsOf(registration.provider);
    const { type, name, ignoreChanges, replaceOnChanges, timeouts } = registration;
    const desired = {
      urn,
      type,
      name,
      inputs,
      ignoreChanges,
      replaceOnChanges,
      timeouts,
      provider: providerInputs,
    };
    const plan = await this.#bringing.plan(provider, desired, old);
    const step = { ...this.#step(plan.op, urn, registration), diff: formatPaths(plan.diff) };
    if (this.#options.preview) {
      state.outputs = plan.outputs;
      this.#emit("planned", step);
      return { urn, id: plan.id ?? old?.id ?? "", outputs: plan.outputs };
    }
    if (step.op !== "same") this.#emit("started", step);
    try {
      await this.#bringing.about(provider, plan, desired, state, old, registration);
    } catch (error) {
      const { emit, stack } = this.#options;
      emit({ event: "failed", stack, message: this.#failure(urn, error).message, ...step });
      throw error;
    }
    this.#learnSecrets(state.outputs);
    this.#emit("done", step);
    return { urn, id: state.id, outputs: state.outputs };
  }

  /** Components group others, and providers only carry settings: neither is anything outside of the state. */
  async #registerInternal(state: ResourceState, old: ResourceState | undefined): Promise<Registered> {
    const diff = old === undefined || !state.custom ? [] : diffProperties(old.inputs, state.inputs);
    const op: Operation = old === undefined ? "create" : diff.length > 0 ? "update" : "same";
    if (state.custom) {
      this.#providers.of(state.type).configure(state.inputs);
      state.outputs = state.inputs;
    }
    if (!this.#options.preview) {
      this.#keep(state);
      if (op !== "same") await this.#save();
    }
    const step = { ...this.#step(op, state.urn, state), diff: formatPaths(diff), counted: false };
    this.#emit(this.#options.preview ? "planned" : "done", step);
    return { urn: state.urn, id: state.id, outputs: state.outputs };
  }

  async #read(type: string, id: string, provider: string): Promise<Properties> {
    const { preview, signal, stack } = this.#options;
    if (type !== STACK_REFERENCE_TYPE) {
      const work = { signal, log: (severity: LogSeverity, message: string) => this.log(severity, message) };
      return this.#providers.of(type).read(type, id, this.#providers.inputsOf(provider), work);
    }
    const outputs = await this.outputsOf(id);
    if (outputs === undefined) {
      if (preview) return { name: id };
      throw new Error(
        `the stack "${id}", whose outputs ${stack} reads, has not been brought up yet. Bring it up first, ` +
          "or all stacks in their order with `isthmus up`",
      );
    }
    const secrets = Object.keys(outputs).filter((output) => containsSecret(outputs[output]));
    return { name: id, outputs, secretOutputNames: secrets };
  }

  async #delete(resource: ResourceState, doomed: ResourceState[]): Promise<void> {
    const { state, preview, signal } = this.#options;
    signal.throwIfAborted();
    const pending = state.pendingDeletes.includes(resource);
    // The old half of a replacement was announced as `replace`.
    const step = {
      ...this.#step("delete", resource.urn, resource),
      counted: hasObject(resource) && !pending,
    };
    if (preview) return this.#emit("planned", step);
    this.#emit("started", step);
    if (hasObject(resource) && !resource.retainOnDelete && !goesWith(resource, doomed)) {
      const work = { signal, log: (severity: LogSeverity, message: string) => this.log(severity, message) };
      try {
        await this.#providers
          .of(resource.type)
          .delete(resource, this.#providers.inputsOf(resource.provider), work);
      } catch (error) {
        const message = this.#failure(resource.urn, error).message;
        this.#options.emit({ event: "failed", stack: this.#options.stack, message, ...step });
        throw error;
      }
    }
    if (pending) state.pendingDeletes = state.pendingDeletes.filter((other) => other !== resource);
    else this.#current.delete(resource.urn);
    await this.#save();
    this.#emit("done", step);
  }

  #keep(state: ResourceState): void {
    const former = this.#formerNames.get(state.urn);
    if (former !== undefined) this.#current.delete(former);
    this.#current.set(state.urn, state);
  }

  #save(): Promise<void> {
    this.#options.state.resources = [...this.#current.values()];
    return this.#options.save();
  }

  #urn(parent: string, type: string, name: string): string {
    return makeUrn(this.#options.stack, this.#options.project, parent, type, name);
  }

  #step(op: Operation, urn: string, of: { type: string; name?: string }): ResourceStep {
    const counted = op !== "read" && !isProviderType(of.type);
    return {
      op,
      urn,
      type: of.type,
      name: of.name ?? urn.slice(urn.lastIndexOf("::") + 2),
      diff: [],
      counted,
    };
  }

  #emit(event: "planned" | "started" | "done", step: ResourceStep): void {
    this.#options.emit({ event, stack: this.#options.stack, ...step });
  }

  #failure(urn: string, error: unknown): ResourceFailure {
    const message = redact(error instanceof Error ? error.message : String(error), this.#secrets);
    return new ResourceFailure(urn, message, { cause: error });
  }

  #learnSecrets(...all: Properties[]): void {
    for (const properties of all) secretStrings(properties, this.#secrets);
  }
}

function stateOf(
  urn: string,
  registration: Registration,
  inputs: Properties,
  old: ResourceState | undefined,
): ResourceState {
  return {
    urn,
    type: registration.type,
    custom: registration.custom,
    id: old?.id ?? (isProviderType(registration.type) ? crypto.randomUUID() : ""),
    parent: registration.parent,
    inputs,
    outputs: old?.outputs ?? {},
    dependencies: registration.dependencies,
    provider: registration.provider,
    ...(registration.protect && { protect: true }),
    ...(registration.retainOnDelete && { retainOnDelete: true }),
    ...(registration.deletedWith !== "" && { deletedWith: registration.deletedWith }),
    ...(registration.timeouts.delete !== undefined && { deleteTimeout: registration.timeouts.delete }),
  };
}
