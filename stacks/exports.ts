import {
  isMap,
  isScalar,
  isSeq,
  type Node,
  parseDocument,
  stringify,
  type YAMLMap,
  type YAMLSeq,
} from "yaml";
import type { MeshExport } from "./mesh.ts";

/** Which service an export is of. */
export type ExportKey = Pick<MeshExport, "cluster" | "namespace" | "service">;

/**
 * The text of a mesh.yaml with an export, which is added, or changed where it is there but allows other clusters. All the
 * rest of the text, comments and layout too, stays as it is; so does all of it where nothing is to change. Pure.
 */
export function setExport(text: string, entry: MeshExport): string {
  const { list, keyEnd, valueEnd } = exportsIn(text);
  const written = write(entry);
  if (keyEnd === undefined) {
    return `${text}${text === "" || text.endsWith("\n") ? "" : "\n"}exports:\n  - ${written}\n`;
  }
  const found = list?.items.find((item) => isExport(item, entry));
  if (found) {
    const before = (found as YAMLMap).toJSON() as MeshExport;
    if (sameClusters(before.allowedClusters, entry.allowedClusters)) return text;
    return splice(text, startOf(found), endOf(text, found), written);
  }
  const last = list?.items.at(-1);
  if (list === undefined || last === undefined) {
    return splice(text, keyEnd, valueEnd ?? keyEnd, `\n  - ${written}`);
  }
  if (list.flow) {
    const end = endOf(text, last);
    return splice(text, end, end, `, ${written}`);
  }
  const end = lineEnd(text, endOf(text, last));
  return splice(text, end, end, `\n${" ".repeat(columnOf(text, startOf(list)))}- ${written}`);
}

/** The text of a mesh.yaml without an export. All the rest of the text stays as it is. Pure. */
export function removeExport(text: string, entry: ExportKey): string {
  const { list, keyEnd } = exportsIn(text);
  const found = list?.items.find((item) => isExport(item, entry));
  if (list === undefined || keyEnd === undefined || found === undefined) return text;
  if (list.flow) {
    const kept = list.items.filter((item) => item !== found).map((item) => write((item as YAMLMap).toJSON()));
    return splice(text, startOf(list), endOf(text, list), kept.length === 0 ? "[]" : `[${kept.join(", ")}]`);
  }
  const dash = text.lastIndexOf("-", startOf(found) - 1);
  const without = splice(text, dash - columnOf(text, dash), lineEnd(text, endOf(text, found)) + 1, "");
  return list.items.length === 1 ? splice(without, keyEnd, keyEnd, " []") : without;
}

interface Place {
  list?: YAMLSeq;
  /** Behind the colon of `exports:`; absent where there is no such key. */
  keyEnd?: number;
  /** Behind the value, where it is something else than a list with entries: `[]`, or `null` written out. */
  valueEnd?: number;
}

function exportsIn(text: string): Place {
  const { contents } = parseDocument(text);
  if (!isMap(contents)) return {};
  const pair = contents.items.find(({ key }) => isScalar(key) && key.value === "exports");
  if (!pair) return {};
  const keyEnd = text.indexOf(":", (pair.key as Node).range![1]) + 1;
  const value = pair.value as Node | null;
  const written = value?.range && value.range[1] > value.range[0] ? { valueEnd: value.range[1] } : {};
  return { keyEnd, ...(isSeq(value) ? { list: value } : {}), ...written };
}

/** An export as people write it: on one line. */
function write({ cluster, namespace, service, allowedClusters }: MeshExport): string {
  const entry = { cluster, namespace, service, ...(allowedClusters ? { allowedClusters } : {}) };
  return stringify(entry, { collectionStyle: "flow", lineWidth: 0 }).trim();
}

function isExport(item: unknown, entry: ExportKey): boolean {
  return (
    isMap(item) && (["cluster", "namespace", "service"] as const).every((key) => item.get(key) === entry[key])
  );
}

function sameClusters(a: readonly string[] | undefined, b: readonly string[] | undefined): boolean {
  return JSON.stringify(a ? [...a].sort() : null) === JSON.stringify(b ? [...b].sort() : null);
}

function startOf(node: unknown): number {
  return (node as Node).range![0];
}

/** Behind the last character of a node: the range of a block also takes the line breaks behind it. */
function endOf(text: string, node: unknown): number {
  const [start, end] = (node as Node).range!;
  return start + text.slice(start, end).trimEnd().length;
}

function lineEnd(text: string, from: number): number {
  const found = text.indexOf("\n", from);
  return found < 0 ? text.length : found;
}

function columnOf(text: string, offset: number): number {
  return offset - (text.lastIndexOf("\n", offset - 1) + 1);
}

function splice(text: string, start: number, end: number, by: string): string {
  return text.slice(0, start) + by + text.slice(end);
}
