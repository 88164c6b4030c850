/** The state file: one a mesh, readable by its owner only, never half written. */
import { chmod, mkdir, open, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { isSealed, Seal } from "./seal.ts";
import { emptyMeshState, type MeshState, STATE_VERSION } from "./state.ts";

/** Variables that may hold the passphrase, in the order in which they are asked. */
export const PASSPHRASE_VARIABLES = ["ISTHMUS_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE"] as const;

export function passphraseFrom(environment: NodeJS.ProcessEnv): string | undefined {
  for (const name of PASSPHRASE_VARIABLES) {
    const value = environment[name];
    if (value !== undefined && value !== "") return value;
  }
  return undefined;
}

export class StateFile {
  readonly path: string;
  readonly #mesh: string;
  readonly #seal: Seal | undefined;
  #writing: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  /** @param passphrase Encrypts what is written from now on. A plain file is still read, and encrypted by the next write. */
  constructor(path: string, mesh: string, passphrase?: string) {
    this.path = path;
    this.#mesh = mesh;
    this.#seal = passphrase === undefined ? undefined : new Seal(passphrase);
  }

  /** @throws Error naming the file: unreadable, of another version or mesh, encrypted and no (or another) passphrase. */
  async read(): Promise<MeshState> {
    let text: string;
    try {
      text = await readFile(this.path, "utf8");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return emptyMeshState(this.#mesh);
      throw error;
    }
    try {
      return await this.#parse(text);
    } catch (error) {
      throw new Error(`Cannot read the state in ${this.path}: ${(error as Error).message}`, { cause: error });
    }
  }

  async #parse(text: string): Promise<MeshState> {
    let value: unknown = JSON.parse(text);
    if (isSealed(value)) {
      if (this.#seal === undefined) {
        throw new Error(`it is encrypted; give its passphrase in ${PASSPHRASE_VARIABLES.join(" or ")}`);
      }
      value = JSON.parse(await this.#seal.open(value));
    }
    const state = value as MeshState;
    if (state.version !== STATE_VERSION) {
      throw new Error(`it has version ${state.version}; this isthmus knows version ${STATE_VERSION}`);
    }
    if (state.mesh !== this.#mesh) {
      throw new Error(`it belongs to the mesh "${state.mesh}", not to "${this.#mesh}"`);
    }
    return state;
  }

  /**
   * Returns when a file with all of `state` as it is now has taken the place of the old one. Calls that come while a
   * write is under way share the next one.
   */
  write(state: MeshState): Promise<void> {
    if (this.#next !== undefined) return this.#next;
    if (this.#writing === undefined) {
      this.#writing = this.#replace(state).finally(() => {
        this.#writing = undefined;
      });
      return this.#writing;
    }
    const begin = () => {
      this.#next = undefined;
      return this.write(state);
    };
    this.#next = this.#writing.then(begin, begin);
    return this.#next;
  }

  async #replace(state: MeshState): Promise<void> {
    const text = JSON.stringify(state, undefined, 1);
    const content = this.#seal === undefined ? text : JSON.stringify(await this.#seal.seal(text));
    await makeStateDirectory(dirname(this.path));
    const temporary = `${this.path}.${process.pid}.tmp`;
    const file = await open(temporary, "w", 0o600);
    try {
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
    await chmod(temporary, 0o600);
    await rename(temporary, this.path);
  }

  /** Removes the file, once no stack is left in it. */
  async remove(): Promise<void> {
    await this.#writing;
    await rm(this.path, { force: true });
  }
}

/** The directory is its owner's, and no version control takes keys from it unasked. */
export async function makeStateDirectory(directory: string): Promise<void> {
  const made = await mkdir(directory, { recursive: true, mode: 0o700 });
  if (made !== undefined) await writeFile(join(directory, ".gitignore"), "*\n");
}
