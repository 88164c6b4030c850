/** The engine for real use: Pulumi's own, through its Automation API. */
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  type CommandError,
  LocalWorkspace,
  type OutputMap,
  type EngineEvent as PulumiEvent,
  Stack,
} from "@pulumi/pulumi/automation/index.js";
import {
  type Engine,
  type EngineEvent,
  type PreviewOptions,
  type ProjectOptions,
  StackError,
  type StackOptions,
  type StackResult,
} from "../engine.ts";
import { withPlanned } from "../handing.ts";
import { resultOf } from "../result.ts";
import { type Properties, secret, type Value } from "../wire.ts";
import { PulumiCommand } from "./command.ts";
import { plannedOutputsOf, toEvent } from "./events.ts";

export interface PulumiOptions extends ProjectOptions {
  /** Path of the `pulumi` command. */
  command: string;
}

type Mode = "up" | "preview" | "destroy" | "previewDestroy";

export class PulumiEngine implements Engine {
  readonly name = "pulumi";
  readonly #options: PulumiOptions;
  readonly #project: string;
  readonly #directory: string;
  readonly #command: PulumiCommand;
  #stacks: Promise<Set<string>> | undefined;

  constructor(options: PulumiOptions) {
    this.#options = options;
    this.#project = options.project ?? "isthmus";
    this.#directory = projectDirectory(options.meshFile);
    this.#command = new PulumiCommand(options.command, this.#directory);
  }

  describe(): string {
    return `Pulumi CLI (${this.#options.command}), project in ${this.#directory}`;
  }

  /** Pulumi locks each stack itself. */
  exclusively<T>(work: () => Promise<T>): Promise<T> {
    return work();
  }

  up(stack: string, options: StackOptions = {}): Promise<StackResult> {
    return this.#run("up", stack, options);
  }

  async preview(stack: string, options: PreviewOptions = {}): Promise<StackResult> {
    const known = await this.exists(stack);
    try {
      return await this.#run("preview", stack, options);
    } finally {
      // Pulumi previews only stacks that exist; one that was made for it goes again.
      if (!known && (await this.exists(stack))) await this.#forget(stack);
    }
  }

  async destroy(stack: string, options: StackOptions = {}): Promise<StackResult> {
    const result = await this.#run("destroy", stack, options);
    await this.#forget(stack);
    return result;
  }

  previewDestroy(stack: string, options: StackOptions = {}): Promise<StackResult> {
    return this.#run("previewDestroy", stack, options);
  }

  async outputs(stack: string): Promise<Properties | undefined> {
    if (!(await this.exists(stack))) return undefined;
    return fromOutputs(await (await this.#open(stack, {})).outputs());
  }

  async exists(stack: string): Promise<boolean> {
    return (await this.#known()).has(stack);
  }

  async stacks(): Promise<string[]> {
    return [...(await this.#known())].filter((stack) => stack.startsWith(`${this.#options.mesh}-`));
  }

  async #run(mode: Mode, name: string, options: PreviewOptions): Promise<StackResult> {
    const events: EngineEvent[] = [];
    let outputs: Properties = {};
    const preview = mode === "preview" || mode === "previewDestroy";
    const onEvent = (event: PulumiEvent) => {
      if (preview) outputs = plannedOutputsOf(event) ?? outputs;
      const ours = toEvent(name, event, preview);
      if (ours === undefined) return;
      events.push(ours);
      options.onEvent?.(ours);
    };
    const { signal, parallel, planned } = options;
    const settings = {
      onEvent,
      ...(signal && { signal }),
      ...(parallel && { parallel }),
      suppressProgress: true,
    };
    try {
      await withPlanned(planned, async (variables) => {
        const stack = await this.#open(name, variables);
        await stack[mode](settings);
        if (mode === "up") outputs = fromOutputs(await stack.outputs());
      });
    } catch (error) {
      throw new StackError(messageOf(error as CommandError, events), resultOf(name, events, outputs));
    }
    const result = resultOf(name, events, outputs);
    // Nothing would change: what the stack has is what it would have, and its secrets are known.
    const same = mode === "preview" && result.resources.length === 0;
    return same ? { ...result, outputs: (await this.outputs(name)) ?? outputs } : result;
  }

  /** A stack to work on, made if need be. Neither making nor opening it selects it. */
  async #open(name: string, variables: Record<string, string>): Promise<Stack> {
    const known = await this.#known();
    if (!known.has(name)) {
      await this.#command.createStack(name);
      known.add(name);
    }
    const workspace = await LocalWorkspace.create({
      workDir: this.#directory,
      envVars: { PULUMI_SKIP_UPDATE_CHECK: "true", ...variables },
    });
    // The Automation API selects every stack that it opens. All its commands name the stack anyway.
    workspace.selectStack = async () => undefined;
    const stack = await Stack.select(name, workspace);
    const key = `${this.#project}:mesh`;
    if (this.#options.meshFile !== join(this.#directory, "mesh.yaml")) {
      const current = (await stack.getAllConfig())[key]?.value;
      if (current !== this.#options.meshFile) await stack.setConfig(key, { value: this.#options.meshFile });
    }
    return stack;
  }

  async #forget(stack: string): Promise<void> {
    await this.#command.removeStack(stack);
    (await this.#known()).delete(stack);
  }

  #known(): Promise<Set<string>> {
    this.#stacks ??= this.#command.stacks().then((names) => new Set(names));
    return this.#stacks;
  }
}

/** Where Pulumi.yaml is: at the declaration or above it, else in this package. */
function projectDirectory(meshFile: string): string {
  for (let directory = dirname(meshFile); ; directory = dirname(directory)) {
    if (existsSync(join(directory, "Pulumi.yaml"))) return directory;
    if (directory === dirname(directory)) break;
  }
  let own = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(own, "Pulumi.yaml")) && own !== dirname(own)) own = dirname(own);
  return own;
}

function fromOutputs(outputs: OutputMap): Properties {
  return Object.fromEntries(
    Object.entries(outputs).map(([key, output]): [string, Value] => [
      key,
      output.secret ? secret(output.value) : output.value,
    ]),
  );
}

/** What Pulumi said went wrong; its whole output only where it said nothing in particular. */
function messageOf(error: Error, events: readonly EngineEvent[]): string {
  const said = events.flatMap((event) =>
    event.event === "log" && event.severity === "error" ? [event.message.trim()] : [],
  );
  return said.length > 0 ? [...new Set(said)].join("\n") : error.message;
}
