import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import type { LinkServiceStatus } from "../../contract/index.ts";
import type { Service } from "../../controller/kube/objects.ts";
import { until } from "./until.ts";
import { World } from "./world.ts";

const MEMBER = { "mirror.linkerd.io/federated": "member" };
const EXHAUSTED =
  "3 of the 3 egress ports are taken; export fewer services, or widen the gateway's egressPorts (--egress-ports)";

let world: World;
beforeEach(async () => {
  world = await World.create();
  await world.link();
  await world.start({ egressPorts: { first: 20_000, last: 20_002 } });
});
afterEach(() => world.destroy());

/** Export services of one port each, and wait for their mirrors. */
async function mirrored(...names: string[]): Promise<void> {
  for (const name of names) await world.export(name);
  for (const name of names) await until(() => world.slice(`${name}-remote`));
}

async function withdraw(name: string): Promise<void> {
  await world.export(name, { labels: {} });
}

/** Wait until the status and an Event say that a service is refused. */
async function refused(name: string, reason = "PortsExhausted"): Promise<LinkServiceStatus> {
  const status = await world.serviceReason(name, reason);
  expect(status.mirrored).toBe(false);
  await until(async () => {
    const said = (await world.events()).map((each) => `${each.type} ${each.reason} ${each.message}`);
    expect(said).toContainEqual(
      expect.stringMatching(`^Warning ${reason} ${world.namespace}/${name} .*3 of the 3 egress ports`),
    );
  });
  return status;
}

/** The objects of these mirrors, and their versions. */
async function versions(...services: string[]): Promise<[string, string][]> {
  const all = Object.entries(await world.fingerprint());
  return all.filter(([object]) => services.some((name) => object.includes(` ${name}-remote`)));
}

describe("where no egress port is left", () => {
  test("a service is refused and the others are not touched; it is mirrored when one of them is exported no longer", async () => {
    await mirrored("a", "b", "c");
    await world.reason("Synced", "Synced");
    const before = await versions("a", "b", "c");
    await world.export("late");
    expect((await refused("late")).message).toBe(EXHAUSTED);
    await world.reason("Synced", "ServicesFailed");
    expect(await versions("a", "b", "c", "late")).toEqual(before);
    await withdraw("b");
    await until(() => world.slice("late-remote"));
    await world.reason("Synced", "Synced");
    expect(await versions("a", "c")).toEqual(before.filter(([object]) => !object.includes(" b-")));
  });

  test("a service of two ports waits for both, and one that wants another keeps those that it has", async () => {
    const two = [80, 81].map((port) => ({ name: `port${port}`, port, protocol: "TCP" }));
    await mirrored("a", "b", "c");
    const before = await versions("c");
    await world.export("late", {}, { ports: two });
    await refused("late");
    await world.export("c", {}, { ports: two });
    await refused("c");
    expect(await versions("c")).toEqual(before);
    await withdraw("c");
    expect((await world.names()).services).not.toContain("late-remote");
    await withdraw("b");
    const slice = await until(() => world.slice("late-remote"));
    expect(slice.ports).toHaveLength(2);
    await world.reason("Synced", "Synced");
  });

  test("a pod of a headless service has no mirror, which the service tells, and gets one when another pod goes", async () => {
    const pods = (service: Service, ...numbers: number[]) =>
      world.putSlice(
        service,
        numbers.map((n) => ({
          addresses: [`10.9.0.${n}`],
          hostname: `db-${n}`,
          conditions: { ready: true },
        })),
      );
    const named = async () => {
      const slices = await world.slicesOf("db-remote");
      return slices.flatMap(({ endpoints = [] }) => endpoints.map(({ hostname }) => hostname)).sort();
    };
    const ports = [{ name: "sql", port: 5432, protocol: "TCP" }];
    const service = await world.export("db", {}, { clusterIP: "None", ports });
    await pods(service, 0, 1, 2);
    await until(async () => expect(await named()).toEqual(["db-0", "db-1", "db-2"]));
    await pods(service, 0, 1, 2, 3);
    expect((await refused("db", "PodsNotMirrored")).message).toBe(
      `pods without a mirror: db-3: ${EXHAUSTED}`,
    );
    expect(await named()).toEqual(["db-0", "db-1", "db-2"]);
    await pods(service, 1, 2, 3);
    await until(async () => expect(await named()).toEqual(["db-1", "db-2", "db-3"]));
    await world.reason("Synced", "Synced");
  });

  test("a member of a federated service is left out, and the first of its name makes none; both join when they can", async () => {
    await mirrored("a", "b", "c");
    await world.putLocal("joint", MEMBER);
    await until(() => world.mirror("joint-federated"));
    for (const name of ["joint", "sole"]) await world.export(name, { labels: MEMBER });
    for (const name of ["joint", "sole"]) expect((await refused(name)).message).toBe(EXHAUSTED);
    const members = async (name: string) =>
      (await world.mirror(`${name}-federated`)).metadata.annotations?.[
        "multicluster.linkerd.io/remote-discovery"
      ];
    expect(await members("joint")).toBeUndefined();
    expect((await world.names()).services).not.toContain("sole-federated");
    for (const name of ["a", "b"]) await withdraw(name);
    for (const name of ["joint", "sole"])
      await until(async () => expect(await members(name)).toBe(`${name}@remote`));
    await world.reason("Synced", "Synced");
  });
});
