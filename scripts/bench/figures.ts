import { cpus, totalmem } from "node:os";
import { chalk } from "zx";
import { printTable } from "../demo/table.ts";

/** One thing measured, with what it is to be compared with. */
export interface Figure {
  name: string;
  value: number;
  unit: string;
  /** Measured in the same run, in the same unit. */
  reference?: { what: string; value: number };
  /** What the project sets itself, for people; nothing fails by it. */
  goal?: string;
}

/** What a benchmark found. */
export interface Result {
  benchmark: string;
  /** What was done, in one sentence. */
  what: string;
  figures: Figure[];
}

/** The value that `share` (0 to 1) of the values are not above. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** Print a result: a table for people, or one JSON document. */
export function printResult(result: Result, json: boolean): void {
  const figures = result.figures.map((figure) => ({
    ...figure,
    ...(figure.reference && { ratio: figure.value / figure.reference.value }),
  }));
  if (json) {
    console.log(JSON.stringify({ ...result, machine: machine(), figures }, undefined, 2));
    return;
  }
  const { cores, memoryGiB } = machine();
  console.log(chalk.bold(`\n${result.benchmark}`));
  console.log(`${result.what}\n${cores} cores, ${memoryGiB} GiB, which the clusters share\n`);
  printTable(
    ["", "MEASURED", "REFERENCE", "", "RATIO", "GOAL"],
    figures.map(({ name, value, unit, reference, ratio, goal }) => [
      name,
      `${round(value)} ${unit}`,
      reference === undefined ? "" : `${round(reference.value)} ${unit}`,
      reference?.what ?? "",
      ratio === undefined || !Number.isFinite(ratio) ? "" : ratio.toFixed(2),
      goal ?? "",
    ]),
  );
}

function machine() {
  const memoryGiB = Math.round(totalmem() / 2 ** 30);
  return { cores: cpus().length, processor: cpus()[0]?.model.trim(), memoryGiB, node: process.version };
}

/** Three digits say all that such measurements know. */
function round(value: number): string {
  return Math.abs(value) >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(3)));
}
