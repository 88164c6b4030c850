import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { podMirrorName } from "../../contract/index.ts";
import type { Endpoint, Service } from "../../controller/kube/objects.ts";
import { SERVICES } from "../../controller/kube/resource.ts";
import { until } from "./until.ts";
import { World } from "./world.ts";

let world: World;
beforeEach(async () => {
  world = await World.create();
});
afterEach(() => world.destroy());

const pod = (hostname: string, ip: string, ready = true): Endpoint => ({
  addresses: [ip],
  hostname,
  conditions: { ready },
});

const ports = [
  { name: "port1", port: 555, protocol: "TCP" },
  { name: "port2", port: 666, protocol: "TCP" },
];

/** An exported headless service with these pods. */
async function headless(name: string, endpoints: Endpoint[], changes: Partial<Service["metadata"]> = {}) {
  const service = await world.export(name, changes, { clusterIP: "None", ports });
  await world.putSlice(service, endpoints);
  return service;
}

/** Hostnames and addresses of all slices of a mirror, sorted by hostname. */
async function pods(mirror: string, namespace = world.namespace) {
  const endpoints = (await world.slicesOf(mirror, namespace)).flatMap((slice) => slice.endpoints ?? []);
  return endpoints
    .map(({ hostname = "", addresses, conditions }) => ({
      hostname,
      ip: addresses[0],
      ready: conditions?.ready,
    }))
    .sort((a, b) => (a.hostname < b.hostname ? -1 : 1));
}

