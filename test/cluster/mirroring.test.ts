import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { mirrorName } from "../../contract/index.ts";
import type { KubeObject } from "../../controller/kube/objects.ts";
import { ENDPOINT_SLICES, NAMESPACES, SERVICES } from "../../controller/kube/resource.ts";
import { SLOW_MS, until } from "./until.ts";
import { World } from "./world.ts";

let world: World;
beforeEach(async () => {
  world = await World.create();
});
afterEach(() => world.destroy());

const NOTHING = { services: [], slices: [] };

/** What was made for this world's Links in a namespace that others share. */
async function mirrorsIn(namespace: string): Promise<string[]> {
  const labelSelector = `isthmus.dev/link=${world.isthmus}.remote`;
  const all = await Promise.all(
    [SERVICES, ENDPOINT_SLICES].map((each) =>
      world.source.list<KubeObject>(each, { namespace, labelSelector }),
    ),
  );
  return all.flatMap(({ items }) => items.map(({ kind, metadata }) => `${kind} ${metadata.name}`)).sort();
}

describe("an exported service", () => {
  test("is mirrored with its ports and labels, and says where it comes from", async () => {
    await world.link();
    await world.start();
    const remote = await world.export(
      "service-one",
      { labels: { "mirror.linkerd.io/exported": "true", lk: "lv" }, annotations: { ak: "av" } },
      {
        ports: [
          { name: "port1", port: 555, protocol: "TCP", appProtocol: "http" },
          { name: "port2", port: 666, protocol: "TCP", targetPort: "web" },
        ],
      },
    );
    const mirror = await until(() => world.mirror("service-one-remote"));
    const ports = mirror.metadata.annotations?.["isthmus.dev/egress-ports"] ?? "";
    const labels = {
      lk: "lv",
      "mirror.linkerd.io/mirrored-service": "true",
      "mirror.linkerd.io/cluster-name": "remote",
      "app.kubernetes.io/managed-by": "isthmus",
      "isthmus.dev/link": `${world.isthmus}.remote`,
    };
    expect(mirror.metadata.labels).toEqual(labels);
    expect(mirror.metadata.annotations).toEqual({
      ak: "av",
      "mirror.linkerd.io/remote-svc-fq-name": `service-one.${world.namespace}.svc.cluster.local`,
      "mirror.linkerd.io/remote-resource-version": remote.metadata.resourceVersion,
      "isthmus.dev/remote-service": `${world.namespace}/service-one`,
      "isthmus.dev/egress-ports": expect.stringMatching(/^555=2\d{4},666=2\d{4}$/),
    });
    expect(mirror.spec).toMatchObject({ type: "ClusterIP", clusterIP: expect.stringMatching(/^\d/) });
    expect(mirror.spec?.selector).toBeUndefined();
    expect(mirror.spec?.ports).toEqual([
      { name: "port1", port: 555, protocol: "TCP", targetPort: 555, appProtocol: "http" },
      { name: "port2", port: 666, protocol: "TCP", targetPort: "web" },
    ]);

    const slice = await until(() => world.slice("service-one-remote"));
    expect(slice.metadata.labels).toEqual({
      ...labels,
      "kubernetes.io/service-name": "service-one-remote",
      "endpointslice.kubernetes.io/managed-by": "isthmus.dev",
    });
    expect(slice.metadata.annotations).toEqual({
      "mirror.linkerd.io/remote-svc-fq-name": `service-one.${world.namespace}.svc.cluster.local`,
    });
    const [first, second] = ports.split(",").map((entry) => Number(entry.split("=")[1]));
    expect(slice.ports).toEqual([
      { name: "port1", protocol: "TCP", port: first, appProtocol: "http" },
      { name: "port2", protocol: "TCP", port: second },
    ]);
    expect(await world.names()).toEqual({
      services: ["service-one-remote"],
      slices: ["service-one-remote-isthmus"],
    });
    await world.serviceReason("service-one", "Mirrored");
    await world.reason("Synced", "Synced");
  });

  test("points at the gateway, its port and its identity where Linkerd's proxies carry the calls", async () => {
    await world.link({ gatewayAddresses: ["192.0.2.127", "192.0.2.128"] });
    await world.start({ dataPlane: "linkerd" });
    await world.export(
      "service-one",
      {},
      {
        ports: [
          { name: "port1", port: 555 },
          { name: "port2", port: 666 },
        ],
      },
    );
    const slice = await until(() => world.slice("service-one-remote"));
    expect(slice.metadata.annotations).toEqual({
      "mirror.linkerd.io/remote-svc-fq-name": `service-one.${world.namespace}.svc.cluster.local`,
      "mirror.linkerd.io/remote-gateway-identity": "gateway.remote.demo.mesh",
    });
    expect(slice.endpoints?.flatMap(({ addresses }) => addresses)).toEqual(["192.0.2.127", "192.0.2.128"]);
    expect(slice.ports).toEqual([
      { name: "port1", protocol: "TCP", port: 888 },
      { name: "port2", protocol: "TCP", port: 888 },
    ]);
    const mirror = await world.mirror("service-one-remote");
    expect(mirror.metadata.annotations).not.toHaveProperty(["isthmus.dev/egress-ports"]);

    await world.putLink({ gatewayAddresses: ["192.0.2.129"], gatewayPort: 889 });
    await until(async () => {
      const moved = await world.slice("service-one-remote");
      expect(moved.endpoints?.flatMap(({ addresses }) => addresses)).toEqual(["192.0.2.129"]);
      expect(moved.ports?.map(({ port }) => port)).toEqual([889, 889]);
    });
  });

  test("has its gateway's identity, and where it comes from, on its slice again when somebody takes them off", async () => {
    await world.link();
    await world.start({ dataPlane: "linkerd" });
    await world.export("web");
    const { name, annotations = {} } = (await until(() => world.slice("web-remote"))).metadata;
    expect(Object.keys(annotations)).toHaveLength(2);
    const none = Object.fromEntries(Object.keys(annotations).map((key) => [key, null]));
    const ref = { namespace: world.namespace, name };
    await world.source.patch(ENDPOINT_SLICES, ref, { metadata: { annotations: none } }, { type: "merge" });
    await until(async () =>
      expect((await world.slice("web-remote")).metadata.annotations).toEqual(annotations),
    );
  });

  test("loses its mirror when it is exported no longer, and gets it back when it is again", async () => {
    await world.link();
    await world.start();
    await world.export("web");
    await until(() => world.slice("web-remote"));
    await world.export("web", { labels: { app: "web" } });
    await until(async () => expect(await world.names()).toEqual(NOTHING));
    await until(async () => expect((await world.getLink()).status?.services).toEqual([]));
    await world.export("web");
    await until(() => world.slice("web-remote"));
  });

  test("takes its mirror with it when it is deleted; a deleted service that was not exported takes nothing", async () => {
    await world.link();
    await world.start();
    await world.export("web");
    await world.export("api");
    await world.export("private", { labels: { app: "private" } });
    await until(() => world.slice("web-remote"));
    await until(() => world.slice("api-remote"));
    for (const name of ["web", "private"])
      await world.target.delete(SERVICES, { namespace: world.namespace, name });
    await until(async () =>
      expect(await world.names()).toEqual({ services: ["api-remote"], slices: ["api-remote-isthmus"] }),
    );
  });

  test("hands changed ports, labels and annotations on; ports that stay keep their egress port", async () => {
    await world.link();
    await world.start();
    const port = (number: number) => ({ name: `port${number}`, port: number, protocol: "TCP" });
    await world.export("web", { annotations: { a: "1" } }, { ports: [port(1), port(2), port(3)] });
    const before = await until(() => world.slice("web-remote"));
    const remote = await world.export("web", { annotations: { b: "2" } }, { ports: [port(1), port(3)] });
    await until(async () => {
      const mirror = await world.mirror("web-remote");
      expect(mirror.spec?.ports?.map((each) => each.port)).toEqual([1, 3]);
      expect(mirror.metadata.annotations).toMatchObject({
        b: "2",
        "mirror.linkerd.io/remote-resource-version": remote.metadata.resourceVersion,
      });
      expect(mirror.metadata.annotations).not.toHaveProperty("a");
      const slice = await world.slice("web-remote");
      expect(slice.ports).toEqual(before.ports?.filter(({ name }) => name !== "port2"));
    });
  });

  test("for pods to call directly is mirrored without endpoints, and says whom Linkerd's destination is to ask", async () => {
    await world.link();
    await world.start({ dataPlane: "linkerd" });
    const labels = { "mirror.linkerd.io/exported": "remote-discovery", lk: "lv" };
    await world.export("web-svc", { labels });
    const mirror = await until(() => world.mirror("web-svc-remote"));
    expect(mirror.metadata.labels).toEqual({
      lk: "lv",
      "mirror.linkerd.io/mirrored-service": "true",
      "mirror.linkerd.io/cluster-name": "remote",
      "multicluster.linkerd.io/remote-discovery": "remote",
      "multicluster.linkerd.io/remote-service": "web-svc",
      "app.kubernetes.io/managed-by": "isthmus",
      "isthmus.dev/link": `${world.isthmus}.remote`,
    });
    expect(mirror.spec?.ports).toMatchObject([{ name: "http", port: 80 }]);
    await world.serviceReason("web-svc", "Mirrored");
    expect(await world.names()).toEqual({ services: ["web-svc-remote"], slices: [] });
  });

  test("for pods to call directly is refused where no proxy could, and told how to export it instead", async () => {
    await world.link();
    await world.start();
    await world.export("web-svc", { labels: { "mirror.linkerd.io/exported": "remote-discovery" } });
    expect((await world.serviceReason("web-svc", "UnsupportedMode")).message).toContain(
      "label it mirror.linkerd.io/exported=true",
    );
    expect(await world.names()).toEqual(NOTHING);
  });

  test("changes between the gateway and direct calls and keeps its mirror: slices and labels come and go", async () => {
    await world.link();
    await world.start({ dataPlane: "linkerd" });
    await world.export("web");
    const { uid } = (await until(() => world.mirror("web-remote"))).metadata;
    await until(() => world.slice("web-remote"));
    await world.export("web", { labels: { "mirror.linkerd.io/exported": "remote-discovery" } });
    await until(async () => expect(await world.names()).toEqual({ services: ["web-remote"], slices: [] }));
    await until(async () =>
      expect((await world.mirror("web-remote")).metadata.labels).toMatchObject({
        "multicluster.linkerd.io/remote-service": "web",
      }),
    );
    await world.export("web");
    await until(() => world.slice("web-remote"));
    const mirror = await world.mirror("web-remote");
    expect(mirror.metadata.uid).toBe(uid);
    expect(mirror.metadata.labels).not.toHaveProperty(["multicluster.linkerd.io/remote-service"]);
  });

  test("has endpoints that take no calls while nobody is ready in the target, and they take some again once somebody is", async () => {
    await world.putEgressPod("10.1.0.9");
    await world.link();
    await world.start();
    const service = await world.export("web");
    const ready = async (expected: boolean) => {
      await until(async () =>
        expect((await world.slice("web-remote")).endpoints).toMatchObject([
          { addresses: ["10.1.0.9"], conditions: { ready: expected } },
        ]),
      );
    };
    // No slice of it is known: then there is nothing to conclude.
    await ready(true);
    await world.putSlice(service, []);
    await ready(false);
    expect((await world.slice("web-remote")).metadata.annotations).toMatchObject({
      "isthmus.dev/remote-endpoints": "none",
    });
    await world.putSlice(service, [{ addresses: ["10.9.0.1"], conditions: { ready: false } }]);
    await world.putSlice(service, [{ addresses: ["10.9.0.1"], conditions: { ready: true } }]);
    await ready(true);
  });

  test("hands changed ports on while nobody is ready, and takes calls no sooner", async () => {
    await world.putEgressPod("10.1.0.9");
    await world.link();
    await world.start();
    const http = { name: "http", port: 80, protocol: "TCP" };
    const service = await world.export("web", {}, { ports: [http] });
    await world.putSlice(service, []);
    const shows = async (names: string[], ready: boolean) => {
      await until(async () => {
        const slice = await world.slice("web-remote");
        expect(slice.ports?.map(({ name }) => name)).toEqual(names);
        expect(slice.endpoints).toMatchObject([{ addresses: ["10.1.0.9"], conditions: { ready } }]);
      });
    };
    await shows(["http"], false);
    const states: unknown[] = [];
    await world.export("web", {}, { ports: [http, { name: "grpc", port: 81, protocol: "TCP" }] });
    await until(async () => {
      const { endpoints, ports } = await world.slice("web-remote");
      states.push(endpoints?.map(({ conditions }) => conditions?.ready));
      expect(ports).toHaveLength(2);
    });
    expect(new Set(states.flat())).toEqual(new Set([false]));
    await shows(["http", "grpc"], false);
    await world.putSlice(service, [{ addresses: ["10.9.0.1"], conditions: { ready: true } }]);
    await shows(["http", "grpc"], true);
  });

  test("waits for its namespace, and says so until it is there", async () => {
    await world.link();
    await world.start();
    const namespace = `late-${world.id}`;
    await world.createNamespace(world.target, namespace);
    await world.export("web", { namespace });
    await until(async () => {
      expect((await world.getLink()).status).toMatchObject({
        mirroredServices: 0,
        failedServices: 1,
        services: [
          { namespace, name: "web", mirror: "web-remote", mirrored: false, reason: "MissingNamespace" },
        ],
      });
    });
    await world.reason("Synced", "ServicesFailed");
    await until(async () => {
      const event = (await world.events()).find(({ reason }) => reason === "MissingNamespace");
      expect(event).toMatchObject({
        type: "Warning",
        involvedObject: { kind: "Link", name: "remote" },
        message: `${namespace}/web of cluster remote is not mirrored: there is no namespace ${namespace} here; the service is mirrored as soon as there is`,
      });
    });
    await world.createNamespace(world.source, namespace);
    await until(() => world.slice("web-remote", namespace));
    await world.reason("Synced", "Synced");
  });

  test.each([
    ["of Kubernetes", () => "kube-system"],
    ["of Isthmus", () => world.isthmus],
  ])("in the namespace %s is refused, unless the controller was told to allow that", async (_, of) => {
    const namespace = of();
    const name = `web-${world.id}`;
    const mirrors = () => mirrorsIn(namespace);
    await world.link();
    await world.export(name, { namespace });
    try {
      const first = await world.start();
      await until(async () =>
        expect((await world.getLink()).status).toMatchObject({
          failedServices: 1,
          services: [{ namespace, name, mirrored: false, reason: "ProtectedNamespace" }],
        }),
      );
      await until(async () => {
        const event = (await world.events()).find(({ reason }) => reason === "ProtectedNamespace");
        expect(event).toMatchObject({
          type: "Warning",
          involvedObject: { kind: "Link", name: "remote" },
          message: `${namespace}/${name} of cluster remote is not mirrored: no mirror is made in namespace ${namespace} unless the controller's allowNamespaces (--allow-namespaces) has it`,
        });
      });
      await world.export("beside");
      await until(() => world.slice("beside-remote"));
      expect(await mirrors()).toEqual([]);
      await first.stop();

      await world.start({ allowNamespaces: [namespace] });
      await until(() => world.slice(`${name}-remote`, namespace));
      expect(await mirrors()).toEqual([`EndpointSlice ${name}-remote-isthmus`, `Service ${name}-remote`]);
      await world.reason("Synced", "Synced");
    } finally {
      await world.target.delete(SERVICES, { namespace, name });
    }
    await until(async () => expect(await mirrors()).toEqual([]));
  });

  test("gives its egress ports back though its mirror went with its namespace, whatever other targets do", async () => {
    const gone = `gone-${world.id}`;
    await world.createNamespace(world.target, gone);
    await world.createNamespace(world.source, gone);
    await world.putCredentials(await world.kubeconfig({ token: "revoked" }), "dead");
    await world.putLink({}, "dead");
    await world.link();
    await world.source.create(SERVICES, {
      apiVersion: "v1",
      kind: "Service",
      metadata: {
        namespace: world.namespace,
        name: "of-another-isthmus",
        labels: {
          "mirror.linkerd.io/mirrored-service": "true",
          "app.kubernetes.io/managed-by": "isthmus",
          "isthmus.dev/link": "another-isthmus.remote",
        },
        annotations: { "isthmus.dev/egress-ports": "80=20001,81=20002" },
      },
      spec: { ports: [{ name: "http", port: 80, protocol: "TCP" }] },
    });
    const controller = await world.start();
    const used = () => controller.metric('isthmus_egress_ports{state="used"}');
    await world.export("web", { namespace: gone });
    await until(() => world.mirror("web-remote", gone));
    expect(await used()).toBe(1);
    await world.source.delete(NAMESPACES, { name: gone });
    await until(async () =>
      expect((await world.getLink()).status?.services).toMatchObject([{ reason: "MissingNamespace" }]),
    );
    await until(async () => await expect(world.mirror("web-remote", gone)).rejects.toThrow(), SLOW_MS);
    await world.target.delete(SERVICES, { namespace: gone, name: "web" });
    await until(async () => expect(await used()).toBe(0));
  });

  test("is counted: with its mirror or by the reason for none, with the writes that it took and the time", async () => {
    await world.link();
    const controller = await world.start();
    await world.export("web");
    await world.export("nothing", {}, { type: "ExternalName", externalName: "example.com", ports: [] });
    await world.reason("Synced", "ServicesFailed");
    const counts = async (...series: string[]) =>
      Object.fromEntries(
        await Promise.all(
          series.map(async (each) => [each, await controller.metric(each)] as [string, number]),
        ),
      );
    const of = 'target_cluster_name="remote"';
    await until(async () =>
      expect(
        await counts(
          `isthmus_mirrored_services{${of}}`,
          `isthmus_failed_services{${of},reason="InvalidService"}`,
          `isthmus_link_condition{${of},type="Synced",status="False",reason="ServicesFailed"}`,
          `isthmus_link_condition{${of},type="Connected",status="True",reason="Connected"}`,
          'isthmus_source_writes_total{verb="create",resource="services"}',
          'isthmus_source_writes_total{verb="create",resource="endpointslices"}',
        ),
      ).toEqual({
        [`isthmus_mirrored_services{${of}}`]: 1,
        [`isthmus_failed_services{${of},reason="InvalidService"}`]: 1,
        [`isthmus_link_condition{${of},type="Synced",status="False",reason="ServicesFailed"}`]: 1,
        [`isthmus_link_condition{${of},type="Connected",status="True",reason="Connected"}`]: 1,
        'isthmus_source_writes_total{verb="create",resource="services"}': 1,
        'isthmus_source_writes_total{verb="create",resource="endpointslices"}': 1,
      }),
    );
    expect(await controller.metric(`isthmus_propagation_seconds_count{${of}}`)).toBeGreaterThan(0);
    expect(await controller.metric('isthmus_queue_wait_seconds_count{queue="mirrors"}')).toBeGreaterThan(0);
  });

  test("with a name too long for its mirror gets a shorter one that is told in the status", async () => {
    await world.link();
    await world.start();
    const name = `s${"x".repeat(62)}`;
    await world.export(name);
    const { mirror } = await world.serviceReason(name, "Mirrored");
    expect(mirror).toBe(mirrorName(name, "remote"));
    expect(mirror.length).toBeLessThanOrEqual(63);
    expect((await world.names()).services).toEqual([mirror]);
  });

  test("is mirrored without its ports that are not TCP, which the status names", async () => {
    await world.link();
    await world.start();
    const ports = [
      { name: "dns-tcp", port: 53, protocol: "TCP" },
      { name: "dns", port: 53, protocol: "UDP" },
    ];
    await world.export("dns", {}, { ports });
    expect(await world.serviceReason("dns", "Mirrored")).toMatchObject({
      mirrored: true,
      message: "not mirrored: dns (UDP)",
    });
    expect((await world.mirror("dns-remote")).spec?.ports?.map(({ name }) => name)).toEqual(["dns-tcp"]);
  });

  test.each([
    ["of type ExternalName", { type: "ExternalName", externalName: "example.com" }],
    ["with UDP only", { ports: [{ name: "dns", port: 53, protocol: "UDP" }] }],
  ])("%s is refused with a reason and an Event", async (_, spec) => {
    await world.link();
    await world.start();
    await world.export("odd", {}, spec);
    expect(await world.serviceReason("odd", "InvalidService")).toMatchObject({ mirrored: false });
    await until(async () =>
      expect((await world.events()).map(({ reason }) => reason)).toContain("InvalidService"),
    );
    expect(await world.names()).toEqual(NOTHING);
  });

  test("that can be mirrored no longer loses its mirror", async () => {
    await world.link();
    await world.start();
    await world.export("web");
    await until(() => world.slice("web-remote"));
    await world.export("web", {}, { ports: [{ name: "http", port: 80, protocol: "UDP" }] });
    await world.serviceReason("web", "InvalidService");
    await until(async () => expect(await world.names()).toEqual(NOTHING));
  });
});

