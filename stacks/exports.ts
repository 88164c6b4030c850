import { type Document, isMap, isSeq, type Node, type YAMLMap, YAMLSeq } from "yaml";
import type { MeshExport } from "./mesh.ts";

/** Which service an export is of. */
export type ExportKey = Pick<MeshExport, "cluster" | "namespace" | "service">;

/**
 * Put an export into the document of a mesh.yaml, or change who may call the one that is there. Everything else of the
 * document, its comments and its layout too, stays as it is. Pure but for the document.
 *
 * @returns whether anything changed
 */
export function setExport(document: Document, entry: MeshExport): boolean {
  const list = exportsIn(document) ?? addList(document);
  const found = list.items.find((item) => isExport(item, entry));
  if (found === undefined) {
    const added = document.createNode(entry) as YAMLMap;
    // One line each, as people write them.
    added.flow = true;
    list.add(added);
    return true;
  }
  const before = (found as YAMLMap).toJSON() as MeshExport;
  if (sameClusters(before.allowedClusters, entry.allowedClusters)) return false;
  if (entry.allowedClusters === undefined) (found as YAMLMap).delete("allowedClusters");
  else (found as YAMLMap).set("allowedClusters", document.createNode(entry.allowedClusters, { flow: true }));
  return true;
}

/**
 * Take an export out of the document of a mesh.yaml.
 *
 * @returns whether it was there
 */
export function removeExport(document: Document, entry: ExportKey): boolean {
  const list = exportsIn(document);
  const index = list?.items.findIndex((item) => isExport(item, entry)) ?? -1;
  if (list === undefined || index < 0) return false;
  list.items.splice(index, 1);
  if (list.items.length === 0) list.flow = true;
  return true;
}

function exportsIn(document: Document): YAMLSeq | undefined {
  const list = document.get("exports");
  return isSeq(list) ? list : undefined;
}

/** A block list in the place of none, of an empty one, or of an `exports:` with nothing behind it. */
function addList(document: Document): YAMLSeq {
  const list = new YAMLSeq();
  document.set("exports", list);
  return list;
}

function isExport(item: unknown, entry: ExportKey): boolean {
  return (
    isMap(item as Node) &&
    (["cluster", "namespace", "service"] as const).every((key) => (item as YAMLMap).get(key) === entry[key])
  );
}

function sameClusters(a: readonly string[] | undefined, b: readonly string[] | undefined): boolean {
  return JSON.stringify(a ? [...a].sort() : null) === JSON.stringify(b ? [...b].sort() : null);
}
