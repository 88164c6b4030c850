/** One run of one stack's program: every resource that it registers is planned, brought about, and remembered at once. */
import type { EngineEvent, LogSeverity, Operation } from "../engine.ts";
import { isProviderType, makeUrn, STACK_REFERENCE_TYPE, STACK_TYPE } from "../urn.ts";
import { containsSecret, type Properties } from "../wire.ts";
import { Bringing } from "./bringing.ts";
import { deleteAll } from "./deleting.ts";
import { diffProperties, formatPaths } from "./diff.ts";
import { InFlight } from "./inflight.ts";
import { Ledger, type ResourceFailure } from "./ledger.ts";
import { keepAt } from "./paths.ts";
import { programMessage } from "./program.ts";
import type { Provider, Work } from "./provider.ts";
import { ProviderSet } from "./providers.ts";
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

export interface Registered {
  urn: string;
  id: string;
  outputs: Properties;
}

export class Deployment {
  readonly ledger: Ledger;
  readonly work: InFlight<ResourceFailure>;
  /** What the program registered as the stack's outputs. */
  outputs: Properties = {};
  /** Why the program says that it has failed. */
  readonly programErrors: string[] = [];
  /** Settles with the first of these. */
  readonly programFailed: Promise<void>;

  readonly #options: DeploymentOptions;
  readonly #providers: ProviderSet;
  readonly #bringing: Bringing;
  readonly #context: Work;
  #failProgram: () => void = () => undefined;

  constructor(options: DeploymentOptions) {
    const { stack, state, save, emit, parallel, signal, preview, providers } = options;
    this.#options = options;
    this.work = new InFlight(parallel, signal);
    this.ledger = new Ledger(stack, state, save, emit);
    this.programFailed = new Promise((resolve) => {
      this.#failProgram = resolve;
    });
    this.#providers = new ProviderSet(providers, (urn) => this.ledger.known(urn));
    this.#context = { signal, log: (severity, message) => this.ledger.log(severity, message) };
    this.#bringing = new Bringing(preview, this.ledger, this.#context);
  }

  get isPreview(): boolean {
    return this.#options.preview;
  }

  /** @param read Tells the rest of what the program asks for; it throws where that is not supported. */
  register(
    resource: { parent: string; type: string; name: string },
    read: () => Registration,
  ): Promise<Registered> {
    const urn = this.#urn(resource);
    const attempt = async () => this.#register(urn, read());
    return this.work.attempt(attempt, (error) => this.ledger.failure(urn, error));
  }

  registerOutputs(urn: string, outputs: Properties): void {
    this.ledger.learnSecrets(outputs);
    const state = this.ledger.registered(urn);
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
    const { type, id, provider } = resource;
    const urn = this.#urn(resource);
    const attempt = async () => {
      const outputs =
        type === STACK_REFERENCE_TYPE
          ? await this.#readStack(id)
          : await this.#providers.of(type).read(type, id, this.#providers.inputsOf(provider), this.#context);
      this.ledger.learnSecrets(outputs);
      this.ledger.tell(this.isPreview ? "planned" : "done", this.ledger.step("read", urn, type));
      return { urn, id, outputs };
    };
    return this.work.attempt(attempt, (error) => this.ledger.failure(urn, error));
  }

  /** Outputs of another stack. @param name `stack` or `organization/project/stack` */
  outputsOf(name: string): Promise<Properties | undefined> {
    return this.#options.reference(name.slice(name.lastIndexOf("/") + 1));
  }

  /** What the program says; an error means that it has failed, here as with Pulumi's own engine. */
  programLog(severity: LogSeverity, message: string, urn: string): void {
    this.ledger.log(severity, message, urn);
    if (severity !== "error") return;
    const text = this.ledger.redact(programMessage(message));
    if (!this.programErrors.includes(text)) this.programErrors.push(text);
    this.#failProgram();
  }

  /** Deletes what the program, ended well, did not register any more, and what was replaced. */
  async prune(): Promise<void> {
    const { parallel } = this.#options;
    await deleteAll(this.ledger, this.#providers, this.isPreview, parallel, this.#context);
    if (this.isPreview) {
      for (const warning of this.#providers.warnings()) this.ledger.log("warning", warning);
    } else {
      await this.ledger.save(this.outputs);
    }
  }

  async #register(urn: string, registration: Registration): Promise<Registered> {
    const { type, name, ignoreChanges, replaceOnChanges, timeouts } = registration;
    const old = this.ledger.former(urn, registration);
    const kept =
      old === undefined ? registration.inputs : keepAt(registration.inputs, old.inputs, ignoreChanges);
    this.ledger.learnSecrets(registration.inputs);
    this.ledger.learnSecrets(kept);
    const state = stateOf(urn, registration, kept, old);
    this.ledger.see(state);
    if (!registration.custom || isProviderType(type)) return this.#registerInternal(state, old);
    const handler = this.#providers.of(type);
    const provider = this.#providers.inputsOf(registration.provider);
    const asked = { urn, type, name, ignoreChanges, replaceOnChanges, timeouts, provider };
    let desired = { ...asked, inputs: kept };
    let plan = await this.#bringing.plan(handler, desired, old);
    if (plan.op === "create" && old !== undefined && ignoreChanges.length > 0) {
      // Nothing is there any more whose properties could be left as they are: it is made anew as the program says now.
      state.inputs = registration.inputs;
      desired = { ...asked, inputs: registration.inputs };
      plan = await this.#bringing.plan(handler, desired, old);
    }
    const step = { ...this.ledger.step(plan.op, urn, type), diff: formatPaths(plan.diff) };
    if (this.isPreview) {
      state.outputs = plan.outputs;
      this.ledger.tell("planned", step);
      return { urn, id: plan.id ?? old?.id ?? "", outputs: plan.outputs };
    }
    if (step.op !== "same") this.ledger.tell("started", step);
    try {
      await this.#bringing.about(handler, plan, desired, state, old, registration);
    } catch (error) {
      this.ledger.tellFailure(step, error);
      throw error;
    }
    this.ledger.learnSecrets(state.outputs);
    this.ledger.tell("done", step);
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
    if (!this.isPreview) {
      this.ledger.keep(state);
      if (op !== "same") await this.ledger.save();
    }
    const step = { ...this.ledger.step(op, state.urn, state.type), diff: formatPaths(diff), counted: false };
    this.ledger.tell(this.isPreview ? "planned" : "done", step);
    return { urn: state.urn, id: state.id, outputs: state.outputs };
  }

  async #readStack(name: string): Promise<Properties> {
    const outputs = await this.outputsOf(name);
    if (outputs === undefined) {
      if (this.isPreview) return { name };
      throw new Error(
        `the stack "${name}", whose outputs ${this.ledger.stack} reads, has not been brought up yet. ` +
          "Bring it up first, or all stacks in their order with `isthmus up`",
      );
    }
    const secrets = Object.keys(outputs).filter((output) => containsSecret(outputs[output]));
    return { name, outputs, secretOutputNames: secrets };
  }

  #urn({ parent, type, name }: { parent: string; type: string; name: string }): string {
    return makeUrn(this.#options.stack, this.#options.project, parent, type, name);
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