describe("a Link", () => {
  test.each([
    ["the gateway mirrors for direct calls only", { selector: {}, gatewayAddresses: [] }, ["direct-remote"]],
    ["direct calls mirrors for the gateway only", { remoteDiscoverySelector: {} }, ["web-remote"]],
    ["either mirrors nothing", { selector: {}, remoteDiscoverySelector: {} }, []],
  ])("with an empty selector for %s", async (_, spec, services) => {
    await world.link(spec);
    await world.start({ dataPlane: "linkerd" });
    await world.export("direct", { labels: { "mirror.linkerd.io/exported": "remote-discovery" } });
    await world.export("web");
    await until(async () => expect((await world.names()).services).toEqual(services));
    await world.reason("Synced", "Synced");
    expect((await world.names()).services).toEqual(services);
    await world.putLink();
    await until(async () => expect((await world.names()).services).toEqual(["direct-remote", "web-remote"]));
  });

  test("given another cluster domain of its target says so on mirrors, on those of pods, and on slices", async () => {
    await world.link();
    await world.start();
    await world.export("web");
    const db = await world.export("db", {}, { clusterIP: "None", ports: [{ name: "sql", port: 5432 }] });
    await world.putSlice(db, [{ addresses: ["10.9.0.1"], hostname: "db-0", conditions: { ready: true } }]);
    const says = async (domain: string) => {
      for (const [mirror, service] of Object.entries({ web: "web", db: "db", "db-0": "db-0.db" }))
        await until(async () => {
          const fqName = `${service}.${world.namespace}.svc.${domain}`;
          for (const object of [
            await world.mirror(`${mirror}-remote`),
            await world.slice(`${mirror}-remote`),
          ])
            expect(object.metadata.annotations).toMatchObject({
              "mirror.linkerd.io/remote-svc-fq-name": fqName,
            });
        });
    };
    await says("cluster.local");
    await world.putLink({ targetClusterDomain: "west.example.com" });
    await says("west.example.com");
  });

  test("with the longest of names mirrors, tells by Events, and cleans up behind itself", async () => {
    const name = "l".repeat(253);
    await world.putCredentials(await world.kubeconfig());
    await world.putLink(
      { targetClusterName: "remote", clusterCredentialsSecret: "cluster-credentials-remote" },
      name,
    );
    await world.start();
    await world.export("web", {
      labels: { "mirror.linkerd.io/exported": "true", "mirror.linkerd.io/federated": "member" },
    });
    await world.export("dns", {}, { ports: [{ name: "dns", port: 53, protocol: "UDP" }] });
    await until(() => world.slice("web-remote"));
    await until(() => world.mirror("web-federated"));
    await world.serviceReason("dns", "InvalidService", name);
    await until(async () =>
      expect(await world.events()).toContainEqual(
        expect.objectContaining({
          reason: "InvalidService",
          involvedObject: expect.objectContaining({ name }),
        }),
      ),
    );
    await world.deleteLink(name);
    await until(async () => expect(await world.names()).toEqual(NOTHING));
    await until(() => expect(world.getLink(name)).rejects.toMatchObject({ status: 404 }));
  });

  test("with an empty selector mirrors nothing; given one, what it selects", async () => {
    await world.link({ selector: {} });
    await world.start();
    await world.export("web");
    await world.export("special", { labels: { tier: "gold" } });
    await world.reason("Synced", "Synced");
    expect(await world.names()).toEqual(NOTHING);
    await world.putLink({
      selector: { matchExpressions: [{ key: "tier", operator: "In", values: ["gold"] }] },
    });
    await until(() => world.slice("special-remote"));
    expect((await world.names()).services).toEqual(["special-remote"]);
    await world.putLink({ selector: {} });
    await until(async () => expect(await world.names()).toEqual(NOTHING));
  });

  test("says nothing any more of a mirror that another selector did away with", async () => {
    await world.link();
    await world.start();
    await world.export("web", {
      labels: { "mirror.linkerd.io/federated": "member", "mirror.linkerd.io/exported": "true" },
    });
    await until(async () => expect((await world.getLink()).status).toMatchObject({ mirroredServices: 2 }));
    await world.putLink({ selector: {} });
    await until(async () => expect((await world.names()).services).toEqual(["web-federated"]));
    await until(async () =>
      expect((await world.getLink()).status).toMatchObject({
        mirroredServices: 1,
        services: [{ name: "web", mirror: "web-federated" }],
      }),
    );
  });

  test("leaves out what it excludes, also from mirrors that are there already", async () => {
    await world.link();
    await world.start();
    await world.export("web", {
      labels: { "mirror.linkerd.io/exported": "true", good: "1", evil: "1", "evil.linkerd/a": "1" },
      annotations: {
        "good.linkerd/c": "1",
        "evil.linkerd/a": "1",
        "kubectl.kubernetes.io/last-applied-configuration": "{}",
        "external-dns.alpha.kubernetes.io/hostname": "web.example.com",
      },
    });
    const before = await until(() => world.mirror("web-remote"));
    expect(before.metadata.labels).toMatchObject({ good: "1", evil: "1", "evil.linkerd/a": "1" });
    expect(Object.keys(before.metadata.annotations ?? {}).sort()).toEqual([
      "evil.linkerd/a",
      "good.linkerd/c",
      "isthmus.dev/egress-ports",
      "isthmus.dev/remote-service",
      "mirror.linkerd.io/remote-resource-version",
      "mirror.linkerd.io/remote-svc-fq-name",
    ]);
    await world.putLink({
      excludedLabels: ["evil", "evil.linkerd/*"],
      excludedAnnotations: ["evil.linkerd/*"],
    });
    await until(async () => {
      const { labels = {}, annotations = {} } = (await world.mirror("web-remote")).metadata;
      expect(Object.keys(labels)).toContain("good");
      expect(
        [...Object.keys(labels), ...Object.keys(annotations)].filter((key) => key.startsWith("evil")),
      ).toEqual([]);
    });
  });

  test("without a selector mirrors what carries the export label", async () => {
    await world.link();
    await world.putLink({ selector: undefined as never });
    await world.start();
    await world.export("private", { labels: {} });
    await world.export("web");
    await until(() => world.slice("web-remote"));
    expect((await world.names()).services).toEqual(["web-remote"]);
  });

  test("without a gateway has mirrors without endpoints, and nothing to probe", async () => {
    await world.link({ gatewayAddresses: [], probe: {} });
    await world.start({ dataPlane: "linkerd" });
    await world.export("web");
    const slice = await until(() => world.slice("web-remote"));
    expect(slice.endpoints ?? []).toEqual([]);
    expect(await world.reason("GatewayAlive", "NoGateway")).toMatchObject({ status: "Unknown" });
  });
});

