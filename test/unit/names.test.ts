import { describe, expect, test } from "@jest/globals";
import {
  formatEgressPorts,
  isDnsLabel,
  isDnsName,
  mayBeMirrorOf,
  mirrorName,
  parseEgressPorts,
  routeServerName,
} from "../../contract/index.ts";

describe("mirrorName", () => {
  test("is the service and the cluster, joined by a dash", () => {
    expect(mirrorName("backend-one-svc", "remote")).toBe("backend-one-svc-remote");
  });

  test("is left whole at 63 characters", () => {
    expect(mirrorName("s".repeat(56), "remote")).toBe(`${"s".repeat(56)}-remote`);
  });

  test("over 63 characters is shortened to a valid label that tells long names apart", () => {
    const one = mirrorName("s".repeat(62), "remote");
    const two = mirrorName(`${"s".repeat(61)}t`, "remote");
    expect(one).toMatch(/^s{46}-[a-z2-7]{16}$/);
    expect(isDnsLabel(one)).toBe(true);
    expect(one).not.toBe(two);
  });

  test("tells whether a Service may be the mirror of a cluster's: one that was shortened may be anybody's", () => {
    expect(mayBeMirrorOf("west-2", "web-west-2")).toBe(true);
    expect(mayBeMirrorOf("2", "web-west-2")).toBe(true);
    expect(mayBeMirrorOf("east", "web-west-2")).toBe(false);
    expect(mayBeMirrorOf("east", mirrorName("s".repeat(62), "remote"))).toBe(true);
  });
});

describe("routeServerName", () => {
  const identity = "gateway.remote.demo.mesh";

  test("is one label under the gateway's identity", () => {
    const name = routeServerName({ namespace: "default", service: "web", port: 80 }, identity);
    expect(name).toMatch(/^web-80-[a-z2-7]{16}\.gateway\.remote\.demo\.mesh$/);
  });

  test("tells apart what a readable name could confuse", () => {
    const names = [
      { namespace: "a", service: "b-c", port: 80 },
      { namespace: "a-b", service: "c", port: 80 },
      { namespace: "a", service: "b", port: 80, hostname: "c" },
      { namespace: "a", service: "c-b", port: 80 },
    ].map((route) => routeServerName(route, identity));
    expect(new Set(names).size).toBe(names.length);
  });

  test("stays a DNS name whatever the service is called", () => {
    const name = routeServerName(
      { namespace: "n".repeat(63), service: "s".repeat(63), port: 65535 },
      identity,
    );
    expect(isDnsName(name)).toBe(true);
  });
});

describe("egress ports", () => {
  test("are written in the order of the service ports and read back alike", () => {
    const ports = new Map([
      [9090, 27110],
      [80, 20417],
    ]);
    expect(formatEgressPorts(ports)).toBe("80=20417,9090=27110");
    expect(parseEgressPorts(formatEgressPorts(ports))).toEqual(ports);
  });

  test("read from something else are none", () => {
    expect(parseEgressPorts("80:1,x,=,")).toEqual(new Map());
    expect(parseEgressPorts(undefined)).toEqual(new Map());
  });
});
