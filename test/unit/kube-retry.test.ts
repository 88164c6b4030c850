import { describe, expect, test } from "@jest/globals";
import { Retry } from "../../controller/kube/retry.ts";
import { FakeClock, settle } from "../support/fake-clock.ts";

describe("the pause before another try", () => {
  const make = () => {
    const clock = new FakeClock();
    return { clock, retry: new Retry({ baseMs: 100, capMs: 400, clock, random: () => 0.999 }) };
  };
  const { signal } = new AbortController();

  test("doubles up to the longest, and begins anew when forgiven", async () => {
    const { clock, retry } = make();
    const pauses: number[] = [];
    for (const failure of [1, 2, 3, 4, 5]) {
      if (failure === 5) retry.forgive();
      const pause = retry.pause(0, signal);
      await settle();
      pauses.push(Math.round(clock.pending()[0] ?? 0));
      await clock.advance(400);
      await pause;
    }
    expect(pauses).toEqual([100, 200, 400, 400, 100]);
  });

  test("is left out once when there is hope, but for what the server has named", async () => {
    const { clock, retry } = make();
    retry.hurry();
    await retry.pause(0, signal);
    retry.hurry();
    const named = retry.pause(60_000, signal);
    await settle();
    expect(clock.pending()).toEqual([60_000]);
    await clock.advance(60_000);
    await named;
    const next = retry.pause(0, signal);
    await settle();
    expect(clock.pending()).toHaveLength(1);
    await clock.advance(400);
    await next;
  });
});
