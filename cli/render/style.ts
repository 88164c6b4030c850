/** Colors, where they help and are wanted: on a terminal, and not against NO_COLOR. Pure. */
import type { Operation } from "../../stacks/automation.ts";

export interface Style {
  bold: (text: string) => string;
  dim: (text: string) => string;
  good: (text: string) => string;
  warn: (text: string) => string;
  bad: (text: string) => string;
}

export function styleFor(stream: { isTTY?: boolean }, environment: NodeJS.ProcessEnv = process.env): Style {
  const colored =
    (environment.FORCE_COLOR ?? "") !== "" ||
    (stream.isTTY === true && (environment.NO_COLOR ?? "") === "" && environment.TERM !== "dumb");
  const code = (open: number, close: number) => (text: string) =>
    colored ? `\u001b[${open}m${text}\u001b[${close}m` : text;
  return { bold: code(1, 22), dim: code(2, 22), good: code(32, 39), warn: code(33, 39), bad: code(31, 39) };
}

export const SIGNS: Record<Operation, string> = {
  create: "+",
  update: "~",
  replace: "±",
  delete: "-",
  same: " ",
  read: ">",
};

export function colorOf(style: Style, op: Operation): (text: string) => string {
  if (op === "create") return style.good;
  if (op === "update") return style.warn;
  if (op === "replace" || op === "delete") return style.bad;
  return style.dim;
}
