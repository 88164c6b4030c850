/** A stack's program written by a test, and the engine that hosts it. */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EmbeddedEngine, type EmbeddedOptions } from "../../stacks/engines/embedded/engine.ts";
import type { EngineEvent, PreviewOptions, StackResult } from "../../stacks/engines/engine.ts";

const IMPORTS = `
import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import * as tls from "@pulumi/tls";
import { plannedOutput } from ${JSON.stringify(join(import.meta.dirname, "../../stacks/engines/planned.ts"))};
`;

/**
 * Keeps programs where the project's packages are found, and their state in a folder of its own. Unused imports cost
 * nothing but the time to load them, so only what a program names is imported.
 */
export class StackProgram {
  readonly folder: string;
  readonly #programs: string;
  readonly events: EngineEvent[] = [];

  static async create(): Promise<StackProgram> {
    const folder = await mkdtemp(join(tmpdir(), "isthmus-engine-"));
    const scratch = join(import.meta.dirname, "../../.isthmus");
    await mkdir(scratch, { recursive: true });
    const programs = await mkdtemp(join(scratch, "program-"));
    return new StackProgram(folder, programs);
  }

  private constructor(folder: string, programs: string) {
    this.folder = folder;
    this.#programs = programs;
  }

  get stateFile(): string {
    return join(this.folder, "state", "demo.json");
  }

  async engine(body: string, options: Partial<EmbeddedOptions> = {}): Promise<EmbeddedEngine> {
    const program = await this.write(body);
    const meshFile = join(this.folder, "mesh.yaml");
    return new EmbeddedEngine({ mesh: "demo", meshFile, program, stateFile: this.stateFile, ...options });
  }

  /** @returns path of the program's entry */
  async write(body: string): Promise<string> {
    const program = join(this.#programs, "program.ts");
    const imports = IMPORTS.split("\n").filter((line) => {
      const name = /\* as (\w+)/.exec(line)?.[1] ?? /\{ (\w+) \}/.exec(line)?.[1];
      return name !== undefined && new RegExp(`\\b${name}\\b`).test(body);
    });
    await writeFile(program, `${imports.join("\n")}\n${body}\nexport {};\n`);
    return program;
  }

  async up(body: string, options: Partial<EmbeddedOptions> = {}, stack = "demo-a"): Promise<StackResult> {
    const engine = await this.engine(body, options);
    return engine.up(stack, { onEvent: this.#listen() });
  }

  async preview(body: string, options: PreviewOptions = {}, stack = "demo-a"): Promise<StackResult> {
    const engine = await this.engine(body);
    return engine.preview(stack, { ...options, onEvent: this.#listen() });
  }

  async destroy(stack = "demo-a"): Promise<StackResult> {
    const engine = await this.engine("");
    return engine.destroy(stack, { onEvent: this.#listen() });
  }

  async remove(): Promise<void> {
    await rm(this.folder, { recursive: true, force: true });
    await rm(this.#programs, { recursive: true, force: true });
  }

  #listen() {
    this.events.length = 0;
    return (event: EngineEvent) => void this.events.push(event);
  }
}
