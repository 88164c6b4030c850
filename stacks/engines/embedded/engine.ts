/** The embedded engine: hosts the stack programs without the Pulumi CLI, its plugins or an account. */
import { dirname, extname } from "node:path";
import { fileURLToPath } from "node:url";
import { displayed } from "../../problems.ts";
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
import type { Properties } from "../wire.ts";
import { Deployment } from "./deployment.ts";
import { Foreseen } from "./kubernetes/foreseen.ts";
import { KubernetesProvider } from "./kubernetes/provider.ts";
import { ResourceFailure } from "./ledger.ts";
import type { Provider } from "./provider.ts";
import { runProgram } from "./running.ts";
import { passphraseFrom, StateFile } from "./state/file.ts";
import { takeLock } from "./state/lock.ts";
import { embeddedStateFile } from "./state/place.ts";
import { emptyStackState, type MeshState, type StackState } from "./state/state.ts";
import { TlsProvider } from "./tls/provider.ts";

export interface EmbeddedOptions extends ProjectOptions {
  /** The programs' entry. @default the stack programs of this package */
  program?: string;
  /** Where the state is kept. @default `.isthmus/state/<mesh>.json` beside the declaration */
  stateFile?: string;
  /** Encrypts the state. @default ISTHMUS_PASSPHRASE, else PULUMI_CONFIG_PASSPHRASE, else it is not encrypted */
  passphrase?: string;
}

const PARALLEL = 16;

type Mode = "up" | "preview" | "destroy" | "previewDestroy";

export class EmbeddedEngine implements Engine {
  readonly name = "embedded";
  readonly #options: EmbeddedOptions;
  readonly #project: string;
  readonly #program: string;
  readonly #file: StateFile;
  readonly #encrypted: boolean;
  readonly #foreseen = new Foreseen();
  #held = 0;
  #lock: Promise<() => Promise<void>> | undefined;
  #state: Promise<MeshState> | undefined;

  constructor(options: EmbeddedOptions) {
    this.#options = options;
    this.#project = options.project ?? "isthmus";
    this.#program = options.program ?? stackPrograms();
    const path = options.stateFile ?? embeddedStateFile(options);
    const passphrase = options.passphrase ?? passphraseFrom(process.env);
    this.#encrypted = passphrase !== undefined;
    this.#file = new StateFile(path, options.mesh, passphrase);
  }

  describe(): string {
    const how = this.#encrypted ? "encrypted" : "not encrypted: set ISTHMUS_PASSPHRASE";
    return `embedded engine (no Pulumi CLI needed); state in ${displayed(this.#file.path)}, ${how}`;
  }

  async exclusively<T>(work: () => Promise<T>): Promise<T> {
    this.#held++;
    try {
      this.#lock ??= takeLock(`${this.#file.path}.lock`);
      await this.#lock;
      // Read once the lock is ours, and then kept in memory: nobody else writes it.
      this.#state ??= this.#file.read();
      await this.#state;
      return await work();
    } finally {
      this.#held--;
      if (this.#held === 0) {
        const lock = this.#lock;
        this.#lock = undefined;
        this.#state = undefined;
        const release = await lock?.catch(() => undefined);
        await release?.();
      }
    }
  }

  up(stack: string, options: StackOptions = {}): Promise<StackResult> {
    return this.exclusively(() => this.#run("up", stack, options));
  }

  preview(stack: string, options: PreviewOptions = {}): Promise<StackResult> {
    return this.#run("preview", stack, options);
  }

  destroy(stack: string, options: StackOptions = {}): Promise<StackResult> {
    return this.exclusively(() => this.#run("destroy", stack, options));
  }

  previewDestroy(stack: string, options: StackOptions = {}): Promise<StackResult> {
    return this.#run("previewDestroy", stack, options);
  }

  async outputs(stack: string): Promise<Properties | undefined> {
    return (await this.#read()).stacks[stack]?.outputs;
  }

  async exists(stack: string): Promise<boolean> {
    return (await this.#read()).stacks[stack] !== undefined;
  }

  async stacks(): Promise<string[]> {
    return Object.keys((await this.#read()).stacks);
  }

  #runProgram(deployment: Deployment, stack: string, options: PreviewOptions): Promise<void> {
    return withPlanned(options.planned, (variables) =>
      runProgram(deployment, {
        program: this.#program,
        directory: dirname(this.#options.meshFile),
        project: this.#project,
        stack,
        config: { [`${this.#project}:mesh`]: this.#options.meshFile },
        preview: deployment.isPreview,
        variables,
        signal: options.signal,
      }),
    );
  }

  /** New ones for each run of a stack; what previews foresee they share. */
  #providers(): Map<string, Provider> {
    return new Map<string, Provider>([
      ["kubernetes", new KubernetesProvider(this.#foreseen)],
      ["tls", new TlsProvider()],
    ]);
  }

  #read(): Promise<MeshState> {
    return this.#state ?? this.#file.read();
  }

  async #run(mode: Mode, stack: string, options: PreviewOptions): Promise<StackResult> {
    const mesh = await this.#read();
    const preview = mode === "preview" || mode === "previewDestroy";
    const state: StackState = mesh.stacks[stack] ?? emptyStackState();
    if (mode === "up") mesh.stacks[stack] = state;
    const events: EngineEvent[] = [];
    const deployment = new Deployment({
      stack,
      project: this.#project,
      state,
      save: () => this.#file.write(mesh),
      preview,
      providers: this.#providers(),
      reference: async (name) => {
        const planned = options.planned?.get(name);
        return planned === null ? undefined : (planned ?? mesh.stacks[name]?.outputs);
      },
      emit: (event) => {
        events.push(event);
        options.onEvent?.(event);
      },
      parallel: options.parallel ?? PARALLEL,
      signal: options.signal ?? new AbortController().signal,
    });
    const result = () => resultOf(stack, events, deployment.outputs);
    try {
      if (mode === "up" || mode === "preview") await this.#runProgram(deployment, stack, options);
      await deployment.prune();
    } catch (error) {
      if (!preview) await this.#file.write(mesh);
      const urn = error instanceof ResourceFailure ? error.urn : undefined;
      throw new StackError((error as Error).message, result(), urn);
    }
    if (mode === "destroy") {
      delete mesh.stacks[stack];
      await (Object.keys(mesh.stacks).length === 0 ? this.#file.remove() : this.#file.write(mesh));
    }
    return result();
  }
}

/** The entry that Pulumi.yaml names too; compiled, this file lies one folder deeper. */
function stackPrograms(): string {
  const root = extname(import.meta.url) === ".ts" ? "../../.." : "../../../..";
  return fileURLToPath(new URL(`${root}/bin/stacks.js`, import.meta.url));
}
