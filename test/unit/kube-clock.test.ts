import { EventEmitter } from "node:events";
import { describe, expect, test } from "@jest/globals";
import { backoffMs } from "../../controller/kube/backoff.ts";
import { systemClock } from "../../controller/kube/clock.ts";
import { createLog } from "../../controller/kube/log.ts";
import { shutdownSignal } from "../../controller/kube/signals.ts";

describe("the clock", () => {
  test("wakes a sleeper early when its signal is aborted, without an error", async () => {
    const stop = new AbortController();
    const sleeping = systemClock.sleep(2 ** 40, stop.signal);
    stop.abort();
    await sleeping;
    await systemClock.sleep(2 ** 40, stop.signal);
  });

  test("takes a delay that no timer can as a long one, not as none", async () => {
    let fired = false;
    const cancel = systemClock.after(2 ** 40, () => {
      fired = true;
    });
    await systemClock.sleep(20);
    cancel();
    expect(fired).toBe(false);
  });

  test("does not call what was cancelled", async () => {
    let fired = false;
    systemClock.after(1, () => {
      fired = true;
    })();
    await systemClock.sleep(20);
    expect(fired).toBe(false);
  });
});

describe("a pause after failures", () => {
  test("doubles, is bounded, and never overflows", () => {
    const options = { baseMs: 5, capMs: 1000, random: () => 1 };
    expect([1, 2, 3, 8, 9, 1e9].map((failures) => backoffMs(failures, options))).toEqual([
      5, 10, 20, 640, 1000, 1000,
    ]);
  });
});

describe("being told to stop", () => {
  function process() {
    const exits: number[] = [];
    const fake = Object.assign(new EventEmitter(), { exit: (code: number) => exits.push(code) });
    return { fake: fake as unknown as NodeJS.Process, exits };
  }

  test.each(["SIGTERM", "SIGINT"] as const)("by %s aborts the signal", (name) => {
    const lines: string[] = [];
    const { fake, exits } = process();
    const signal = shutdownSignal(createLog({ write: (line) => lines.push(line) }), fake);
    expect(signal.aborted).toBe(false);
    fake.emit(name);
    expect(signal.reason).toEqual(new Error(`stopped by ${name}`));
    expect(exits).toEqual([]);
    expect(lines.join()).toContain(name);
  });

  test("twice ends the process at once", () => {
    const { fake, exits } = process();
    shutdownSignal(createLog({ write: () => undefined }), fake);
    fake.emit("SIGTERM");
    fake.emit("SIGINT");
    expect(exits).toEqual([130]);
  });
});
