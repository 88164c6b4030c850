import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import type { Fence } from "../../controller/kube/calls.ts";
import { KubeClient } from "../../controller/kube/client.ts";
import type { Clock } from "../../controller/kube/clock.ts";
import { LeaderElection } from "../../controller/kube/lease.ts";
import { silentLog } from "../../controller/kube/log.ts";
import type { Lease } from "../../controller/kube/objects.ts";
import { LEASES } from "../../controller/kube/resource.ts";
import { FakeApi } from "../support/fake-api.ts";
import { FakeClock, settle } from "../support/fake-clock.ts";
import { eventually } from "../support/wait.ts";

const LEASE = { namespace: "isthmus", name: "isthmus-mirror" };

describe("a leader election", () => {
  let api: FakeApi;
  let client: KubeClient;
  let clock: FakeClock;
  let calls: number;
  let patience: number;
  const stops: AbortController[] = [];
  const running: Promise<void>[] = [];

  beforeEach(async () => {
    api = await FakeApi.start();
    client = new KubeClient({ cluster: "east", credentials: api.credentials() });
    clock = new FakeClock();
    calls = 0;
    patience = 10_000;
    const request = client.request.bind(client);
    client.request = async (...args) => {
      calls++;
      return await request(...args).finally(() => calls--);
    };
  });

  afterEach(async () => {
    for (const stop of stops.splice(0)) stop.abort();
    // Whoever still waits for an answer waits no longer.
    await api.unreachable();
    await Promise.allSettled(running.splice(0));
    await client.close();
    await api.close();
  });

  /** A candidate whose work runs until it is told to stop. */
  function stand(identity: string, time: Clock = clock, work?: (signal: AbortSignal) => Promise<void>) {
    const fences: Fence[] = [];
    const stop = new AbortController();
    stops.push(stop);
    const election = new LeaderElection({
      client,
      ...LEASE,
      identity,
      clock: time,
      random: () => 0,
      log: silentLog,
    });
    const terms: AbortSignal[] = [];
    const untilAborted = (signal: AbortSignal) =>
      new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
    const done = election.run(async (signal, fence) => {
      terms.push(signal);
      fences.push(fence);
      await (work ?? untilAborted)(signal);
    }, stop.signal);
    running.push(done);
    return { election, stop, terms, fences, done };
  }

  const held = () => api.objects.find(LEASES, LEASE)?.spec;

  /** Let time pass in steps, each followed by what the network has to say to it. */
  async function pass(ms: number, until: () => unknown = () => false): Promise<void> {
    for (let passed = 0; passed < ms && !until(); passed += 500) {
      await clock.advance(500);
      await answered();
    }
  }

  /** Until every call has been answered, or for as long as an answer could take. */
  async function answered(): Promise<void> {
    for (let turn = 0; turn < 3 || (calls > 0 && turn < patience); turn++) await settle();
  }

  test("takes a lease that nobody holds, and leads", async () => {
    const { election, terms } = stand("a");
    await eventually(() => terms.length === 1);
    expect(election.leading).toBe(true);
    expect(held()).toMatchObject({ holderIdentity: "a", leaseDurationSeconds: 15, leaseTransitions: 0 });
    expect(held()?.renewTime).toBe("2026-01-01T00:00:00.000000Z");
  });

  test("renews the lease every two seconds, with one write", async () => {
    const { terms } = stand("a");
    await eventually(() => terms.length === 1);
    const before = api.requests.length;
    await clock.advance(2000);
    await eventually(() => held()?.renewTime === "2026-01-01T00:00:02.000000Z");
    expect(api.requests.slice(before).map(({ method }) => method)).toEqual(["PUT"]);
    expect(held()?.acquireTime).toBe("2026-01-01T00:00:00.000000Z");
  });

  test("does not lead while another renews, however wrong the other's clock is", async () => {
    const theirs = new FakeClock(Date.parse("1999-01-01T00:00:00Z"));
    const first = stand("a", theirs);
    await eventually(() => first.terms.length === 1);
    const second = stand("b");
    for (let n = 0; n < 20; n++) {
      await theirs.advance(2000);
      await answered();
      await pass(2000);
    }
    expect(second.terms).toEqual([]);
    expect(second.election.state()).toMatchObject({ leading: false, holder: "a" });
  });

  test("takes over from one that has not renewed for as long as it promised to, by its own clock", async () => {
    api.objects.create(LEASES, {
      apiVersion: "coordination.k8s.io/v1",
      kind: "Lease",
      metadata: LEASE,
      // Written by a clock that is a year ahead: it does not matter.
      spec: {
        holderIdentity: "gone",
        leaseDurationSeconds: 15,
        renewTime: "2027-01-01T00:00:00.000000Z",
        leaseTransitions: 4,
      },
    });
    const { terms } = stand("b");
    await eventually(() => api.requests.length > 0);
    await pass(14_000);
    expect(terms).toEqual([]);
    await pass(6_000, () => terms.length);
    expect(terms).toHaveLength(1);
    expect(held()).toMatchObject({ holderIdentity: "b", leaseTransitions: 5 });
  });

  test("makes only one leader of two that find the lease free", async () => {
    const candidates = [stand("a"), stand("b")];
    await eventually(() => candidates.some(({ terms }) => terms.length > 0));
    await pass(10_000);
    expect(candidates.flatMap(({ terms }) => terms)).toHaveLength(1);
  });

  test("ends the work at the renew deadline when the API server is silent, before another could lead", async () => {
    const { election, terms } = stand("a");
    await eventually(() => terms.length === 1);
    api.faults.inject({ kind: "hang" }, { times: 1000 });
    patience = 5;
    await pass(9_500);
    expect(terms[0]?.aborted).toBe(false);
    await pass(1_000);
    expect(terms[0]?.aborted).toBe(true);
    expect(terms[0]?.reason).toEqual(new Error("leadership lost"));
    expect(election.leading).toBe(false);
  });

  test("is fenced off by the clock alone, before any timer of a process that was stopped has fired", async () => {
    let stopped = 0;
    const time: Clock = {
      now: () => clock.now(),
      monotonic: () => clock.monotonic() + stopped,
      sleep: (ms, signal) => clock.sleep(ms, signal),
      after: (ms, callback) => clock.after(ms, callback),
    };
    const { election, terms, fences } = stand("a", time);
    await eventually(() => terms.length === 1);
    expect(fences[0]).not.toThrow();
    stopped = 9_000;
    expect(fences[0]).not.toThrow();
    stopped = 11_000;
    expect(election.leading).toBe(false);
    expect(fences[0]).toThrow("a leads no longer");
    expect(terms[0]?.aborted).toBe(false);
    await pass(4_000, () => terms.length === 2);
    // A new term, with a fence of its own: the old one stays shut.
    expect(fences[1]).not.toThrow();
    expect(fences[0]).toThrow("a leads no longer");
  });

  test("works on through failures that end before the deadline", async () => {
    const { terms } = stand("a");
    await eventually(() => terms.length === 1);
    api.faults.inject({ kind: "status", status: 500 }, { times: 3 });
    await pass(30_000);
    expect(terms.map(({ aborted }) => aborted)).toEqual([false]);
  });

  test("leads again after it lost the lease", async () => {
    const { terms } = stand("a");
    await eventually(() => terms.length === 1);
    const failing = api.faults.inject({ kind: "status", status: 500 }, { times: 1000 });
    await pass(12_000);
    expect(terms[0]?.aborted).toBe(true);
    failing();
    await pass(10_000, () => terms.length === 2);
    expect(terms[1]?.aborted).toBe(false);
  });

  test("ends the work at once when another has taken the lease", async () => {
    const { terms } = stand("a");
    await eventually(() => terms.length === 1);
    api.objects.modify(LEASES, LEASE, (lease: Lease) => {
      lease.spec = { ...lease.spec, holderIdentity: "usurper" };
      return lease;
    });
    await pass(6_000, () => terms[0]?.aborted);
    expect(terms[0]?.aborted).toBe(true);
    expect(clock.monotonic()).toBeLessThan(10_000);
  });

  test("does not stand again before its work has ended", async () => {
    let end: () => void = () => undefined;
    const { election, terms } = stand("a", clock, () => new Promise((resolve) => (end = resolve)));
    await eventually(() => terms.length === 1);
    api.objects.modify(LEASES, LEASE, (lease: Lease) => ({ ...lease, spec: { holderIdentity: "usurper" } }));
    await pass(6_000);
    expect(terms[0]?.aborted).toBe(true);
    api.objects.delete(LEASES, LEASE);
    await pass(30_000);
    expect(terms).toHaveLength(1);
    expect(held()).toBeUndefined();
    end();
    await pass(4_000, () => terms.length === 2);
    expect(election.leading).toBe(true);
    end();
  });

  test("keeps the lease until its work has ended when stopped, then gives it up at once", async () => {
    let end: () => void = () => undefined;
    const { stop, terms, done } = stand("a", clock, () => new Promise((resolve) => (end = resolve)));
    await eventually(() => terms.length === 1);
    stop.abort();
    expect(terms[0]?.aborted).toBe(true);
    await pass(20_000);
    expect(held()).toMatchObject({ holderIdentity: "a", renewTime: expect.stringContaining("00:00:20") });
    end();
    await done;
    expect(held()).toMatchObject({ holderIdentity: "", leaseDurationSeconds: 1 });
    const next = stand("b");
    await eventually(() => next.terms.length === 1);
  });

  test("gives the lease up when it is stopped while a renewal is under way", async () => {
    const { stop, terms, done } = stand("a");
    await eventually(() => terms.length === 1);
    api.faults.inject({ kind: "delay", ms: 100 }, { when: ({ method }) => method === "PUT" });
    const asked = api.requests.length;
    await clock.advance(2_000);
    await eventually(() => api.requests.length > asked);
    stop.abort();
    await done;
    expect(held()).toMatchObject({ holderIdentity: "" });
  });

  test("gives the lease up when it is stopped after a renewal that failed", async () => {
    const { stop, terms, done } = stand("a");
    await eventually(() => terms.length === 1);
    api.faults.inject({ kind: "drop-after" }, { when: ({ method }) => method === "PUT" });
    await pass(2_000);
    stop.abort();
    await done;
    expect(held()).toMatchObject({ holderIdentity: "" });
  });

  test("does not keep a lease that it gets while it is being stopped, nor begins its work", async () => {
    api.faults.inject({ kind: "delay", ms: 100 }, { when: ({ method }) => method === "POST" });
    const { election, stop, terms, done } = stand("a");
    await eventually(() => api.requests.some(({ method }) => method === "POST"));
    stop.abort();
    await done;
    expect(held()).toMatchObject({ holderIdentity: "" });
    expect(terms).toEqual([]);
    expect(election.leading).toBe(false);
  });

  test("ends in time when it is stopped while the API server is silent", async () => {
    const { election, stop, terms, done } = stand("a");
    await eventually(() => terms.length === 1);
    api.faults.inject({ kind: "hang" }, { times: 1000 });
    const asked = api.requests.length;
    await clock.advance(2_000);
    await eventually(() => api.requests.length > asked);
    stop.abort();
    // For the answer to what was asked, then for giving the lease up.
    await eventually(async () => {
      await clock.advance(3_000);
      return !election.leading && (await Promise.race([done.then(() => true), settle().then(() => false)]));
    });
    expect(clock.monotonic()).toBeLessThanOrEqual(2_000 + 2 * 3_000 + 3_000);
  });

  test("does not take a lease only to give it up", async () => {
    api.faults.inject({ kind: "delay", ms: 100 }, { when: ({ method }) => method === "GET" });
    const { stop, done } = stand("a");
    await eventually(() => api.requests.some(({ method }) => method === "GET"));
    stop.abort();
    await done;
    expect(held()).toBeUndefined();
    expect(api.requests.map(({ method }) => method)).toEqual(["GET"]);
  });

  test("gives up what it may have got when it is stopped and the answer is lost", async () => {
    api.faults.inject({ kind: "drop-after" }, { when: ({ method }) => method === "POST" });
    const { stop, done } = stand("a");
    await eventually(() => held() !== undefined);
    stop.abort();
    await done;
    expect(held()).toMatchObject({ holderIdentity: "" });
  });

  test("does not ask all the time while the API server is out", async () => {
    await api.unreachable();
    const { election } = stand("a");
    const before = clock.pending().length;
    await pass(20_000);
    expect(before).toBeLessThanOrEqual(2);
    expect(election.state().lastError).toContain("connection refused");
    await api.listen();
    await pass(6_000, () => election.leading);
    expect(api.requests.length).toBeLessThan(6);
    expect(election.leading).toBe(true);
  });

  test("rejects with what its work throws, and gives the lease up", async () => {
    const { done } = stand("a", clock, () => Promise.reject(new Error("a bug")));
    await expect(done).rejects.toThrow("a bug");
    expect(held()?.holderIdentity).toBe("");
  });

  test("ends when its work ends by itself", async () => {
    const { done } = stand("a", clock, () => Promise.resolve());
    await done;
    expect(held()?.holderIdentity).toBe("");
  });

  test("takes its lease back when it comes again under the same name", async () => {
    const first = stand("a");
    await eventually(() => first.terms.length === 1);
    const second = stand("a");
    await eventually(() => second.terms.length === 1);
  });

  test("refuses times that could make two leaders", () => {
    expect(
      () =>
        new LeaderElection({
          client,
          ...LEASE,
          identity: "a",
          durationMs: 10_000,
          renewDeadlineMs: 10_000,
          log: silentLog,
        }),
    ).toThrow("durationMs must be more than renewDeadlineMs");
  });
});
