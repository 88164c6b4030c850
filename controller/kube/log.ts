/** Values of a log line besides its message. Errors are written as their message; `undefined` is left out. */
export type LogFields = Record<string, unknown>;

export const LOG_LEVELS = ["debug", "info", "warn", "error"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export const LOG_FORMATS = ["plain", "json"] as const;
export type LogFormat = (typeof LOG_FORMATS)[number];

export interface Log {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** A log whose lines all carry `fields` too. */
  child(fields: LogFields): Log;
}

export interface LogOptions {
  /** The least level that is written. @default "info" */
  level?: LogLevel;
  /** @default "plain" */
  format?: LogFormat;
  /** Takes one line, without its line break. @default standard error */
  write?: (line: string) => void;
  /** @default the present */
  now?: () => Date;
}

/** A log that writes one line a message. */
export function createLog(options: LogOptions = {}): Log {
  const least = LOG_LEVELS.indexOf(options.level ?? "info");
  const render = (options.format ?? "plain") === "json" ? renderJson : renderPlain;
  const write = options.write ?? ((line: string) => process.stderr.write(`${line}\n`));
  const now = options.now ?? (() => new Date());

  const withFields = (bound: LogFields): Log => {
    const at = (level: LogLevel) => (message: string, fields?: LogFields) => {
      if (LOG_LEVELS.indexOf(level) >= least) write(render(now(), level, message, { ...bound, ...fields }));
    };
    return {
      debug: at("debug"),
      info: at("info"),
      warn: at("warn"),
      error: at("error"),
      child: (fields) => withFields({ ...bound, ...fields }),
    };
  };
  return withFields({});
}

/** Writes nothing. */
export const silentLog: Log = createLog({ write: () => undefined });

function renderJson(time: Date, level: LogLevel, message: string, fields: LogFields): string {
  const plain = Object.fromEntries(Object.entries(fields).map(([key, value]) => [key, readable(value)]));
  return JSON.stringify({ ...plain, time: time.toISOString(), level, message });
}

function renderPlain(time: Date, level: LogLevel, message: string, fields: LogFields): string {
  const rest = Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => ` ${key}=${quoted(readable(value))}`)
    .join("");
  return `${time.toISOString()} ${level.toUpperCase().padEnd(5)} ${oneLine(message)}${rest}`;
}

/** Failures are for operators: what and where is in their message. Mistakes in the program are for its authors. */
function readable(value: unknown): unknown {
  if (!(value instanceof Error)) return value;
  const mistake = mistakeIn(value);
  return mistake ? `${value.message}: ${mistake.stack}` : value.message;
}

function mistakeIn(error: Error, depth = 0): Error | undefined {
  if (error instanceof TypeError || error instanceof ReferenceError || error instanceof RangeError)
    return error;
  return error.cause instanceof Error && depth < 5 ? mistakeIn(error.cause, depth + 1) : undefined;
}

function quoted(value: unknown): string {
  const text = typeof value === "string" ? value : (JSON.stringify(value) ?? String(value));
  return /^[\w./:@+-]+$/.test(text) ? text : JSON.stringify(text);
}

/** A remote cluster's words must not be able to forge lines of their own. */
function oneLine(text: string): string {
  return JSON.stringify(text).slice(1, -1).replaceAll('\\"', '"');
}
