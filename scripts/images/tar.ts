import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { open, stat } from "node:fs/promises";
import { posix } from "node:path";

/** What a tar holds under one path. Everything belongs to root and is as old as the epoch: same entries, same bytes. */
export type TarEntry = { path: string } & (
  | { type: "directory"; mode?: number }
  | { type: "link"; target: string }
  | { type: "text"; text: string; mode?: number }
  | { type: "file"; source: string; mode?: number }
);

/**
 * Write a tar of `entries`, in the order of their paths, with the directories above them.
 *
 * @returns the SHA-256 of its bytes, in hexadecimal.
 */
export async function writeTar(path: string, entries: readonly TarEntry[]): Promise<string> {
  const hash = createHash("sha256");
  const output = await open(path, "w");
  try {
    const write = async (bytes: Uint8Array) => {
      hash.update(bytes);
      await output.writeFile(bytes);
    };
    for (const entry of complete(entries)) {
      const size = await sizeOf(entry);
      await write(header(entry, size));
      if (entry.type === "text") await write(Buffer.from(entry.text));
      if (entry.type === "file") for await (const chunk of createReadStream(entry.source)) await write(chunk);
      await write(Buffer.alloc(-size & 511));
    }
    await write(Buffer.alloc(1024));
  } finally {
    await output.close();
  }
  return hash.digest("hex");
}

/** `entries` and the directories above them, each path once, sorted. The last entry of a path counts. */
function complete(entries: readonly TarEntry[]): TarEntry[] {
  const byPath = new Map<string, TarEntry>();
  for (const entry of entries) {
    const path = entry.path.replace(/^\/+/, "");
    for (let above = posix.dirname(path); above !== "."; above = posix.dirname(above)) {
      if (!byPath.has(above)) byPath.set(above, { path: above, type: "directory" });
    }
    byPath.set(path, { ...entry, path });
  }
  return [...byPath.values()].sort((a, b) => (a.path < b.path ? -1 : 1));
}

async function sizeOf(entry: TarEntry): Promise<number> {
  if (entry.type === "text") return Buffer.byteLength(entry.text);
  if (entry.type === "file") return (await stat(entry.source)).size;
  return 0;
}

const TYPE_FLAG = { directory: "5", link: "2", text: "0", file: "0" } as const;

/** A header as POSIX 1988 has it ("ustar"). */
function header(entry: TarEntry, size: number): Buffer {
  const name = entry.type === "directory" ? `${entry.path}/` : entry.path;
  if (Buffer.byteLength(name) > 100) throw new Error(`"${name}" is too long for a tar of this kind`);
  const block = Buffer.alloc(512);
  const number = (value: number, offset: number, length: number) =>
    block.write(`${value.toString(8).padStart(length - 1, "0")}\0`, offset);
  block.write(name, 0);
  number(
    entry.type === "link" ? 0o777 : (entry.mode ?? (entry.type === "directory" ? 0o755 : 0o644)),
    100,
    8,
  );
  number(0, 108, 8);
  number(0, 116, 8);
  number(size, 124, 12);
  number(0, 136, 12);
  block.write(" ".repeat(8), 148);
  block.write(TYPE_FLAG[entry.type], 156);
  if (entry.type === "link") block.write(entry.target, 157, 100);
  block.write("ustar\x0000", 257);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return block;
}
