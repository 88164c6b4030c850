import { createHash, X509Certificate } from "node:crypto";
import { certificateBlocks } from "../../identity/pem.ts";
import { ask, HaproxyCommandError } from "./socket.ts";
import { parseStat, type StatRow } from "./stat.ts";

/** HAProxy takes 16 KiB a command; a payload may be as long. */
const MAX_COMMAND_BYTES = 12_000;

/** The differences that a map was brought in line by. */
export interface MapChange {
  added: number;
  changed: number;
  removed: number;
}

/** `narrowed`: an anchor is trusted no longer. */
export type TrustChange = "none" | "widened" | "narrowed";

/** The running worker: everything here takes effect at once, without a reload, and is forgotten at the next one. */
export class HaproxyRuntime {
  readonly #socketPath: string;

  constructor(socketPath: string) {
    this.#socketPath = socketPath;
  }

  /** The digest of the configuration that the worker runs (`renderConfig`). */
  async digest(): Promise<string | undefined> {
    return /^description: *(\S+)$/im.exec(await this.#ask("show info"))?.[1];
  }

  /** Names of the backends that the worker has. */
  async backends(): Promise<Set<string>> {
    const lines = (await this.#ask("show backend")).split("\n");
    return new Set(lines.filter((line) => line !== "" && !line.startsWith("#")));
  }

  /** State of the servers, in the form in which a new worker reads it (`server-state-file`). */
  servers(): Promise<string> {
    return this.#ask("show servers state");
  }

  async stat(): Promise<StatRow[]> {
    return parseStat(await this.#ask("show stat"));
  }

  /** The entries of a map. */
  async map(file: string): Promise<Map<string, string>> {
    const answer = await this.#ask(`show map ${file}`);
    if (answer.startsWith("Unknown map")) throw new HaproxyCommandError(`show map ${file}: ${answer.trim()}`);
    const entries = new Map<string, string>();
    for (const line of answer.split("\n")) {
      const [, key, value] = /^0x[0-9a-f]+ (\S+) (.*)$/.exec(line) ?? [];
      if (key !== undefined && value !== undefined) entries.set(key, value);
    }
    return entries;
  }

  /**
   * Make the entries of a map those of `desired`, by as few changes as that takes. What goes, goes first: in between, too
   * little is allowed rather than too much.
   */
  async syncMap(file: string, desired: ReadonlyMap<string, string>): Promise<MapChange> {
    const present = await this.map(file);
    const removed = [...present.keys()].filter((key) => !desired.has(key));
    const added: string[] = [];
    const changed: string[] = [];
    for (const [key, value] of desired) {
      const before = present.get(key);
      if (before === undefined) added.push(`${key} ${value}`);
      else if (before !== value) changed.push(`set map ${file} ${key} ${value}`);
    }
    for (const batch of batches(removed.map((key) => `del map ${file} ${key}`))) {
      await this.#command(batch.join(";"));
    }
    for (const batch of batches(changed)) await this.#command(batch.join(";"));
    for (const batch of batches(added)) await this.#command(`add map ${file} <<\n${batch.join("\n")}\n`);
    return { added: added.length, changed: changed.length, removed: removed.length };
  }

  /** Put `pem` (certificate, issuer, key) in the place of the certificate loaded from `file`. @returns whether it was another */
  async syncCertificate(file: string, pem: string): Promise<boolean> {
    const loaded = fingerprintsIn(await this.#ask(`show ssl cert ${file}`));
    // An egress without links has loaded none: its next configuration reads the file.
    if (loaded.length === 0 || loaded.includes(fingerprint(new X509Certificate(pem)))) return false;
    await this.#transaction("ssl cert", file, pem);
    return true;
  }

  /** Put `pem` in the place of the trust bundle loaded from `file`. */
  async syncTrust(file: string, pem: string): Promise<TrustChange> {
    const loaded = fingerprintsIn(await this.#ask(`show ssl ca-file ${file}`));
    if (loaded.length === 0) return "none";
    const wanted = new Set(certificateBlocks(pem).map((block) => fingerprint(new X509Certificate(block))));
    const dropped = loaded.some((anchor) => !wanted.has(anchor));
    if (!dropped && loaded.length === wanted.size) return "none";
    await this.#transaction("ssl ca-file", file, pem);
    return dropped ? "narrowed" : "widened";
  }

  /** Replace a certificate or bundle: new connections use it, open ones go on. */
  async #transaction(what: "ssl cert" | "ssl ca-file", file: string, pem: string): Promise<void> {
    // A blank line would end the payload.
    const payload = pem
      .replaceAll("\r", "")
      .replace(/\n{2,}/g, "\n")
      .trim();
    const staged = await this.#ask(`set ${what} ${file} <<\n${payload}\n`);
    if (!/transaction (created|updated)/i.test(staged)) {
      throw new HaproxyCommandError(`HAProxy refuses ${file}: ${staged.trim()}`);
    }
    const committed = await this.#ask(`commit ${what} ${file}`);
    if (/success/i.test(committed)) return;
    await this.#ask(`abort ${what} ${file}`);
    throw new HaproxyCommandError(`HAProxy does not put ${file} in force: ${committed.trim()}`);
  }

  /** A command that answers nothing when it succeeds. */
  async #command(command: string): Promise<void> {
    const answer = (await this.#ask(command)).trim();
    if (answer !== "") throw new HaproxyCommandError(`HAProxy refuses "${command.slice(0, 200)}": ${answer}`);
  }

  #ask(command: string): Promise<string> {
    return ask(this.#socketPath, command);
  }
}

function* batches(lines: readonly string[]): Generator<string[]> {
  let batch: string[] = [];
  let bytes = 0;
  for (const line of lines) {
    if (batch.length > 0 && bytes + line.length > MAX_COMMAND_BYTES) {
      yield batch;
      batch = [];
      bytes = 0;
    }
    batch.push(line);
    bytes += line.length + 1;
  }
  if (batch.length > 0) yield batch;
}

/** SHA-1 is what HAProxy shows; here it only tells certificates apart that we made. */
function fingerprint(certificate: X509Certificate): string {
  return createHash("sha1").update(certificate.raw).digest("hex").toUpperCase();
}

function fingerprintsIn(answer: string): string[] {
  return [...answer.matchAll(/^SHA1 FingerPrint: ([0-9A-F]{40})$/gim)].map(([, print]) =>
    print!.toUpperCase(),
  );
}
