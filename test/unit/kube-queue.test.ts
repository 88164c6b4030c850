import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { KubeError } from "../../controller/kube/errors.ts";
import { createLog } from "../../controller/kube/log.ts";
import {
  type Reconcile,
  TerminalError,
  WorkQueue,
  type WorkQueueOptions,
} from "../../controller/kube/queue.ts";
import { FakeClock, settle } from "../support/fake-clock.ts";

/** A reconcile whose every call waits until the test lets it end. */
function heldReconcile() {
  const started: string[] = [];
  const open = new Map<string, (failure?: Error) => void>();
  const reconcile: Reconcile = (key) => {
    started.push(key);
    return new Promise((resolve, reject) => {
      open.set(key, (failure) => (failure ? reject(failure) : resolve(undefined)));
    });
  };
  const end = async (key: string, failure?: Error) => {
    open.get(key)?.(failure);
    await settle();
  };
  return { reconcile, started, end };
}

describe("a work queue", () => {
  let clock: FakeClock;
  let stop: AbortController;
  let lines: string[];
  const running: Promise<void>[] = [];

  beforeEach(() => {
    clock = new FakeClock();
    stop = new AbortController();
    lines = [];
  });

  afterEach(async () => {
    stop.abort();
    await Promise.all(running.splice(0));
  });

  function queue(reconcile: Reconcile, options: Partial<WorkQueueOptions> = {}): WorkQueue {
    return new WorkQueue({
      name: "test",
      reconcile,
      clock,
      random: () => 1,
      log: createLog({ write: (line) => lines.push(line) }),
      ...options,
    });
  }

  function run(work: WorkQueue): WorkQueue {
    running.push(work.run(stop.signal));
    return work;
  }

  /** What `reconcile` was called with, each call ending at once. */
  function recording(): { reconcile: Reconcile; done: string[] } {
    const done: string[] = [];
    return { done, reconcile: async (key) => void done.push(key) as undefined };
  }

  test("reconciles a key once, however often it was added before a worker was free", async () => {
    const { reconcile, done } = recording();
    const work = queue(reconcile);
    for (let n = 0; n < 5; n++) work.add("a");
    expect(work.depth).toBe(1);
    run(work);
    await work.idle();
    expect(done).toEqual(["a"]);
  });

  test("reconciles a key once more, and only once more, when it was added while being reconciled", async () => {
    const { reconcile, started, end } = heldReconcile();
    const work = run(queue(reconcile, { workers: 3 }));
    work.add("a");
    for (let n = 0; n < 5; n++) work.add("a");
    expect(started).toEqual(["a"]);
    await end("a");
    expect(started).toEqual(["a", "a"]);
    await end("a");
    expect(started).toEqual(["a", "a"]);
  });

  test("never reconciles more keys at a time than it has workers", async () => {
    const { reconcile, started, end } = heldReconcile();
    const work = run(queue(reconcile, { workers: 2 }));
    for (const key of ["a", "b", "c"]) work.add(key);
    expect(started).toEqual(["a", "b"]);
    expect(work.busy).toBe(2);
    expect(work.depth).toBe(1);
    await end("b");
    expect(started).toEqual(["a", "b", "c"]);
    await end("a");
    await end("c");
  });

  test("lets groups take turns, so that many keys of one do not hold up another", async () => {
    const { reconcile, done } = recording();
    const work = queue(reconcile, { group: (key) => key.split("/")[0] ?? "" });
    for (const key of ["big/1", "big/2", "big/3", "big/4", "small/1", "tiny/1", "small/2"]) work.add(key);
    run(work);
    await work.idle();
    expect(done).toEqual(["big/1", "small/1", "tiny/1", "big/2", "small/2", "big/3", "big/4"]);
  });

  test("takes urgent keys before all others, also those that were in line already", async () => {
    const { reconcile, done } = recording();
    const work = queue(reconcile);
    for (const key of ["a", "b", "c"]) work.add(key);
    work.add("c", { urgent: true });
    work.add("d", { urgent: true });
    work.add("d");
    run(work);
    await work.idle();
    expect(done).toEqual(["c", "d", "a", "b"]);
  });

  test("tries a failed key again, each time after a longer pause, up to a bound", async () => {
    const at: number[] = [];
    const work = run(
      queue(
        async () => {
          at.push(clock.monotonic());
          throw new Error("no");
        },
        { backoff: { baseMs: 10, capMs: 50 } },
      ),
    );
    work.add("a");
    await clock.advance(200);
    expect(at).toEqual([0, 10, 30, 70, 120, 170]);
  });

  test("draws its pauses from their upper half, so that those who failed together do not return together", async () => {
    const pauses = (random: number) => {
      const work = run(
        queue(() => Promise.reject(new Error("no")), { random: () => random, backoff: { baseMs: 10 } }),
      );
      work.add("a");
      return settle().then(() => clock.pending());
    };
    expect(await pauses(0)).toEqual([5]);
    expect(await pauses(0.5)).toEqual([5, 7.5]);
  });

  test("waits at least as long as the server asked for", async () => {
    let calls = 0;
    const site = { cluster: "east", method: "PATCH", path: "/" };
    const work = run(
      queue(async () => {
        calls++;
        throw new KubeError(site, 429, { reason: "TooManyRequests" }, 3000);
      }),
    );
    work.add("a");
    await clock.advance(2999);
    expect(calls).toBe(1);
    await clock.advance(1);
    expect(calls).toBe(2);
  });

  test("forgets failures after a success, also where the reconcile asked to be called again", async () => {
    const outcomes = ["fail", "fail", "fail", "again", "fail"];
    const work = run(
      queue(
        async () => {
          if (outcomes.shift() === "fail") throw new Error("no");
          return { againMs: 1000 };
        },
        { backoff: { baseMs: 10 } },
      ),
    );
    work.add("a");
    await clock.advance(10 + 20 + 40);
    expect(clock.pending()).toEqual([1000]);
    await clock.advance(1000);
    expect(clock.pending()).toEqual([10]);
  });

  test("does not wait with a failed key that is added again: something has changed", async () => {
    let calls = 0;
    const work = run(
      queue(
        async () => {
          calls++;
          if (calls === 1) throw new Error("no");
          return undefined;
        },
        { backoff: { baseMs: 60_000 } },
      ),
    );
    work.add("a");
    await settle();
    work.add("a");
    await settle();
    expect(calls).toBe(2);
    expect(clock.pending()).toEqual([]);
  });

  test("tries again at once what failed while it was changing", async () => {
    const { reconcile, started, end } = heldReconcile();
    const work = run(queue(reconcile));
    work.add("a");
    work.add("a");
    await end("a", new Error("no"));
    expect(started).toEqual(["a", "a"]);
    expect(clock.pending()).toEqual([]);
    await end("a");
  });

  test("does not try a terminal error again until the key is added, and logs it once", async () => {
    let calls = 0;
    const work = run(
      queue(async () => {
        calls++;
        throw new TerminalError("the name is taken");
      }),
    );
    work.add("a");
    await clock.advance(3_600_000);
    expect(calls).toBe(1);
    expect(lines).toEqual([expect.stringContaining("the name is taken")]);
    work.add("a");
    await settle();
    expect(calls).toBe(2);
  });

  test("reconciles again after the time that the reconcile asked for", async () => {
    const at: number[] = [];
    const work = run(
      queue(async () => {
        at.push(clock.monotonic());
        return { againMs: 1000 };
      }),
    );
    work.add("a");
    await clock.advance(2500);
    expect(at).toEqual([0, 1000, 2000]);
  });

  test("keeps the earliest of the times asked for", async () => {
    const { reconcile, done } = recording();
    const work = run(queue(reconcile));
    work.addAfter("a", 500);
    work.addAfter("a", 100);
    work.addAfter("a", 900);
    expect(clock.pending()).toEqual([100]);
    await clock.advance(1000);
    expect(done).toEqual(["a"]);
  });

  test("counts a key that waits for a time neither as depth nor as work to become idle", async () => {
    const work = run(queue(async () => ({ againMs: 1000 })));
    work.add("a");
    await work.idle();
    expect(work.depth).toBe(0);
  });

  test("stops: starts nothing more, lets what is under way end, and keeps the rest for the next run", async () => {
    const { reconcile, started, end } = heldReconcile();
    const work = queue(reconcile);
    let ended = false;
    const first = work.run(stop.signal).then(() => {
      ended = true;
    });
    work.add("a");
    work.add("b");
    work.addAfter("c", 1000);
    stop.abort();
    await settle();
    expect(ended).toBe(false);
    await end("a", new Error("aborted"));
    await first;
    expect(started).toEqual(["a"]);
    expect(clock.pending()).toEqual([]);
    expect(lines).toEqual([]);

    stop = new AbortController();
    run(work);
    for (const key of ["b", "a", "c"]) await end(key);
    expect(started).toEqual(["a", "b", "a", "c"]);
  });

  test("gives its signal to the reconcile", async () => {
    let seen: AbortSignal | undefined;
    const work = run(
      queue(async (_key, signal) => {
        seen = signal;
        return undefined;
      }),
    );
    work.add("a");
    await work.idle();
    expect(seen?.aborted).toBe(false);
    stop.abort();
    expect(seen?.aborted).toBe(true);
  });

  test("cannot be run twice at a time", async () => {
    const work = run(queue(recording().reconcile));
    await expect(work.run(stop.signal)).rejects.toThrow("queue test is running already");
  });

  test("measures what it does", async () => {
    const done: unknown[] = [];
    const outcomes: (() => Promise<{ againMs: number } | undefined>)[] = [
      () => clock.sleep(2000).then(() => undefined),
      () => Promise.resolve({ againMs: 99_000 }),
      () => Promise.reject(new Error("no")),
      () => Promise.reject(new TerminalError("no")),
    ];
    const work = queue(() => outcomes.shift()!(), {
      metrics: { done: (...all) => done.push(all) },
    });
    for (const key of ["a", "b", "c", "d"]) work.add(key);
    await clock.advance(1000);
    expect(work.depth).toBe(4);
    run(work);
    expect(work.depth).toBe(3);
    await clock.advance(2000);
    expect(work.depth).toBe(0);
    expect(done).toEqual([
      ["success", 2, 1],
      ["again", 0, 3],
      ["error", 0, 3],
      ["terminal", 0, 3],
    ]);
  });

  test("whatever is added when: no key runs twice at a time, and each runs after its last add", async () => {
    const keys = fc.constantFrom("x/1", "x/2", "y/1", "z/1");
    const action = fc.oneof(
      fc.record({ kind: fc.constant("add" as const), key: keys, urgent: fc.boolean() }),
      fc.record({ kind: fc.constant("end" as const), key: keys, fails: fc.boolean() }),
      fc.record({ kind: fc.constant("advance" as const), ms: fc.integer({ min: 1, max: 100 }) }),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(action, { maxLength: 60 }),
        fc.integer({ min: 1, max: 3 }),
        async (actions, workers) => {
          const time = new FakeClock();
          const ended = new AbortController();
          const open = new Map<string, (failure?: Error) => void>();
          const addedSinceStart = new Set<string>();
          const work = queue(
            (key) => {
              expect(open.has(key)).toBe(false);
              addedSinceStart.delete(key);
              return new Promise((resolve, reject) => {
                open.set(key, (failure) => {
                  open.delete(key);
                  failure ? reject(failure) : resolve(undefined);
                });
                expect(open.size).toBeLessThanOrEqual(workers);
              });
            },
            { workers, clock: time, group: (key) => key.split("/")[0] ?? "" },
          );
          const all = work.run(ended.signal);
          for (const each of actions) {
            if (each.kind === "add") {
              addedSinceStart.add(each.key);
              work.add(each.key, { urgent: each.urgent });
            } else if (each.kind === "end") open.get(each.key)?.(each.fails ? new Error("no") : undefined);
            else await time.advance(each.ms);
            await settle();
          }
          while (open.size > 0) {
            for (const end of [...open.values()]) end();
            await settle();
          }
          expect([...addedSinceStart]).toEqual([]);
          expect(work.depth).toBe(0);
          ended.abort();
          await all;
        },
      ),
      { numRuns: 60 },
    );
  });
});
