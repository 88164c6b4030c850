import { beforeEach, describe, expect, test } from "@jest/globals";
import { silentLog } from "../../controller/kube/log.ts";
import { type Answer, HostNames, lookUp } from "../../controller/mirror/gateways/resolver.ts";
import { dnsServer } from "../support/dns-server.ts";
import { FakeClock, settle } from "../support/fake-clock.ts";

describe("a gateway's host name", () => {
  let clock: FakeClock;
  let answers: Record<string, Answer | Error>;
  let asked: string[];
  let changed: string[];
  let names: HostNames;
  let stop: AbortController;
  let running: Promise<void>;

  beforeEach(() => {
    clock = new FakeClock();
    answers = {};
    asked = [];
    changed = [];
    stop = new AbortController();
    names = new HostNames({
      lookup: async (host) => {
        asked.push(host);
        const answer = answers[host] ?? new Error(`${host} is not known`);
        if (answer instanceof Error) throw answer;
        return answer;
      },
      clock,
      log: silentLog,
      onChange: (host) => changed.push(host),
    });
    running = names.run(stop.signal);
  });

  test("is looked up at once, and again when its answer is no longer valid", async () => {
    answers.gw = { ips: ["203.0.113.2", "203.0.113.1"], ttlMs: 60_000 };
    names.want(new Set(["gw"]));
    expect(names.of("gw")).toBeUndefined();
    await settle();
    expect(names.of("gw")).toEqual(["203.0.113.1", "203.0.113.2"]);
    expect(changed).toEqual(["gw"]);
    answers.gw = { ips: ["203.0.113.3"], ttlMs: 60_000 };
    await clock.advance(59_999);
    expect(asked).toEqual(["gw"]);
    await clock.advance(1);
    expect(names.of("gw")).toEqual(["203.0.113.3"]);
    expect(changed).toEqual(["gw", "gw"]);
  });

  test("that has the same addresses in another order did not change", async () => {
    answers.gw = { ips: ["203.0.113.2", "203.0.113.1"], ttlMs: 1_000 };
    names.want(new Set(["gw"]));
    await settle();
    answers.gw = { ips: ["203.0.113.1", "203.0.113.2", "203.0.113.1"], ttlMs: 1_000 };
    await clock.advance(10_000);
    expect(asked).toHaveLength(11);
    expect(changed).toEqual(["gw"]);
  });

  test.each([
    ["more often than each second, however short its answer is valid", 0, 1_000],
    ["less often than each five minutes, however long", 86_400_000, 300_000],
  ])("is not looked up %s", async (_, ttlMs, pause) => {
    answers.gw = { ips: ["203.0.113.1"], ttlMs };
    names.want(new Set(["gw"]));
    await settle();
    expect(clock.pending()).toEqual([pause]);
  });

  test("that cannot be looked up keeps its addresses, and is tried again", async () => {
    answers.gw = { ips: ["203.0.113.1"], ttlMs: 30_000 };
    names.want(new Set(["gw"]));
    await settle();
    answers.gw = new Error("no name server answers");
    await clock.advance(60_000);
    expect(names.of("gw")).toEqual(["203.0.113.1"]);
    expect(asked.length).toBeGreaterThan(3);
    answers.gw = { ips: [], ttlMs: 1_000 };
    await clock.advance(10_000);
    expect(names.of("gw")).toEqual(["203.0.113.1"]);
    expect(changed).toEqual(["gw"]);
    answers.gw = { ips: ["203.0.113.2"], ttlMs: 1_000 };
    await clock.advance(10_000);
    expect(names.of("gw")).toEqual(["203.0.113.2"]);
  });

  test("that was never found has no address, which is told once", async () => {
    names.want(new Set(["gw"]));
    await settle();
    await clock.advance(60_000);
    expect(names.of("gw")).toEqual([]);
    expect(changed).toEqual(["gw"]);
  });

  test("has no more than 16 addresses", async () => {
    answers.gw = { ips: Array.from({ length: 40 }, (_, i) => `203.0.113.${i}`), ttlMs: 1_000 };
    names.want(new Set(["gw"]));
    await settle();
    expect(names.of("gw")).toHaveLength(16);
  });

  test("that is wanted no longer is not looked up any more; the others are left alone", async () => {
    answers.gw = answers.other = { ips: ["203.0.113.1"], ttlMs: 1_000 };
    names.want(new Set(["gw", "other"]));
    await settle();
    names.want(new Set(["other"]));
    asked.length = 0;
    await clock.advance(3_000);
    expect(asked).toEqual(["other", "other", "other"]);
    expect(names.of("gw")).toBeUndefined();
    stop.abort();
    await running;
    expect(clock.pending()).toEqual([]);
  });
});

test("a name that only the system knows is found there", async () => {
  const { ips, ttlMs } = await lookUp("localhost", new AbortController().signal);
  expect(ips.every((ip) => ip.startsWith("127.") || ip === "::1")).toBe(true);
  expect(ips.length).toBeGreaterThan(0);
  expect(ttlMs).toBe(30_000);
});

test("a lookup that is given up ends", async () => {
  const stop = new AbortController();
  const looking = lookUp("gateway.invalid", stop.signal);
  stop.abort(new Error("given up"));
  await expect(looking).rejects.toThrow();
});

test("the addresses of both families are asked of DNS, and are valid for the shorter of their times", async () => {
  const server = await dnsServer({ 1: [[203, 0, 113, 1], 300], 28: [[0x20, 1, ...Array(13).fill(0), 1], 7] });
  try {
    const answer = await lookUp("gw.example.com", new AbortController().signal, [server.address]);
    expect(answer.ips.sort()).toEqual(["2001::1", "203.0.113.1"]);
    expect(answer.ttlMs).toBe(7_000);
  } finally {
    server.close();
  }
});

test("one family is enough", async () => {
  const server = await dnsServer({ 1: [[203, 0, 113, 1], 300] });
  try {
    const answer = await lookUp("gw.example.com", new AbortController().signal, [server.address]);
    expect(answer).toEqual({ ips: ["203.0.113.1"], ttlMs: 300_000 });
  } finally {
    server.close();
  }
});
