import { mkdtemp, rm } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import {
  DEFAULT_NAMESPACE,
  EXPORTED_LABEL,
  GATEWAY_NAME_ANNOTATION,
  GATEWAY_NAMESPACE_ANNOTATION,
  GATEWAY_PORT,
  GATEWAY_SERVICE,
  type Link,
  PROBE_PORT,
} from "../../contract/index.ts";
import { LoadBalancer } from "../support/load-balancer.ts";
import { TestMesh, until, workload } from "../support/mesh.ts";
import { SECOND_GATEWAY, SECOND_PORT, secondGateway } from "../support/second-gateway.ts";

/** Calls from east to west, whose gateway is behind a load balancer, and which has a second gateway. */
describe("a mesh of east and west", () => {
  let folder: string;
  let mesh: TestMesh;
  let node: string;
  let lost = 0;
  const inIsthmus = ["-n", DEFAULT_NAMESPACE];
  const ofSecond = `app=${SECOND_GATEWAY}`;
  const urlOf = (service: string) => `http://${service}-west:8888`;

  /** Who answers a call from east to a service of west; undefined when nobody does. */
  async function answerOf(service: string): Promise<string | undefined> {
    const answer = await mesh.curl("east", urlOf(service));
    return answer === undefined ? undefined : JSON.parse(answer).payload;
  }

  /** Give a gateway's Service in west the address of a load balancer. A node's own is served by its kube-proxy. */
  async function balance(service: string, ip: string): Promise<void> {
    const ingress = [{ ip, ipMode: ip === node ? "VIP" : "Proxy" }];
    const patch = JSON.stringify({ status: { loadBalancer: { ingress } } });
    const how = ["--subresource=status", "--type=merge", "-p", patch];
    await mesh.kubectl("west", "patch", "service", service, ...inIsthmus, ...how);
  }

  const link = () => mesh.get<Link>("east", "link", "west", ...inIsthmus);
  /** Addresses by which east reaches a gateway of west, by its Service; `undefined` is the Link's own. */
  async function reachedAt(name?: string): Promise<{ address: string; alive: boolean }[]> {
    const gateways = (await link()).status?.gateways ?? [];
    return gateways.find((gateway) => gateway.name === name)?.addresses ?? [];
  }

  /** Calls to a service that west's own gateway and its second one let in since they are there. */
  async function callsSeen(service: string): Promise<{ own: number; second: number }> {
    const [own, second] = await Promise.all([mesh.ingressLog("west"), mesh.ingressLog("west", ofSecond)]);
    const count = (log: { sni?: string }[]) =>
      log.filter(({ sni }) => sni?.startsWith(`${service}-8888-`)).length;
    return { own: count(own), second: count(second) };
  }

  /** By which gateways so many calls to a service come in; a call that is not answered is `lost`. */
  async function waysOf(service: string, calls: number): Promise<{ own: number; second: number }> {
    const before = await callsSeen(service);
    for (let call = 0; call < calls; call++) {
      const { exitCode, stdout, stderr, duration } = await mesh.tryCurl("east", urlOf(service));
      if (exitCode !== 0 || JSON.parse(stdout).payload !== `west-${service}`)
        throw new Error(`call ${++lost} of ${service} lost after ${duration} ms: ${stderr || stdout}`);
    }
    return until(async () => {
      const now = await callsSeen(service);
      const ways = { own: now.own - before.own, second: now.second - before.second };
      return ways.own + ways.second >= calls ? ways : undefined;
    }, `${calls} calls to ${service} in the logs of west's gateways`);
  }

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "isthmus-gateways-"));
    mesh = await TestMesh.at(folder);
    const address = "jsonpath={.items[0].status.addresses[0].address}";
    node = await mesh.kubectl("west", "get", "nodes", "-o", address);
    const [payments, service] = workload("payments", "west-payments") as [object, { metadata: object }];
    const metadata = { ...service.metadata, labels: { [EXPORTED_LABEL]: "true" } };
    await mesh.apply("west", payments, { ...service, metadata }, ...workload("orders", "west-orders"));
    await mesh.apply("east", ...workload("caller", "east-caller", "caller"));
    await mesh.declare({
      clusters: [
        { name: "east", gateway: { exposure: "NodePort" } },
        { name: "west", gateway: { exposure: "LoadBalancer" } },
      ],
      exports: [{ cluster: "west", namespace: "default", service: "orders" }],
    });
    const [up] = await Promise.all([
      mesh.isthmus("up", "--yes"),
      // As a cloud does, once there is something to balance.
      mesh
        .kubectl("west", "wait", "--for=create", `service/${GATEWAY_SERVICE}`, ...inIsthmus, "--timeout=300s")
        .then(() => balance(GATEWAY_SERVICE, node)),
    ]);
    expect(up.exitCode === 0 ? "" : up.stdout + up.stderr).toBe("");
    await mesh.kubectl("east", "rollout", "status", "deployment/caller", "--timeout=120s");
    for (const name of ["payments", "orders"]) {
      await mesh.kubectl("west", "rollout", "status", `deployment/${name}`, "--timeout=120s");
      await until(async () => (await answerOf(name)) === `west-${name}`, `an answer of ${name}`);
    }
  }, 600_000);

  afterAll(async () => {
    for (const cluster of ["east", "west"]) {
      const workloads =
        "deployment/payments,deployment/orders,deployment/caller,service/payments,service/orders";
      await mesh.kubectl(cluster, "delete", "--ignore-not-found", ...workloads.split(","));
    }
    await mesh.isthmus("destroy", "--yes");
    await rm(folder, { recursive: true, force: true });
  }, 300_000);

  describe("with a gateway behind a load balancer", () => {
    test("follows it to another address and back, and nobody touches the Link", async () => {
      const { generation, uid } = (await link()).metadata;
      const { spec } = await mesh.get<{ spec: { ports: { port: number; nodePort: number }[] } }>(
        "west",
        ...["service", GATEWAY_SERVICE, ...inIsthmus],
      );
      const nodePorts = Object.fromEntries(spec.ports.map(({ port, nodePort }) => [port, nodePort]));
      expect(Object.keys(nodePorts)).toEqual([String(GATEWAY_PORT), String(PROBE_PORT)]);
      const other = await LoadBalancer.before(node, nodePorts);
      try {
        for (const address of [other.address, node]) {
          const left = address === node ? other.address : node;
          await balance(GATEWAY_SERVICE, address);
          await until(async () => {
            expect(await reachedAt()).toEqual([{ address, alive: true }]);
            return true;
          }, `west's gateway to be reached at ${address}`);
          // What was left leads nowhere any more: who answers now is behind the new address.
          if (left === node) await until(() => refuses(node, GATEWAY_PORT), `${node} to be no address of it`);
          else await other.stop();
          await until(() => answerOf("payments"), "an answer of payments");
          for (let call = 0; call < 5; call++) {
            expect([await answerOf("payments"), await answerOf("orders")]).toEqual([
              "west-payments",
              "west-orders",
            ]);
          }
        }
      } finally {
        await other.stop();
      }
      expect((await link()).metadata).toMatchObject({ generation, uid });
    }, 300_000);
  });

  describe("with a service that chooses the second gateway of west", () => {
    const choose = (gateway: string | undefined) =>
      mesh.kubectl(
        "west",
        ...["annotate", "--overwrite", "service", "payments"],
        ...(gateway === undefined
          ? [`${GATEWAY_NAME_ANNOTATION}-`, `${GATEWAY_NAMESPACE_ANNOTATION}-`]
          : [
              `${GATEWAY_NAME_ANNOTATION}=${gateway}`,
              `${GATEWAY_NAMESPACE_ANNOTATION}=${DEFAULT_NAMESPACE}`,
            ]),
      );
    const scaleSecond = (replicas: number) =>
      mesh.kubectl("west", "scale", `deployment/${SECOND_GATEWAY}`, ...inIsthmus, `--replicas=${replicas}`);
    const secondRolledOut = () =>
      mesh.kubectl(
        "west",
        ...["rollout", "status", `deployment/${SECOND_GATEWAY}`, ...inIsthmus, "--timeout=120s"],
      );

    beforeAll(async () => {
      await mesh.apply("west", ...(await secondGateway(mesh, "west", "test.mesh")));
      await balance(SECOND_GATEWAY, node);
      await secondRolledOut();
    }, 180_000);

    test("calls it through that one, which proves a name of its own, and the others through the Link's", async () => {
      expect(await waysOf("payments", 4)).toEqual({ own: 4, second: 0 });
      const lostBefore = lost;
      await choose(SECOND_GATEWAY);
      await until(
        async () => (await waysOf("payments", 4)).second === 4,
        "payments to be called through the second",
      );
      expect(await waysOf("payments", 10)).toEqual({ own: 0, second: 10 });
      expect(await waysOf("orders", 4)).toEqual({ own: 4, second: 0 });
      expect(lost).toBe(lostBefore);

      const call = (await mesh.ingressLog("west", ofSecond)).at(-1);
      expect(call).toMatchObject({ source: "east", identity: "gateway.east.test.mesh", tls: "TLSv1.3" });
      expect(call?.sni).toMatch(/^payments-8888-[a-z2-7]+\.gateway2\.west\.test\.mesh$/);
      expect(await reachedAt(SECOND_GATEWAY)).toEqual([{ address: node, alive: true }]);
      expect((await link()).status?.gateways?.[1]).toMatchObject({
        identity: "gateway2.west.test.mesh",
        port: SECOND_PORT,
      });
    }, 180_000);

    test("calls it by no other when that one is gone, the others as before, and again when it is back", async () => {
      await scaleSecond(0);
      try {
        await until(
          async () => (await reachedAt(SECOND_GATEWAY)).every(({ alive }) => !alive),
          "the second gateway to be found dead",
        );
        for (let call = 0; call < 3; call++) expect(await answerOf("payments")).toBeUndefined();
        expect(await waysOf("orders", 4)).toEqual({ own: 4, second: 0 });
      } finally {
        await scaleSecond(1);
      }
      await secondRolledOut();
      await until(
        async () => (await waysOf("payments", 4)).second === 4,
        "payments to be called through the second again",
      );
      expect(await waysOf("payments", 10)).toEqual({ own: 0, second: 10 });
    }, 240_000);

    test("calls it through the Link's own again when it chooses no more, and leaves the second alone", async () => {
      const lostBefore = lost;
      await choose(undefined);
      await until(
        async () => (await waysOf("payments", 4)).own === 4,
        "payments to be called through the Link's own",
      );
      expect(await waysOf("payments", 10)).toEqual({ own: 10, second: 0 });
      expect(lost).toBe(lostBefore);
      await until(async () => (await reachedAt(SECOND_GATEWAY)).length === 0, "the second to be forgotten");
    }, 180_000);

    test("loses no call however often it changes its mind", async () => {
      const lostBefore = lost;
      for (let turn = 0; turn < 14; turn++) {
        const [gateway, way] =
          turn % 2 === 0 ? [SECOND_GATEWAY, "second" as const] : [undefined, "own" as const];
        await choose(gateway);
        await until(async () => (await waysOf("payments", 3))[way] === 3, `turn ${turn} to be followed`);
      }
      expect(lost).toBe(lostBefore);
    }, 300_000);
  });
});

/** Whether nobody listens there. */
function refuses(host: string, port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port });
    socket.on("connect", () => {
      socket.destroy();
      resolve(false);
    });
    socket.on("error", (error: NodeJS.ErrnoException) =>
      error.code === "ECONNREFUSED" ? resolve(true) : reject(error),
    );
  });
}
