import { describe, expect, test } from "@jest/globals";
import { Registry } from "prom-client";
import { drain } from "../../controller/gateway/drain.ts";
import { parseProcesses, sessionsOf } from "../../controller/gateway/haproxy/master.ts";
import { parseStat } from "../../controller/gateway/haproxy/stat.ts";
import { GatewayMetrics } from "../../controller/gateway/metrics.ts";
import { FakeClock } from "../support/fake-clock.ts";

describe("what HAProxy says", () => {
  test("of its processes: which worker takes calls, which only finish theirs, and what became of a reload", () => {
    const answer = [
      "#<PID>          <type>          <reloads>       <uptime>        <version>      ",
      "100             master          5 [failed: 2]   0d00h02m07s     2.6.12",
      "# workers",
      "271             worker          1               0d00h00m00s     2.6.12",
      "# old workers",
      "233             worker          3               0d00h00m43s     2.6.12",
      "201             worker          4               0d00h01m43s     2.6.12",
      "# programs",
      "",
    ].join("\n");
    expect(parseProcesses(answer)).toEqual({ reloads: 5, failed: 2, worker: 271, oldWorkers: [233, 201] });
    expect(() => parseProcesses("")).toThrow('the answer to "show proc" has no master in it');
  });

  test("of its sessions: those of one backend", () => {
    const answer = [
      "0x55a51686e860: proto=tcpv4 src=127.0.0.1:49886 fe=ingress be=src_west srv=any ts=00 epoch=0",
      "0x55a51686e861: proto=tcpv4 src=127.0.0.1:49887 fe=ingress be=src_west-2 srv=any ts=00 epoch=0",
      "0x7f591803a6f0: proto=sockpair src=unix:2 fe=GLOBAL be=<NONE> srv=<none> ts=00 epoch=0",
    ].join("\n");
    expect(sessionsOf(answer, "src_west")).toEqual(["0x55a51686e860"]);
  });

  test("of its counts: by the names of the columns, wherever they stand", () => {
    const answer =
      "# pxname,svname,scur,stot,bin,bout,dreq,econ,status,\nsrc_west,BACKEND,1,7,500,600,2,3,UP,\n\n";
    expect(parseStat(answer)).toEqual([
      {
        proxy: "src_west",
        service: "BACKEND",
        status: "UP",
        open: 1,
        total: 7,
        bytesIn: 500,
        bytesOut: 600,
        refused: 5,
      },
    ]);
  });

  test("of its counts goes on in ours when a new worker begins at 0", async () => {
    const registry = new Registry();
    const metrics = new GatewayMetrics(registry, "ingress");
    const row = {
      proxy: "src_west",
      service: "BACKEND",
      status: "UP",
      open: 2,
      bytesIn: 0,
      bytesOut: 0,
      refused: 0,
    };
    for (const total of [5, 8, 1]) metrics.observe([{ ...row, total }]);
    const text = await registry.metrics();
    expect(text).toContain('isthmus_gateway_connections_total{direction="ingress",peer="west"} 9');
    expect(text).toContain('isthmus_gateway_open_connections{direction="ingress",peer="west"} 2');
  });
});

describe("draining", () => {
  function start(called: () => boolean | undefined, open: () => number, timeoutMs = 60_000) {
    const clock = new FakeClock();
    const outcome: { text?: string; clean?: boolean } = {};
    const running = drain(
      { called, open: () => Promise.resolve(open()), timeoutMs, clock },
      new AbortController().signal,
    ).then((drained) => Object.assign(outcome, drained));
    return { clock, outcome, running };
  }

  test("ends once nobody calls and the last connection has ended, and not before the nodes know", async () => {
    let [called, open]: [boolean | undefined, number] = [undefined, 2];
    const { clock, outcome, running } = start(
      () => called,
      () => open,
    );
    await clock.advance(5_000);
    called = true;
    await clock.advance(5_000);
    called = false;
    open = 0;
    await clock.advance(2_500);
    expect(outcome).toEqual({});
    open = 1;
    await clock.advance(10_000);
    expect(outcome).toEqual({});
    open = 0;
    await clock.advance(500);
    await running;
    expect(outcome).toEqual({ clean: true, text: "no connection is open" });
  });

  test.each([
    ["calls may still come", true, 0, "calls may still come: the time to wait for that is over"],
    ["connections are open", false, 3, "3 connections are still open: the time to wait for them is over"],
  ])("gives up when its time is over and %s", async (_, called, open, text) => {
    const { clock, outcome, running } = start(
      () => called,
      () => open,
      10_000,
    );
    await clock.advance(11_000);
    await running;
    expect(outcome).toEqual({ clean: false, text });
  });
});
