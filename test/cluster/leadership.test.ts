import { setTimeout as delay } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { KubeClient } from "../../controller/kube/client.ts";
import { type Clock, systemClock } from "../../controller/kube/clock.ts";
import { ControllerProgram } from "./controller-program.ts";
import { foreignWrites, type RecordedCall, RecordingProxy, writesOf } from "./recording-proxy.ts";
import { until } from "./until.ts";
import { World } from "./world.ts";

/** Within which work goes on after whatever happened to the leader, and what a busy machine may add. */
const BACK_WITHIN_MS = 20_000 + 10_000;
const OUTAGE_MS = 30_000;

let world: World;
let record: RecordedCall[];
const proxies: RecordingProxy[] = [];
const programs: ControllerProgram[] = [];
const clients: KubeClient[] = [];

beforeEach(async () => {
  world = await World.create();
  record = [];
});

afterEach(async () => {
  await Promise.all(programs.splice(0).map((each) => each.destroy()));
  await world.destroy();
  await Promise.all(clients.splice(0).map((each) => each.close()));
  await Promise.all(proxies.splice(0).map((each) => each.close()));
});

async function way(name: string): Promise<RecordingProxy> {
  const proxy = await RecordingProxy.open(name, record, world.sourceCredentials);
  proxies.push(proxy);
  return proxy;
}

/** A controller in a process of its own. */
async function replica(name: string): Promise<{ proxy: RecordingProxy; program: ControllerProgram }> {
  const proxy = await way(name);
  const program = await ControllerProgram.start(name, proxy.kubeconfig(), world.isthmus);
  programs.push(program);
  return { proxy, program };
}

/** Two of them, with a Link and a mirror that is there; the one that leads first. */
async function two() {
  await world.link();
  await world.export("first");
  const both = [await replica("a"), await replica("b")];
  await until(() => world.mirror("first-remote"));
  const leading = await until(async () => {
    const each = await Promise.all(both.map(({ program }) => program.leads()));
    expect(each.filter(Boolean)).toHaveLength(1);
    return each;
  });
  const [leader, other] = leading[0] ? both : both.reverse();
  return { leader: leader as (typeof both)[0], other: other as (typeof both)[0] };
}

/** Wait until a service that is exported now has its mirror; how long that took is printed, and limited. */
async function backToWork(after: string, service = "next"): Promise<void> {
  const since = performance.now();
  await world.export(service);
  await until(() => world.mirror(`${service}-remote`), BACK_WITHIN_MS);
  console.log(`${after}: back to work in ${((performance.now() - since) / 1000).toFixed(1)} s`);
}

/** Wait until no call has come for a while. */
async function quiet(): Promise<void> {
  for (let times = 0, seen = -1; times < 5; await delay(60)) {
    times = seen === record.length ? times + 1 : 0;
    seen = record.length;
  }
}

async function leads(program: ControllerProgram, wanted: boolean): Promise<void> {
  await until(async () => {
    if ((await program.leads()) !== wanted) throw new Error(`${program.name} leads: ${!wanted}`);
  }, BACK_WITHIN_MS);
}

