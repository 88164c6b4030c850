/** Where a command reads and writes: handed in, so that tests can look on. */
import { createInterface } from "node:readline/promises";
import { type Style, styleFor } from "./render/style.ts";

export interface Terminal {
  /** One line of the command's result. */
  out: (line: string) => void;
  /** One line beside the result: progress where the result is for a machine, errors. */
  err: (line: string) => void;
  style: Style;
  /** Asks and waits for an answer; undefined where there is nobody to ask. */
  ask: ((question: string) => Promise<string>) | undefined;
  /** Aborted by Ctrl-C. */
  signal: AbortSignal;
}

export function realTerminal(signal: AbortSignal): Terminal {
  const { stdin, stdout, stderr } = process;
  const ask = async (question: string) => {
    const lines = createInterface({ input: stdin, output: stdout });
    try {
      return await lines.question(question, { signal });
    } finally {
      lines.close();
    }
  };
  return {
    out: (line) => void stdout.write(`${line}\n`),
    err: (line) => void stderr.write(`${line}\n`),
    style: styleFor(stdout),
    ask: stdin.isTTY === true && stdout.isTTY === true ? ask : undefined,
    signal,
  };
}

/** @returns whether the user agreed */
export async function confirmed(terminal: Terminal, question: string): Promise<boolean> {
  const answer = await terminal.ask?.(`${question} [y/N] `);
  return /^y(es)?$/i.test(answer?.trim() ?? "");
}
