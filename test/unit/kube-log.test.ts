import { describe, expect, test } from "@jest/globals";
import { createLog, type LogOptions } from "../../controller/kube/log.ts";

function logging(options: LogOptions = {}) {
  const lines: string[] = [];
  const now = () => new Date("2026-01-02T03:04:05.678Z");
  return { lines, log: createLog({ write: (line) => lines.push(line), now, ...options }) };
}

describe("the log", () => {
  test("writes a line for people", () => {
    const { log, lines } = logging();
    log.info("mirrored", { service: "ns/a", ports: [80], gone: undefined, why: "no reason" });
    expect(lines).toEqual([
      '2026-01-02T03:04:05.678Z INFO  mirrored service=ns/a ports="[80]" why="no reason"',
    ]);
  });

  test("writes a line for programs", () => {
    const { log, lines } = logging({ format: "json" });
    log.warn("failed", { error: new Error("connection refused"), attempt: 2 });
    expect(JSON.parse(lines[0] ?? "")).toEqual({
      time: "2026-01-02T03:04:05.678Z",
      level: "warn",
      message: "failed",
      error: "connection refused",
      attempt: 2,
    });
  });

  test.each([
    ["debug", ["debug", "info", "warn", "error"]],
    ["info", ["info", "warn", "error"]],
    ["warn", ["warn", "error"]],
    ["error", ["error"]],
  ] as const)("writes from %s upwards", (level, expected) => {
    const { log, lines } = logging({ level, format: "json" });
    for (const each of ["debug", "info", "warn", "error"] as const) log[each]("message");
    expect(lines.map((line) => JSON.parse(line).level)).toEqual(expected);
  });

  test("gives its children's lines their fields", () => {
    const { log, lines } = logging({ format: "json" });
    log.child({ link: "east" }).child({ queue: "mirrors" }).info("message", { queue: "other" });
    expect(JSON.parse(lines[0] ?? "")).toMatchObject({ link: "east", queue: "other" });
  });

  test("shows where a mistake in the program is, but not where an ordinary failure was noticed", () => {
    const { log, lines } = logging({ format: "json" });
    const mistake = new TypeError("undefined is not a function");
    log.error("failed", { error: new Error("reconcile failed", { cause: mistake }) });
    log.error("failed", { error: new Error("connection refused", { cause: new Error("ECONNREFUSED") }) });
    const [first, second] = lines.map((line) => JSON.parse(line).error);
    expect(first).toContain("reconcile failed: TypeError: undefined is not a function\n    at ");
    expect(second).toBe("connection refused");
  });

  test("keeps every message to one line, whatever another cluster puts into it", () => {
    const { log, lines } = logging();
    log.error('a "quoted"\nINFO forged=yes\u001b[2J', { detail: "a\nb" });
    expect(lines[0]).toBe(
      '2026-01-02T03:04:05.678Z ERROR a "quoted"\\nINFO forged=yes\\u001b[2J detail="a\\nb"',
    );
  });
});