describe("of two replicas, one writes", () => {
  test("the other takes over when the leader is killed", async () => {
    const { leader, other } = await two();
    leader.program.signal("SIGKILL");
    await leader.program.ended();
    await backToWork("leader killed");
    await leads(other.program, true);
    expect(foreignWrites(record)).toEqual([]);
    expect(writesOf(record).at(-1)?.writer).toBe(other.program.name);
  });

  test("the other takes over at once when the leader is told to stop", async () => {
    const { leader, other } = await two();
    leader.program.signal("SIGTERM");
    await leader.program.ended();
    await backToWork("leader stopped");
    // Given up, and not run out.
    expect(record.some(({ writer, holder }) => writer === leader.program.name && holder === "")).toBe(true);
    await leads(other.program, true);
    expect(foreignWrites(record)).toEqual([]);
  });

  test("a leader that is cut off from the source stops by itself, and stays out when it is back", async () => {
    const { leader, other } = await two();
    leader.proxy.cut();
    const connections = leader.proxy.connections;
    const cutAt = performance.now();
    await backToWork("leader cut off");
    await leads(leader.program, false);
    await delay(OUTAGE_MS - (performance.now() - cutAt));
    // A few watches and the lease, with pauses between two tries.
    expect(leader.proxy.connections - connections).toBeLessThan(300);
    console.log(`leader cut off: ${leader.proxy.connections - connections} connections tried in 30 s`);
    leader.proxy.restore();
    const seen = record.length;
    await until(async () => {
      if (
        !record
          .slice(seen)
          .some(({ writer, path }) => writer === leader.program.name && path.includes("/leases"))
      )
        throw new Error("the old leader has not asked for the lease since");
    });
    await backToWork("old leader back", "later");
    await leads(leader.program, false);
    expect(foreignWrites(record)).toEqual([]);
    expect(writesOf(record.slice(seen)).every(({ writer }) => writer === other.program.name)).toBe(true);
  });

  test("after 30 s in which no one reached the source, one of them goes on, and neither has spun", async () => {
    const { leader, other } = await two();
    const before = await leader.program.memory();
    const cpu = await leader.program.cpuSeconds();
    const both = [leader, other];
    for (const { proxy } of both) proxy.cut();
    const tried = both.map(({ proxy }) => proxy.connections);
    const cutAt = performance.now();
    await world.export("meanwhile");
    await leads(leader.program, false);
    await delay(OUTAGE_MS - (performance.now() - cutAt));
    const connections = both.map(({ proxy }, n) => proxy.connections - (tried[n] ?? 0));
    for (const { proxy } of both) proxy.restore();
    const since = performance.now();
    await until(() => world.mirror("meanwhile-remote"), BACK_WITHIN_MS);
    const after = await leader.program.memory();
    const used = (await leader.program.cpuSeconds()) - cpu;
    console.log(
      `outage of 30 s: back to work in ${((performance.now() - since) / 1000).toFixed(1)} s, ${connections.join(" and ")} connections tried, ${used.toFixed(1)} s of processor time, memory ${before.resident} to ${after.resident} MiB`,
    );
    expect(Math.max(...connections)).toBeLessThan(300);
    expect(after.resident).toBeLessThan(before.resident + 100);
    expect(foreignWrites(record)).toEqual([]);
  });

  test("a leader that was stopped for longer than its lease writes nothing when it wakes up", async () => {
    const { leader, other } = await two();
    // Stopped in the middle of much to do: some of it is on its way, and its answers wait for whoever wakes up.
    const names = Array.from({ length: 150 }, (_, n) => `s${n}`);
    leader.proxy.delayMs = 500;
    const began = writesOf(record).length;
    const exported = Promise.all(names.map((name) => world.export(name)));
    await until(async () => {
      if (writesOf(record).length < began + 3) throw new Error("no mirror is being made yet");
    });
    leader.program.signal("SIGSTOP");
    await exported;
    expect(writesOf(record).length - began).toBeLessThan(names.length);
    await until(async () => {
      const { services } = await world.names();
      if (services.length < names.length + 1) throw new Error(`${services.length} mirrors`);
    });
    await leads(other.program, true);
    const woken = record.length;
    leader.program.signal("SIGCONT");
    await leads(leader.program, false);
    await until(async () => {
      const lately = record.slice(woken).filter(({ writer }) => writer === leader.program.name);
      if (lately.filter(({ path }) => path.includes("/leases")).length < 3)
        throw new Error(`the woken one has asked ${lately.length} times`);
    });
    await backToWork("leader stopped and woken");
    const late = writesOf(record.slice(woken)).filter(({ writer }) => writer === leader.program.name);
    expect(late).toEqual([]);
    expect(foreignWrites(record)).toEqual([]);
  });

  test("a leader that wakes up and handles answers before its own timers starts no write on the strength of them", async () => {
    await world.link();
    await world.export("first");
    const proxy = await way("sleeper");
    const client = new KubeClient({ cluster: "source", credentials: proxy.credentials() });
    clients.push(client);
    let slept = 0;
    let standsAt: number | undefined;
    let timers: Promise<void> = Promise.resolve();
    const clock: Clock = {
      ...systemClock,
      monotonic: () => standsAt ?? systemClock.monotonic() + slept,
      async sleep(ms, signal) {
        await systemClock.sleep(ms, signal);
        if (!signal?.aborted) await timers;
      },
      after(ms, callback) {
        let cancelled = false;
        const cancel = systemClock.after(ms, () => {
          void timers.then(() => cancelled || callback());
        });
        return () => {
          cancelled = true;
          cancel();
        };
      },
    };
    await world.start({ client, identity: "sleeper", clock });
    await until(() => world.mirror("first-remote"));
    // Its time stands still, or its lease might run out before it has begun on all that it can.
    standsAt = clock.monotonic();
    const awake = new AbortController();
    timers = new Promise((resolve) => awake.signal.addEventListener("abort", () => resolve()));
    const answer = proxy.holdWrites();
    const names = Array.from({ length: 100 }, (_, n) => `s${n}`);
    await Promise.all(names.map((name) => world.export(name)));
    await until(async () => {
      const { inFlight, limit, waiting } = client.throttle.state();
      if (inFlight < limit || waiting === 0) throw new Error(`${inFlight} writes under way, ${waiting} wait`);
    });
    // No more is sent before there are answers; what has been sent has arrived when nothing has for a while.
    await quiet();
    const asleep = record.length;
    expect(writesOf(record).filter(({ answered }) => !answered)).not.toEqual([]);
    slept = 60_000;
    standsAt = undefined;
    answer();
    try {
      await until(async () => {
        if (writesOf(record.slice(0, asleep)).some(({ answered }) => !answered))
          throw new Error("not all that was sent is answered");
        const { inFlight, waiting } = client.throttle.state();
        if (inFlight + waiting > 0) throw new Error(`${inFlight} writes under way, ${waiting} wait`);
      });
      await quiet();
      expect(writesOf(record.slice(asleep))).toEqual([]);
    } finally {
      awake.abort();
    }
    const leases = () => record.slice(asleep).findIndex(({ holder, answered }) => holder && answered);
    await until(async () => {
      if (leases() < 0) throw new Error("it has not taken the lease again");
    });
    expect(writesOf(record.slice(asleep, asleep + leases()))).toEqual([]);
    await until(() => world.mirror("s99-remote"));
  });

  test("clocks that are hours apart are no reason to take over, nor to wait", async () => {
    const { leader, other } = await two();
    other.program.signal("SIGTERM");
    await other.program.ended();
    const skewed = await way("skewed");
    const client = new KubeClient({ cluster: "source", credentials: skewed.credentials() });
    clients.push(client);
    const hours = 5 * 60 * 60 * 1000;
    await world.start({
      client,
      identity: "skewed",
      clock: { ...systemClock, now: () => Date.now() + hours },
    });
    const looks = () =>
      record.filter(({ writer, path }) => writer === "skewed" && path.includes("/leases")).length;
    await until(async () => {
      if (looks() < 5) throw new Error(`the skewed one has looked ${looks()} times`);
    });
    expect(writesOf(record).filter(({ writer }) => writer === "skewed")).toEqual([]);
    leader.program.signal("SIGKILL");
    await backToWork("leader killed, the other's clock 5 h ahead");
    const late = await replica("late");
    const lateLooks = () =>
      record.filter(({ writer, path }) => writer === "late" && path.includes("/leases")).length;
    await until(async () => {
      if (lateLooks() < 5) throw new Error(`the late one has looked ${lateLooks()} times`);
    });
    await leads(late.program, false);
    expect(foreignWrites(record)).toEqual([]);
  });
});
