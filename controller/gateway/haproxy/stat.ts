/** One line of `show stat`: a frontend, a backend or a server. */
export interface StatRow {
  /** Name of the frontend or backend. */
  proxy: string;
  /** `FRONTEND`, `BACKEND`, or the name of a server. */
  service: string;
  /** `OPEN`, `UP`, `DOWN`, `no check`… */
  status: string;
  /** Connections open now. */
  open: number;
  /** Connections since the worker started. */
  total: number;
  bytesIn: number;
  bytesOut: number;
  /** Connections refused by a rule, or lost for want of a server that answers. */
  refused: number;
}

/** Read the answer to `show stat` (CSV with a heading). */
export function parseStat(text: string): StatRow[] {
  const [heading = "", ...lines] = text.split("\n").filter((line) => line !== "");
  const columns = heading.replace(/^# /, "").split(",");
  const column = Object.fromEntries(columns.map((name, index) => [name, index]));
  return lines.map((line) => {
    const cells = line.split(",");
    const cell = (name: string) => cells[column[name] ?? -1] ?? "";
    const count = (name: string) => Number(cell(name) || 0);
    return {
      proxy: cell("pxname"),
      service: cell("svname"),
      status: cell("status"),
      open: count("scur"),
      total: count("stot"),
      bytesIn: count("bin"),
      bytesOut: count("bout"),
      refused: count("dreq") + count("econ"),
    };
  });
}
