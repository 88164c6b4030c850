import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { EgressPorts } from "../../controller/mirror/ports.ts";

const range = { first: 20_000, last: 20_009 };

describe("egress ports", () => {
  test("are in the range, one for each service port, and stay", () => {
    const ports = new EgressPorts(range);
    const first = ports.assign("ns/a", [80, 443])!;
    expect([...first.keys()]).toEqual([80, 443]);
    expect(new Set(first.values()).size).toBe(2);
    expect(ports.assign("ns/a", [80, 443])).toEqual(first);
  });

  test("of a service that names a port twice are all given back", () => {
    const ports = new EgressPorts(range);
    expect(ports.assign("ns/a", [80, 80, 80])?.size).toBe(1);
    ports.release("ns/a");
    expect(ports.usage.used).toBe(0);
  });

  test("that are given back are told to each who asked in vain, until it gets some", () => {
    const told: string[] = [];
    const ports = new EgressPorts({ first: 20_000, last: 20_001 }, (mirror) => told.push(mirror));
    ports.assign("ns/a", [80]);
    ports.assign("ns/b", [80]);
    for (const mirror of ["ns/c", "ns/d", "ns/c", "ns/gone"])
      expect(ports.assign(mirror, [80])).toBeUndefined();
    ports.release("ns/none");
    ports.release("ns/gone");
    ports.assign("ns/a", [81]);
    expect(told).toEqual([]);
    ports.release("ns/b");
    expect(told.splice(0)).toEqual(["ns/c", "ns/d"]);
    expect(ports.assign("ns/c", [80])?.size).toBe(1);
    expect(ports.assign("ns/d", [80])).toBeUndefined();
    ports.assign("ns/a", []);
    expect(told).toEqual(["ns/d"]);
  });

  test("are chosen alike by a controller that remembers nothing", () => {
    expect(new EgressPorts(range).assign("ns/a", [80])).toEqual(new EgressPorts(range).assign("ns/a", [80]));
  });

  test("of a mirror made earlier are taken over", () => {
    const ports = new EgressPorts(range);
    ports.claim("ns/a", new Map([[80, 20_007]]));
    expect(ports.assign("ns/a", [80])).toEqual(new Map([[80, 20_007]]));
  });

  test("that two mirrors claim go to the first; ones outside the range to nobody", () => {
    const ports = new EgressPorts(range);
    ports.claim("ns/a", new Map([[80, 20_007]]));
    ports.claim(
      "ns/b",
      new Map([
        [80, 20_007],
        [81, 30_000],
      ]),
    );
    expect(ports.of("ns/b")).toEqual(new Map());
    expect(ports.assign("ns/b", [80])?.get(80)).not.toBe(20_007);
  });

  test("that were given back are the last to go to somebody else", () => {
    const ports = new EgressPorts(range);
    const freed = ports.assign("ns/a", [80])!.get(80);
    ports.release("ns/a");
    const others = Array.from({ length: 9 }, (_, i) => ports.assign(`ns/b${i}`, [80])!.get(80));
    expect(others).not.toContain(freed);
    expect(ports.assign("ns/last", [80])?.get(80)).toBe(freed);
  });

  test("that were given back return to what they were for", () => {
    const ports = new EgressPorts(range);
    const before = ports.assign("ns/a", [80]);
    ports.release("ns/a");
    expect(ports.assign("ns/a", [80])).toEqual(before);
  });

  test("run out: nothing changes for the one who asks, and a port given up makes room", () => {
    const ports = new EgressPorts(range);
    ports.assign("ns/many", [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(ports.assign("ns/two", [80, 81])).toBeUndefined();
    expect(ports.of("ns/two")).toEqual(new Map());
    expect(ports.usage).toEqual({ used: 9, size: 10 });
    ports.assign("ns/many", [1, 2, 3, 4, 5, 6, 7, 8]);
    expect(ports.assign("ns/two", [80, 81])?.size).toBe(2);
  });

  test("are never shared, whatever is asked for and given back", () => {
    const step = fc.record({
      mirror: fc.constantFrom("ns/a", "ns/b", "ns/c", "ns/d"),
      servicePorts: fc.option(fc.uniqueArray(fc.integer({ min: 1, max: 6 })), { nil: undefined }),
    });
    fc.assert(
      fc.property(fc.array(step), (steps) => {
        const ports = new EgressPorts(range);
        const model = new Map<string, ReadonlyMap<number, number>>();
        for (const { mirror, servicePorts } of steps) {
          if (servicePorts === undefined) {
            ports.release(mirror);
            model.delete(mirror);
            continue;
          }
          const before = model.get(mirror);
          const now = ports.assign(mirror, servicePorts);
          if (now === undefined) continue;
          expect(new Set(now.keys())).toEqual(new Set(servicePorts));
          for (const [servicePort, port] of before ?? []) {
            if (now.has(servicePort)) expect(now.get(servicePort)).toBe(port);
          }
          model.set(mirror, now);
          const all = [...model.values()].flatMap((each) => [...each.values()]);
          expect(new Set(all).size).toBe(all.length);
        }
      }),
    );
  });
});
