/** Says what is going on, a line at a time: fit for a terminal and for the log of a pipeline. */
import { changeCount, type MeshEvent, type Operation, type StackOutcome } from "../../stacks/automation.ts";
import { colorOf, SIGNS, type Style } from "./style.ts";
import { countsInWords, duration, pathsInWords, resourceName } from "./words.ts";

export interface ProgressOptions {
  style: Style;
  write: (line: string) => void;
  /** Whether it is a preview that goes on. */
  planned: boolean;
  /** Also what begins, and what the programs say about their failures. */
  verbose: boolean;
  /** Milliseconds, from any beginning. @default the process's own clock */
  now?: () => number;
}

/** Milliseconds after which it is said that a resource is still being worked on, and again as often. */
const LONG = 15_000;

export class Progress {
  readonly #options: ProgressOptions;
  readonly #now: () => number;
  /** By URN, what is being worked on. */
  readonly #running = new Map<string, { stack: string; what: string; since: number; told: number }>();
  #width = 0;

  constructor(options: ProgressOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
  }

  /** Says what takes long. To be called every now and then. */
  readonly tick = (): void => {
    const now = this.#now();
    for (const running of this.#running.values()) {
      if (now - running.told < LONG) continue;
      running.told = now;
      const text = `… ${running.what} (${duration((now - running.since) / 1000)})`;
      this.#line(running.stack, this.#options.style.dim(text));
    }
  };

  readonly handle = (event: MeshEvent): void => {
    const { style, verbose, planned } = this.#options;
    switch (event.event) {
      case "plan":
        this.#width = Math.max(0, ...event.steps.map(({ stack }) => stack.length));
        this.#options.write(style.dim(event.engine));
        break;
      case "stack-started":
        if (verbose) this.#line(event.stack, style.dim("begins"));
        break;
      case "stack-ended":
        this.#line(event.stack, this.#outcome(event.outcome));
        break;
      case "started":
        this.#begin(event);
        if (verbose) this.#line(event.stack, style.dim(`… ${event.op} ${resourceName(event)}`));
        break;
      case "planned":
      case "done": {
        this.#running.delete(event.urn);
        const quiet = !event.counted || event.op === "same" || event.op === "read";
        if (quiet && !verbose) break;
        if ((event.event === "planned") !== planned) break;
        const paths = event.diff.length > 0 ? style.dim(`  ${pathsInWords(event.diff)}`) : "";
        this.#line(
          event.stack,
          `${colorOf(style, event.op)(`${SIGNS[event.op]} ${resourceName(event)}`)}${paths}`,
        );
        break;
      }
      case "failed":
        this.#running.delete(event.urn);
        this.#line(event.stack, style.bad(`! ${resourceName(event)}`));
        break;
      case "log":
        if (event.severity === "error" && !verbose) break;
        for (const text of event.message.trimEnd().split("\n"))
          this.#line(event.stack, this.#log(event.severity, text));
    }
  };

  #begin(event: { stack: string; urn: string; op: Operation; type: string; name: string }): void {
    const now = this.#now();
    const what = `${event.op} ${resourceName(event)}`;
    this.#running.set(event.urn, { stack: event.stack, what, since: now, told: now });
  }

  #outcome(outcome: StackOutcome): string {
    const { style, planned } = this.#options;
    const { result, status, operation, message, seconds } = outcome;
    if (status === "skipped") return style.warn(`skipped: ${message}`);
    const changed = result !== undefined && changeCount(result.changes) > 0;
    const counts = result === undefined ? "" : countsInWords(result.changes, planned);
    const took = style.dim(`(${duration(seconds)})`);
    if (status === "failed") return `${style.bad("failed")}${changed ? `: ${counts}` : ""} ${took}`;
    const verb =
      operation === "destroy" ? (planned ? "to be removed" : "removed") : planned ? "previewed" : "up";
    return `${changed ? style.bold(verb) : verb}: ${counts} ${took}`;
  }

  #log(severity: string, text: string): string {
    const { style } = this.#options;
    if (severity === "error") return style.bad(text);
    return severity === "warning" ? style.warn(`warning: ${text}`) : style.dim(text);
  }

  #line(stack: string, text: string): void {
    this.#options.write(`${this.#options.style.dim(stack.padEnd(this.#width))}  ${text}`);
  }
}
