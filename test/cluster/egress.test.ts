import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import type { Pod } from "../../controller/kube/objects.ts";
import { PODS } from "../../controller/kube/resource.ts";
import { hasCondition } from "../../controller/mirror/slices.ts";
import { until } from "./until.ts";
import { World } from "./world.ts";

let world: World;
beforeEach(async () => {
  world = await World.create();
});
afterEach(async () => {
  for (const { metadata } of (await world.source.list(PODS, { namespace: world.isthmus })).items) {
    await world.source.patch(PODS, metadata, { metadata: { finalizers: null } }, { type: "merge" });
  }
  await world.destroy();
});

const LATER = { finalizers: ["isthmus.test/later"] };

/** Make an egress pod as a Deployment would. No node runs it: the test plays the kubelet. */
async function aPod(name: string, metadata: Partial<Pod["metadata"]> = {}): Promise<void> {
  const pod = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      namespace: world.isthmus,
      name,
      labels: { "app.kubernetes.io/component": "gateway-egress", "app.kubernetes.io/part-of": "isthmus" },
      ...metadata,
    },
    spec: {
      automountServiceAccountToken: false,
      containers: [{ name: "agent", image: "none" }],
      readinessGates: [{ conditionType: "isthmus.dev/in-slices" }],
    },
  };
  // A namespace is without its default ServiceAccount for a moment, and refuses pods for so long.
  await until(() => world.source.create(PODS, pod as Pod));
}

async function kubelet(name: string, ip: string, ready: boolean): Promise<void> {
  const status = {
    phase: "Running",
    podIP: ip,
    podIPs: [{ ip }],
    conditions: [{ type: "ContainersReady", status: ready ? "True" : "False" }],
  };
  const options = { type: "strategic", subresource: "status" } as const;
  await world.source.patch(PODS, { namespace: world.isthmus, name }, { status }, options);
}

async function addresses(mirror: string): Promise<string[]> {
  const { endpoints } = await world.slice(mirror);
  return (endpoints ?? []).flatMap((endpoint) => endpoint.addresses);
}

async function gateOpen(name: string): Promise<void> {
  const pod = await world.source.get(PODS, { namespace: world.isthmus, name });
  expect(hasCondition(pod, "isthmus.dev/in-slices")).toBe(true);
}

describe("the slices of mirrors", () => {
  test("name an egress pod once its containers are ready, and no longer when they are not", async () => {
    await world.link();
    await world.start();
    await world.export("web");
    await until(async () => expect(await addresses("web-remote")).toEqual([]));
    await aPod("egress-a");
    await kubelet("egress-a", "10.1.0.2", false);
    await aPod("egress-b");
    await kubelet("egress-b", "10.1.0.3", true);
    await until(async () => expect(await addresses("web-remote")).toEqual(["10.1.0.3"]));
    await kubelet("egress-a", "10.1.0.2", true);
    await until(async () => expect(await addresses("web-remote")).toEqual(["10.1.0.2", "10.1.0.3"]));
    await kubelet("egress-b", "10.1.0.3", false);
    await until(async () => expect(await addresses("web-remote")).toEqual(["10.1.0.2"]));
  });

  test("drop a pod as soon as it is to go, before it is gone", async () => {
    await world.link();
    await world.start();
    await world.export("web");
    for (const [name, ip] of [
      ["egress-a", "10.1.0.2"],
      ["egress-b", "10.1.0.3"],
    ] as const) {
      await aPod(name, LATER);
      await kubelet(name, ip, true);
    }
    await until(async () => expect(await addresses("web-remote")).toHaveLength(2));
    await world.source.delete(PODS, { namespace: world.isthmus, name: "egress-a" });
    await until(async () => expect(await addresses("web-remote")).toEqual(["10.1.0.3"]));
    const leaving = await world.source.get(PODS, { namespace: world.isthmus, name: "egress-a" });
    expect(leaving.metadata.deletionTimestamp).toBeDefined();
  });

  test("of a Link without a gateway name nobody", async () => {
    await world.link({ gatewayAddresses: [] });
    await world.start();
    await aPod("egress-a");
    await kubelet("egress-a", "10.1.0.2", true);
    await world.export("web");
    await until(async () => expect(await addresses("web-remote")).toEqual([]));
    await until(() => gateOpen("egress-a"));
    expect(await addresses("web-remote")).toEqual([]);
  });

  test("follow the egress while the target cannot be asked", async () => {
    await world.link();
    const first = await world.start();
    await world.export("web");
    await until(() => world.slice("web-remote"));
    await first.stop();
    await world.wire.cut();
    await world.start();
    await aPod("egress-a");
    await kubelet("egress-a", "10.1.0.2", true);
    await until(async () => expect(await addresses("web-remote")).toEqual(["10.1.0.2"]));
  });
});

describe("the readiness gate of an egress pod", () => {
  test("opens where there is no mirror to name it", async () => {
    await world.start();
    await aPod("egress-a");
    await kubelet("egress-a", "10.1.0.2", true);
    await until(() => gateOpen("egress-a"));
  });

  test("opens once every mirror's slice names the pod", async () => {
    await world.link();
    const controller = await world.start();
    const names = Array.from({ length: 10 }, (_, i) => `web-${i}`);
    for (const name of names) await world.export(name);
    for (const name of names) await until(() => world.slice(`${name}-remote`));
    await aPod("egress-a");
    await kubelet("egress-a", "10.1.0.2", true);
    await until(() => gateOpen("egress-a"));
    for (const name of names) expect(await addresses(`${name}-remote`)).toEqual(["10.1.0.2"]);
    const gate = controller.writes.findIndex((write) => write.includes("/pods/egress-a/status"));
    expect(gate).toBeGreaterThan(0);
    const before = controller.writes.slice(0, gate).filter((write) => /PUT .*endpointslices/.test(write));
    expect(new Set(before).size).toBe(10);
  });

  test("opens though a mirror leads nowhere, since its service chooses a gateway that is not there", async () => {
    await world.link();
    await world.start();
    await world.export("good");
    const annotations = {
      "mirror.linkerd.io/gateway-name": "nowhere",
      "mirror.linkerd.io/gateway-ns": world.isthmus,
    };
    await world.export("web", { annotations });
    await world.serviceReason("web", "GatewayNotFound");
    await aPod("egress-a");
    await kubelet("egress-a", "10.1.0.2", true);
    await until(() => gateOpen("egress-a"));
    expect(await addresses("good-remote")).toEqual(["10.1.0.2"]);
    expect(await addresses("web-remote")).toEqual([]);
  });
});
