import { beforeEach, describe, expect, test } from "@jest/globals";
import { KubeError, UnreachableError } from "../../controller/kube/errors.ts";
import { Throttle } from "../../controller/kube/throttle.ts";
import { FakeClock, settle } from "../support/fake-clock.ts";

const SITE = { cluster: "east", method: "PATCH", path: "/" };

describe("a throttle", () => {
  let clock: FakeClock;

  beforeEach(() => {
    clock = new FakeClock();
  });

  /**
   * A server that can work at so many calls at a time without slowing down, each taking ten milliseconds; more wait in
   * line. Returns the limit that the throttle found.
   */
  async function found(throttle: Throttle, parallel: number, callers: number, ms = 20_000): Promise<number> {
    let busy = 0;
    const line: (() => void)[] = [];
    const call = async () => {
      if (busy >= parallel) await new Promise<void>((resolve) => line.push(resolve));
      busy++;
      await clock.sleep(10);
      busy--;
      line.shift()?.();
    };
    const stop = new AbortController();
    const all = Array.from({ length: callers }, async () => {
      while (!stop.signal.aborted) await throttle.run(call);
    });
    await clock.advance(ms);
    stop.abort();
    await clock.advance(1000);
    await Promise.all(all);
    return throttle.state().limit;
  }

  /** Past its first look at the server. */
  async function warm(throttle: Throttle): Promise<Throttle> {
    await found(throttle, 1, 1, 100);
    return throttle;
  }

  test.each([
    [1, 12, 19],
    [4, 16, 22],
    [16, 28, 34],
  ])(
    "gives a server that works at %i calls at a time a few more, and no crowd",
    async (parallel, least, most) => {
      const limit = await found(new Throttle({ clock }), parallel, 100);
      expect(limit).toBeGreaterThanOrEqual(least);
      expect(limit).toBeLessThanOrEqual(most);
    },
  );

  test("does not ask for more than its callers use", async () => {
    expect(await found(new Throttle({ clock, initial: 4 }), 16, 3)).toBe(4);
  });

  test("follows a server that becomes slower, and one that recovers", async () => {
    const throttle = new Throttle({ clock });
    const fast = await found(throttle, 16, 40, 10_000);
    const slow = await found(throttle, 2, 40, 40_000);
    expect(slow).toBeLessThan(fast - 5);
    expect(await found(throttle, 16, 40, 40_000)).toBeGreaterThan(fast - 5);
  });

  test("begins with calls that go alone, to see what the server is like without a crowd", async () => {
    const throttle = new Throttle({ clock, initial: 8 });
    let busy = 0;
    let most = 0;
    const all = Array.from({ length: 5 }, () =>
      throttle.run(async () => {
        most = Math.max(most, ++busy);
        await clock.sleep(10);
        busy--;
      }),
    );
    await clock.advance(100);
    await Promise.all(all);
    expect(most).toBe(1);
    expect(throttle.state().unloadedMs).toBe(10);
  });

  test("does not let one call that hangs keep the others waiting", async () => {
    const throttle = new Throttle({ clock, initial: 8 });
    const hanging = throttle.run(() => clock.sleep(30_000));
    let done = 0;
    const others = Array.from({ length: 3 }, () => throttle.run(() => Promise.resolve(done++)));
    await clock.advance(1000);
    expect(done).toBe(3);
    await clock.advance(30_000);
    await Promise.all([hanging, ...others]);
  });

  test("makes no more calls at a time than its limit, urgent ones first", async () => {
    const throttle = await warm(new Throttle({ clock, initial: 2 }));
    const started: string[] = [];
    const call = (name: string, urgent = false) =>
      throttle.run(() => Promise.resolve(void started.push(name)).then(() => clock.sleep(10)), { urgent });
    const all = [call("a"), call("b"), call("c"), call("d"), call("e", true)];
    await settle();
    expect(started).toEqual(["a", "b"]);
    expect(throttle.state()).toMatchObject({ inFlight: 2, waiting: 3 });
    await clock.advance(100);
    await Promise.all(all);
    expect(started).toEqual(["a", "b", "e", "c", "d"]);
  });

  test("leaves the server alone for as long as Retry-After says, then gives it half as much", async () => {
    const throttle = await warm(new Throttle({ clock, initial: 8 }));
    const refused = () => Promise.reject(new KubeError(SITE, 429, { reason: "TooManyRequests" }, 5000));
    const results = await Promise.allSettled(Array.from({ length: 8 }, () => throttle.run(refused)));
    expect(results.map(({ status }) => status)).toEqual(Array.from({ length: 8 }, () => "rejected"));
    expect(throttle.state().limit).toBe(4);

    let calls = 0;
    const next = Array.from({ length: 8 }, () => throttle.run(() => clock.sleep(10).then(() => calls++)));
    await clock.advance(4999);
    expect(throttle.state()).toMatchObject({ inFlight: 0, waiting: 8 });
    await clock.advance(1);
    expect(throttle.state().inFlight).toBe(4);
    await clock.advance(100);
    await Promise.all(next);
    expect(calls).toBe(8);
  });

  test("gives a server that does not answer half as much, too, but never nothing", async () => {
    const throttle = new Throttle({ clock, initial: 4 });
    for (let n = 0; n < 5; n++) {
      const silent = throttle.run(() => Promise.reject(new UnreachableError(SITE, "timeout", "no answer")));
      await expect(silent).rejects.toThrow("no answer");
      await clock.advance(1000);
    }
    expect(throttle.state().limit).toBe(1);
    expect(await throttle.run(() => Promise.resolve("done"))).toBe("done");
  });

  test("does not take a refusal for a lack of strength", async () => {
    const throttle = await warm(new Throttle({ clock, initial: 4 }));
    const conflict = throttle.run(() => Promise.reject(new KubeError(SITE, 409, { reason: "Conflict" })));
    await expect(conflict).rejects.toThrow("409 Conflict");
    expect(throttle.state().limit).toBe(4);
    expect(clock.pending()).toEqual([]);
  });

  test("lets a caller that waits leave the line", async () => {
    const throttle = new Throttle({ clock, initial: 1 });
    const stop = new AbortController();
    const first = throttle.run(() => clock.sleep(10));
    const second = throttle.run(() => Promise.resolve("too late"), { signal: stop.signal });
    stop.abort(new Error("enough"));
    await expect(second).rejects.toThrow("enough");
    await clock.advance(10);
    await first;
    expect(throttle.state()).toMatchObject({ inFlight: 0, waiting: 0 });
    await expect(throttle.run(() => Promise.resolve(), { signal: stop.signal })).rejects.toThrow("enough");
  });
});