describe("a controller that starts", () => {
  test("removes the mirrors that no exported service stands for, and no others", async () => {
    await world.link();
    const first = await world.start();
    for (const name of ["one", "two", "three"]) await world.export(name);
    for (const name of ["one", "two", "three"]) await until(() => world.slice(`${name}-remote`));
    await first.stop();
    await world.target.delete(SERVICES, { namespace: world.namespace, name: "two" });
    const before = await world.fingerprint();
    await world.start();
    await until(async () => expect((await world.names()).services).toEqual(["one-remote", "three-remote"]));
    await until(async () => expect((await world.names()).slices).toHaveLength(2));
    const after = await world.fingerprint();
    for (const name of ["one", "three"]) {
      expect(after[`Service ${name}-remote`]).toBe(before[`Service ${name}-remote`]);
      expect(after[`EndpointSlice ${name}-remote-isthmus`]).toBe(
        before[`EndpointSlice ${name}-remote-isthmus`],
      );
    }
  });

  test("brings up to date what changed while none ran, and touches nothing else", async () => {
    await world.link();
    const first = await world.start();
    for (const name of ["changed", "same", "unexported"]) await world.export(name);
    for (const name of ["changed", "same", "unexported"]) await until(() => world.slice(`${name}-remote`));
    await first.stop();
    const remote = await world.export("changed", { annotations: { more: "1" } });
    await world.export("unexported", { labels: {} });
    await world.export("new");
    const before = await world.fingerprint();
    const second = await world.start();
    await until(() => world.slice("new-remote"));
    await until(async () => {
      const { annotations } = (await world.mirror("changed-remote")).metadata;
      expect(annotations?.["mirror.linkerd.io/remote-resource-version"]).toBe(
        remote.metadata.resourceVersion,
      );
    });
    await until(async () =>
      expect((await world.names()).services).toEqual(["changed-remote", "new-remote", "same-remote"]),
    );
    expect((await world.fingerprint())["Service same-remote"]).toBe(before["Service same-remote"]);
    expect(second.writes.filter((write) => write.includes("same-remote"))).toEqual([]);
  });

  test("removes a slice whose mirror is gone", async () => {
    await world.link();
    const first = await world.start();
    await world.export("web");
    const slice = await until(() => world.slice("web-remote"));
    await first.stop();
    const { namespace, name, labels = {}, annotations = {} } = slice.metadata;
    await world.source.create(ENDPOINT_SLICES, {
      ...slice,
      metadata: {
        ...(namespace && { namespace }),
        name: name.replace("web", "gone"),
        labels: { ...labels, "kubernetes.io/service-name": "gone-remote" },
        annotations,
      },
    });
    await world.start();
    await until(async () => expect((await world.names()).slices).toEqual(["web-remote-isthmus"]));
  });
});