describe("a headless service", () => {
  test("is mirrored headless, with a mirror of its own for each pod, at whose address the pod is found", async () => {
    await world.putEgressPod("10.1.0.9");
    await world.link();
    await world.start();
    const remote = await headless("service-one", [pod("pod-0", "10.9.0.1")], { annotations: { ak: "av" } });
    const child = await until(() => world.mirror("pod-0-remote"));
    const root = await until(() => world.mirror("service-one-remote"));
    expect(root.spec).toMatchObject({ clusterIP: "None", ports: [{ port: 555 }, { port: 666 }] });
    expect(root.metadata.annotations).not.toHaveProperty(["isthmus.dev/egress-ports"]);
    expect(child.metadata.labels).toEqual({
      "mirror.linkerd.io/mirrored-service": "true",
      "mirror.linkerd.io/cluster-name": "remote",
      "mirror.linkerd.io/headless-mirror-svc-name": "service-one-remote",
      "app.kubernetes.io/managed-by": "isthmus",
      "isthmus.dev/link": `${world.isthmus}.remote`,
    });
    expect(child.metadata.annotations).toEqual({
      ak: "av",
      "mirror.linkerd.io/remote-svc-fq-name": `pod-0.service-one.${world.namespace}.svc.cluster.local`,
      "mirror.linkerd.io/remote-resource-version": remote.metadata.resourceVersion,
      "isthmus.dev/remote-service": `${world.namespace}/service-one`,
      "isthmus.dev/remote-host": "pod-0",
      "isthmus.dev/egress-ports": expect.stringMatching(/^555=2\d{4},666=2\d{4}$/),
    });
    expect(child.spec?.ports?.map(({ port }) => port)).toEqual([555, 666]);
    await until(async () =>
      expect(await pods("service-one-remote")).toEqual([
        { hostname: "pod-0", ip: child.spec?.clusterIP, ready: true },
      ]),
    );
    const [rootSlice] = await world.slicesOf("service-one-remote");
    expect(rootSlice?.ports).toEqual([
      { name: "port1", port: 555, protocol: "TCP" },
      { name: "port2", port: 666, protocol: "TCP" },
    ]);
    const slice = await world.slice("pod-0-remote");
    expect(slice.endpoints).toMatchObject([{ addresses: ["10.1.0.9"], conditions: { ready: true } }]);
    const egress = child.metadata.annotations?.["isthmus.dev/egress-ports"]?.match(/\d{5}/g)?.map(Number);
    expect(slice.ports?.map(({ port }) => port)).toEqual(egress);
    expect((await world.names()).services).toEqual(["pod-0-remote", "service-one-remote"]);
    await world.serviceReason("service-one", "Mirrored");
  });

  test("has its pods' calls go to the gateway where Linkerd's proxies carry them; pods without a name are left out", async () => {
    await world.link({ gatewayAddresses: ["192.0.2.129"], gatewayPort: 889 });
    await world.start({ dataPlane: "linkerd" });
    const nameless = { addresses: ["10.9.0.2"], targetRef: { kind: "Pod", name: "web-abc" } };
    await headless("service-one", [pod("pod-0", "10.9.0.1"), nameless]);
    const slice = await until(() => world.slice("pod-0-remote"));
    expect(slice.endpoints).toMatchObject([{ addresses: ["192.0.2.129"] }]);
    expect(slice.ports?.map(({ port }) => port)).toEqual([889, 889]);
    expect(slice.metadata.annotations).toEqual({
      "mirror.linkerd.io/remote-svc-fq-name": `pod-0.service-one.${world.namespace}.svc.cluster.local`,
      "mirror.linkerd.io/remote-gateway-identity": "gateway.remote.demo.mesh",
    });
    // Before its pods are known it may have been an ordinary mirror.
    await until(async () => expect(await pods("service-one-remote")).toMatchObject([{ hostname: "pod-0" }]));
    expect((await world.names()).services).toEqual(["pod-0-remote", "service-one-remote"]);
  });

  test("without named pods is an ordinary mirror for Linkerd's gateway, and becomes headless with the first", async () => {
    await world.link();
    await world.start({ dataPlane: "linkerd" });
    const nameless = { addresses: ["10.9.0.2"], targetRef: { kind: "Pod", name: "web-abc" } };
    const service = await headless("db", [nameless]);
    expect((await until(() => world.mirror("db-remote"))).spec?.clusterIP).not.toBe("None");
    await world.putSlice(service, [pod("db-0", "10.9.0.1")]);
    await until(async () => expect((await world.mirror("db-remote")).spec?.clusterIP).toBe("None"));
    await until(async () => expect(await pods("db-remote")).toMatchObject([{ hostname: "db-0" }]));
    // Scaled to nothing, it stays what it is.
    await world.putSlice(service, []);
    await until(async () => expect(await pods("db-remote")).toEqual([]));
    expect((await world.mirror("db-remote")).spec?.clusterIP).toBe("None");
  });

  test("gets a mirror for a pod that comes and loses that of one that goes; the others are not touched", async () => {
    await world.link();
    await world.start();
    const service = await headless("web", [pod("web-0", "10.9.0.1")]);
    const first = await until(() => world.mirror("web-0-remote"));
    await until(async () => expect(await pods("web-remote")).toHaveLength(1));
    await world.putSlice(service, [pod("web-0", "10.9.0.1"), pod("web-1", "10.9.0.2")]);
    await until(async () =>
      expect((await pods("web-remote")).map(({ hostname }) => hostname)).toEqual(["web-0", "web-1"]),
    );
    expect(await world.mirror("web-0-remote")).toEqual(first);
    await world.putSlice(service, [pod("web-1", "10.9.0.2")]);
    await until(async () =>
      expect(await world.names()).toEqual({
        services: ["web-1-remote", "web-remote"],
        slices: ["web-1-remote-isthmus", "web-remote-isthmus"],
      }),
    );
    await until(async () => expect(await pods("web-remote")).toMatchObject([{ hostname: "web-1" }]));
  });

  test("hands its own ports and labels on to its mirror and to its pods', which stay what they are", async () => {
    await world.link();
    await world.start();
    const service = await headless("web", [pod("web-0", "10.9.0.1")]);
    await until(async () => expect(await pods("web-remote")).toHaveLength(1));
    const before = await pods("web-remote");
    const changed = await world.export(
      "web",
      { labels: { "mirror.linkerd.io/exported": "true", lk: "lv" } },
      { clusterIP: "None", ports: [ports[0]!, { name: "port3", port: 777, protocol: "TCP" }] },
    );
    for (const name of ["web-remote", "web-0-remote"]) {
      await until(async () => {
        const mirror = await world.mirror(name);
        expect(mirror.spec?.ports?.map(({ port }) => port)).toEqual([555, 777]);
        expect(mirror.metadata.labels).toMatchObject({ lk: "lv" });
        expect(mirror.metadata.annotations).toMatchObject({
          "mirror.linkerd.io/remote-resource-version": changed.metadata.resourceVersion,
        });
        const [slice] = await world.slicesOf(name);
        expect(slice?.ports?.map((port) => port.name)).toEqual(["port1", "port3"]);
      });
    }
    // It leads to the mirrors of its pods as before, on its own ports, and not to a gateway.
    const [slice] = await world.slicesOf("web-remote");
    expect(slice?.ports?.map(({ port }) => port)).toEqual([555, 777]);
    expect(await pods("web-remote")).toEqual(before);
    await world.putSlice(service, [pod("web-0", "10.9.0.1"), pod("web-1", "10.9.0.2")]);
    await until(async () => expect(await pods("web-remote")).toHaveLength(2));
  });

  test("is found by a controller that starts over as it should be, pods and all, and not written", async () => {
    await world.link();
    const first = await world.start();
    await headless("web", [pod("web-0", "10.9.0.1"), pod("web-1", "10.9.0.2")]);
    await until(async () => expect(await pods("web-remote")).toHaveLength(2));
    await world.reason("Synced", "Synced");
    await first.stop();
    const before = await world.fingerprint();
    const second = await world.start();
    // What comes after it has been looked at, too.
    await world.export("later");
    await until(() => world.slice("later-remote"));
    await world.reason("Synced", "Synced");
    expect(second.writes.filter((write) => write.includes("web-"))).toEqual([]);
    expect(await world.fingerprint()).toMatchObject(
      Object.fromEntries(Object.entries(before).filter(([object]) => object.includes("web-"))),
    );
  });

  test("of the same name in two namespaces: what happens to the one leaves the other alone", async () => {
    await world.link();
    await world.start();
    const other = `other-${world.id}`;
    await world.createNamespace(world.target, other);
    await world.createNamespace(world.source, other);
    const here = await headless("web", [pod("web-0", "10.9.0.1")]);
    await headless("web", [pod("web-0", "10.9.1.1"), pod("web-1", "10.9.1.2")], { namespace: other });
    await until(async () => expect(await pods("web-remote", other)).toHaveLength(2));
    await until(async () => expect(await pods("web-remote")).toHaveLength(1));
    const before = await pods("web-remote", other);
    await world.putSlice(here, []);
    await until(async () => expect((await world.names()).services).toEqual(["web-remote"]));
    await world.target.delete(SERVICES, { namespace: world.namespace, name: "web" });
    await until(async () => expect(await world.names()).toEqual({ services: [], slices: [] }));
    expect(await pods("web-remote", other)).toEqual(before);
    expect((await world.names(other)).services).toEqual(["web-0-remote", "web-1-remote", "web-remote"]);
  });

  test("tells which pods are not ready, and follows", async () => {
    await world.putEgressPod("10.1.0.9");
    await world.link();
    await world.start();
    const service = await headless("web", [pod("web-0", "10.9.0.1", false)]);
    await until(async () =>
      expect(await pods("web-remote")).toMatchObject([{ hostname: "web-0", ready: false }]),
    );
    expect((await world.slice("web-0-remote")).endpoints).toMatchObject([{ conditions: { ready: false } }]);
    await world.putSlice(service, [pod("web-0", "10.9.0.1", true)]);
    await until(async () => expect(await pods("web-remote")).toMatchObject([{ ready: true }]));
    await until(async () =>
      expect((await world.slice("web-0-remote")).endpoints).toMatchObject([{ conditions: { ready: true } }]),
    );
  });

  test("has mirrors for pods whose names no Service may have: shortened, told apart, and called by what they are", async () => {
    await world.link();
    await world.start();
    const byPod = (name: string, ip: string): Endpoint => ({
      addresses: [ip],
      targetRef: { kind: "Pod", name },
    });
    const hosts = ["0-starts-with-digit", "has.dots", `long-${"x".repeat(80)}`];
    await headless("odd", [
      { addresses: ["10.9.0.1"], hostname: hosts[0]! },
      byPod(hosts[1]!, "10.9.0.2"),
      byPod(hosts[2]!, "10.9.0.3"),
    ]);
    await until(async () => expect(await pods("odd-remote")).toHaveLength(3));
    for (const host of hosts) {
      const mirror = await world.mirror(podMirrorName(host, "remote"));
      expect(mirror.metadata.annotations?.["isthmus.dev/remote-host"]).toBe(host);
    }
    for (const { hostname } of await pods("odd-remote"))
      expect(hostname).toMatch(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/);
  });

  test("with IPv6 slices is mirrored like one with IPv4; a pod with both addresses once", async () => {
    await world.link();
    await world.start();
    const service = await headless("web", [pod("web-0", "10.9.0.1")]);
    await world.putSlice(service, [pod("web-0", "fd00::1"), pod("web-1", "fd00::2")], {
      addressType: "IPv6",
    });
    await until(async () =>
      expect((await pods("web-remote")).map(({ hostname }) => hostname)).toEqual(["web-0", "web-1"]),
    );
    expect((await world.names()).services).toEqual(["web-0-remote", "web-1-remote", "web-remote"]);
  });

  test("one of whose pods has the name of an exported service gives way, and says so", async () => {
    await world.link();
    await world.start();
    await world.export("web-0");
    await until(() => world.mirror("web-0-remote"));
    await headless("web", [pod("web-0", "10.9.0.1"), pod("web-1", "10.9.0.2")]);
    expect(await world.serviceReason("web", "PodsNotMirrored")).toMatchObject({
      message: expect.stringContaining(
        `pods without a mirror: web-0: service ${world.namespace}/web-0 of cluster remote`,
      ),
    });
    await until(async () => expect(await pods("web-remote")).toMatchObject([{ hostname: "web-1" }]));
    await world.target.delete(SERVICES, { namespace: world.namespace, name: "web-0" });
    await until(async () => expect(await pods("web-remote")).toHaveLength(2));
    await world.serviceReason("web", "Mirrored");
  });

  test("turned into an ordinary one and back is followed, though neither can be made into the other", async () => {
    await world.link();
    await world.start();
    await headless("web", [pod("web-0", "10.9.0.1")]);
    await until(async () => expect(await pods("web-remote")).toHaveLength(1));
    await world.target.delete(SERVICES, { namespace: world.namespace, name: "web" });
    await world.export("web");
    await until(async () => {
      expect((await world.mirror("web-remote")).spec?.clusterIP).toMatch(/^\d/);
      expect((await world.slice("web-remote")).ports?.[0]?.port).toBeGreaterThanOrEqual(20_000);
    });
  });

  test("of more than a thousand pods in several slices has them all, in slices of a hundred, and one more changes one", async () => {
    await world.link();
    await world.start();
    const service = await world.export("big", {}, { clusterIP: "None", ports: [{ name: "http", port: 80 }] });
    const all = Array.from({ length: 1_050 }, (_, i) => pod(`big-${i}`, `10.20.${i >> 8}.${i & 255}`));
    await world.putSlice(service, all.slice(0, 1_000));
    await world.putSlice(service, all.slice(1_000, 1_049), { number: 1 });
    await until(async () => expect(await pods("big-remote")).toHaveLength(1_049), 240_000);
    const before = await world.slicesOf("big-remote");
    expect(before.length).toBe(11);
    expect(before.every(({ endpoints = [] }) => endpoints.length <= 100)).toBe(true);
    await world.putSlice(service, all.slice(1_000), { number: 1 });
    await until(async () => expect(await pods("big-remote")).toHaveLength(1_050));
    const versions = new Set(before.map(({ metadata }) => metadata.resourceVersion));
    const changed = (await world.slicesOf("big-remote")).filter(
      ({ metadata }) => !versions.has(metadata.resourceVersion),
    );
    expect(changed).toHaveLength(1);
  });

  test("goes with its Link, pods and all", async () => {
    await world.link();
    await world.start();
    await headless("web", [pod("web-0", "10.9.0.1"), pod("web-1", "10.9.0.2")]);
    await until(async () => expect(await pods("web-remote")).toHaveLength(2));
    await world.deleteLink();
    await until(async () => expect(await world.names()).toEqual({ services: [], slices: [] }));
    await until(async () => await expect(world.getLink()).rejects.toMatchObject({ status: 404 }));
  });
});
