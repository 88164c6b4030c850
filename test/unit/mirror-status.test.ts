import { describe, expect, test } from "@jest/globals";
import type { LinkServiceStatus } from "../../contract/index.ts";
import { activeLink } from "../../controller/mirror/duplicates.ts";
import { type LinkReport, linkStatus, sameStatus } from "../../controller/mirror/status.ts";
import { aLink } from "../support/mirror-objects.ts";

const noon = new Date("2026-01-01T12:00:00.123Z");
const later = new Date("2026-01-01T13:00:00Z");

const mirrored: LinkServiceStatus = {
  namespace: "a",
  name: "ok",
  mirror: "ok-remote",
  mirrored: true,
  reason: "Mirrored",
};
const failed: LinkServiceStatus = {
  namespace: "b",
  name: "bad",
  mirror: "bad-remote",
  mirrored: false,
  reason: "MissingNamespace",
};
const skipped: LinkServiceStatus = { ...failed, name: "loop", reason: "MirrorOfMirror" };

function report(changes: Partial<LinkReport> = {}): LinkReport {
  return {
    connection: { status: "True", reason: "Connected", message: "connected" },
    others: [],
    gateways: [],
    listed: true,
    isPending: false,
    services: [],
    ...changes,
  };
}

describe("the status of a Link", () => {
  test("counts mirrors and failures, and lists what failed first", () => {
    const status = linkStatus(aLink(), report({ services: [mirrored, skipped, failed] }), noon);
    expect(status).toMatchObject({ observedGeneration: 1, mirroredServices: 1, failedServices: 1 });
    expect(status.services?.map(({ name }) => name)).toEqual(["bad", "loop", "ok"]);
    expect(status.conditions).toEqual([
      {
        type: "Connected",
        status: "True",
        reason: "Connected",
        message: "connected",
        lastTransitionTime: "2026-01-01T12:00:00Z",
        observedGeneration: 1,
      },
      {
        type: "Synced",
        status: "False",
        reason: "ServicesFailed",
        message: "1 of 3 exported services are not mirrored: MissingNamespace 1; see status.services",
        lastTransitionTime: "2026-01-01T12:00:00Z",
        observedGeneration: 1,
      },
    ]);
  });

  test.each<[string, Partial<LinkReport>, string, string]>([
    ["all is mirrored", { services: [mirrored] }, "True", "Synced"],
    ["only mirrors of mirrors are left out", { services: [mirrored, skipped] }, "True", "Synced"],
    ["some wait for their turn", { isPending: true }, "False", "Syncing"],
    ["the target's list is not complete", { listed: false }, "Unknown", "Syncing"],
  ])("when %s", (_, changes, status, reason) => {
    expect(linkStatus(aLink(), report(changes), noon).conditions?.[1]).toMatchObject({
      type: "Synced",
      status,
      reason,
    });
  });

  test("keeps the time of a condition that did not change, and is then the same as before", () => {
    const before = linkStatus(aLink(), report(), noon);
    const after = linkStatus({ ...aLink(), status: before }, report(), later);
    expect(sameStatus(before, after)).toBe(true);
    const broken = linkStatus(
      { ...aLink(), status: before },
      report({ connection: { status: "False", reason: "Unreachable", message: "no route" } }),
      later,
    );
    expect(broken.conditions?.map(({ lastTransitionTime }) => lastTransitionTime)).toEqual([
      "2026-01-01T13:00:00Z",
      "2026-01-01T12:00:00Z",
    ]);
  });

  test("stays under what an API server stores, and keeps the failures, whatever a target exports", () => {
    const services = Array.from({ length: 20_000 }, (_, i) =>
      i < 10
        ? { ...failed, name: `bad-${i}`, message: "m".repeat(100_000) }
        : { ...mirrored, name: `${"n".repeat(60)}-${i}` },
    );
    const addresses = Array.from({ length: 16 }, (_, i) => ({
      address: `${"n".repeat(250)}${i}`,
      alive: true,
    }));
    const gateways = Array.from({ length: 17 }, () => ({ addresses, port: 4143, identity: "i".repeat(253) }));
    const status = linkStatus(aLink(), report({ services, gateways }), noon);
    expect(Buffer.byteLength(JSON.stringify(status))).toBeLessThan(262_144);
    expect(status.gateways).toEqual(gateways);
    expect(status.services?.slice(0, 11).map(({ mirrored }) => mirrored)).toEqual([
      ...Array(10).fill(false),
      true,
    ]);
    expect(status.mirroredServices).toBe(19_990);
  });
});

describe("of several Links with one target", () => {
  const old = aLink({}, { name: "z-old", creationTimestamp: "2026-01-01T00:00:00Z" });
  const young = aLink({}, { name: "a-young", creationTimestamp: "2026-01-02T00:00:00Z" });

  test("the oldest is the one that mirrors", () => {
    expect(activeLink("remote", [young, old])).toBe(old);
    expect(activeLink("remote", [old, young])).toBe(old);
  });

  test("the name decides between two of one second", () => {
    const twin = aLink({}, { name: "b", creationTimestamp: "2026-01-02T00:00:00Z" });
    expect(activeLink("remote", [twin, young])).toBe(young);
  });

  test("one that is being deleted makes room for the next", () => {
    const going = aLink({}, { ...old.metadata, deletionTimestamp: "2026-01-03T00:00:00Z" });
    expect(activeLink("remote", [going, young])).toBe(young);
  });
});
