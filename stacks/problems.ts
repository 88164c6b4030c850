import { relative } from "node:path";
import { type Document, isMap, isNode, isPair, isScalar, type LineCounter } from "yaml";

/** Where in a document: keys of mappings and places in lists, from the top. */
export type Path = readonly (string | number)[];

/** One thing wrong with a mesh.yaml. */
export interface Problem {
  /** The file, as a person at the present directory would name it. */
  file: string;
  /** Line of it, from 1. */
  line: number;
  /** The key, as `clusters[1].gateway.port`; empty for the file as a whole. */
  key: string;
  /** What is wrong, and what is allowed. */
  message: string;
}

/** A mesh.yaml is not what it must be. The message has one line a problem: file, line, key, what is allowed. */
export class MeshError extends Error {
  override readonly name = "MeshError";
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[]) {
    super(problems.map(describe).join("\n"));
    this.problems = problems;
  }
}

function describe({ file, line, key, message }: Problem): string {
  return `${file}:${line}: ${key === "" ? "" : `${key} `}${message}`;
}

/** A file as a person at the present directory would name it. */
export function displayed(file: string): string {
  const near = relative(process.cwd(), file);
  return near === "" || near.startsWith("..") ? file : near;
}

/** `clusters[1].gateway.port` */
export function keyOf(path: Path): string {
  return path
    .map((step) => (typeof step === "number" ? `[${step}]` : `.${step}`))
    .join("")
    .replace(/^\./, "");
}

/** Line of a document at which a path starts: the key's where there is one; else that of what should hold it. */
export function lineOf(document: Document, lines: LineCounter, path: Path): number {
  for (let depth = path.length; depth > 0; depth--) {
    const offset = offsetOf(document, path.slice(0, depth));
    if (offset !== undefined) return lines.linePos(offset).line;
  }
  return 1;
}

function offsetOf(document: Document, path: Path): number | undefined {
  const last = path.at(-1);
  const holder = path.length === 1 ? document.contents : document.getIn(path.slice(0, -1), true);
  if (isMap(holder)) {
    const pair = holder.items.find((item) => isPair(item) && isScalar(item.key) && item.key.value === last);
    return isScalar(pair?.key) ? pair.key.range?.[0] : undefined;
  }
  const node = document.getIn(path, true);
  return isNode(node) ? node.range?.[0] : undefined;
}

/** The one of `known` that `word` is most likely a slip for; nothing where none is near. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  const ranked = known
    .map((name) => ({ name, distance: distance(word.toLowerCase(), name.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance);
  const best = ranked[0];
  return best && best.distance <= Math.max(1, Math.floor(best.name.length / 3)) ? best.name : undefined;
}

/** How many letters must be changed, added or left out to make `b` of `a`. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const changed = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(changed, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[b.length]!;
}
