import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import type { EndpointSlice, Service } from "../../controller/kube/objects.ts";
import { ENDPOINT_SLICES, LINKS, type Resource, SERVICES } from "../../controller/kube/resource.ts";
import { startApiServer, stopApiServer } from "../../scripts/clusters/index.ts";
import { until } from "./until.ts";
import { type RunningController, World } from "./world.ts";

const QUOTAS: Resource = {
  group: "",
  version: "v1",
  plural: "resourcequotas",
  kind: "ResourceQuota",
  namespaced: true,
};

const WEBHOOKS: Resource = {
  group: "admissionregistration.k8s.io",
  version: "v1",
  plural: "validatingwebhookconfigurations",
  kind: "ValidatingWebhookConfiguration",
  namespaced: false,
};

let world: World;
beforeEach(async () => {
  world = await World.create();
});
afterEach(() => world.destroy());

/** Make a Service of the source that is not ours. */
function foreign(name: string, metadata: Partial<Service["metadata"]> = {}): Promise<Service> {
  return world.source.create(SERVICES, {
    apiVersion: "v1",
    kind: "Service",
    metadata: { namespace: world.namespace, name, ...metadata },
    spec: { selector: { app: name }, ports: [{ port: 80 }] },
  });
}

/** Export services and wait for their mirrors. */
async function mirrored(...names: string[]): Promise<void> {
  for (const name of names) await world.export(name);
  for (const name of names) await until(() => world.slice(`${name}-remote`));
}

/** Wait until the controller has looked at everything again, so and so many times over. */
async function looks(controller: RunningController, times: number): Promise<void> {
  const series = 'isthmus_reconcile_duration_seconds_count{queue="mirrors",outcome="success"}';
  const before = await controller.metric(series);
  await until(async () => expect(await controller.metric(series)).toBeGreaterThanOrEqual(before + times));
}

/** The writes to Services and slices. */
function ofMirrors(writes: string[]): string[] {
  return writes.filter((write) => /services|endpointslices/.test(write));
}

async function deleteLink(name = "remote"): Promise<void> {
  await world.source.delete(LINKS, { namespace: world.isthmus, name });
}

async function linkGone(name = "remote"): Promise<void> {
  await until(async () => expect(world.getLink(name)).rejects.toMatchObject({ status: 404 }));
}

describe("law 1: what is not ours is not touched", () => {
  test.each([
    ["somebody's", {}],
    [
      "another mirroring's",
      {
        labels: { "mirror.linkerd.io/mirrored-service": "true", "mirror.linkerd.io/cluster-name": "remote" },
      },
    ],
    [
      "another Isthmus's",
      { labels: { "app.kubernetes.io/managed-by": "isthmus", "isthmus.dev/link": "other.remote" } },
    ],
  ])(
    "%s Service with a mirror's name stays as it is, through export, unexport and the Link's end",
    async (_, metadata) => {
      const theirs = await foreign("web-remote", metadata);
      await world.link();
      await world.start();
      await world.export("web");
      await mirrored("api");
      expect(await world.serviceReason("web", "NameConflict")).toMatchObject({ mirrored: false });
      await until(async () =>
        expect((await world.events()).map(({ reason }) => reason)).toContain("NameConflict"),
      );
      await world.export("web", { labels: {} });
      await until(async () => expect((await world.getLink()).status?.services).toHaveLength(1));
      await world.export("web");
      await world.serviceReason("web", "NameConflict");
      await deleteLink();
      await linkGone();
      expect(await world.mirror("web-remote")).toEqual(theirs);
      expect((await world.names()).services).toEqual(["web-remote"]);
    },
  );

  test("a slice with a mirror's slice's name stays as it is", async () => {
    const theirs = await world.source.create(ENDPOINT_SLICES, {
      apiVersion: "discovery.k8s.io/v1",
      kind: "EndpointSlice",
      metadata: { namespace: world.namespace, name: "web-remote-isthmus" },
      addressType: "IPv4",
      endpoints: [],
    });
    await world.link();
    await world.start();
    await world.export("web");
    await world.serviceReason("web", "NameConflict");
    expect(await world.slice("web-remote")).toEqual(theirs);
  });

  test("a mirror that somebody made theirs by removing our label is left to them", async () => {
    await world.link();
    await world.start();
    await mirrored("web");
    const ref = { namespace: world.namespace, name: "web-remote" };
    const labels = { "isthmus.dev/link": null };
    const theirs = await world.source.patch<Service>(
      SERVICES,
      ref,
      { metadata: { labels } },
      { type: "merge" },
    );
    await world.serviceReason("web", "NameConflict");
    await world.export("web", { labels: {} });
    await until(async () => expect((await world.getLink()).status?.services).toEqual([]));
    expect(await world.mirror("web-remote")).toEqual(theirs);
  });

  test("a name that becomes free is taken at the next change", async () => {
    await foreign("web-remote");
    await world.link();
    await world.start();
    await world.export("web");
    await world.serviceReason("web", "NameConflict");
    await world.source.delete(SERVICES, { namespace: world.namespace, name: "web-remote" });
    await world.export("web", { annotations: { changed: "1" } });
    await world.serviceReason("web", "Mirrored");
    expect((await world.mirror("web-remote")).spec?.selector).toBeUndefined();
  });
});

describe("law 2: no mirror goes before the target's list is complete", () => {
  test("a target that cannot be reached keeps its mirrors, also over a restart; back again, what is gone goes", async () => {
    await world.link();
    const first = await world.start();
    await mirrored("kept", "gone");
    const before = await world.fingerprint();
    await world.wire.cut();
    await until(async () =>
      expect(await world.condition("Connected")).toMatchObject({
        status: "False",
        reason: "Unreachable",
        message: expect.stringContaining("refused"),
      }),
    );
    await world.target.delete(SERVICES, { namespace: world.namespace, name: "gone" });
    await first.stop();
    const second = await world.start({ resyncMs: 50 });
    await looks(second, 20);
    expect(ofMirrors(second.writes)).toEqual([]);
    const after = await world.fingerprint();
    for (const name of ["kept", "gone"]) {
      expect(after[`Service ${name}-remote`]).toBe(before[`Service ${name}-remote`]);
      expect(after[`EndpointSlice ${name}-remote-isthmus`]).toBe(
        before[`EndpointSlice ${name}-remote-isthmus`],
      );
    }
    await world.wire.restore();
    await until(async () => expect((await world.names()).services).toEqual(["kept-remote"]));
    await world.reason("Connected", "Connected");
  });

  test("a stopped API server of the target takes no mirror with it", async () => {
    await world.link();
    const controller = await world.start({ resyncMs: 50 });
    await mirrored("web");
    const before = await world.fingerprint();
    await stopApiServer("target");
    try {
      await world.reason("Connected", "Unreachable");
      await looks(controller, 5);
      expect((await world.fingerprint())["Service web-remote"]).toBe(before["Service web-remote"]);
    } finally {
      await startApiServer("target");
    }
    // A watch that failed for long is tried again every half minute.
    await until(() => world.reason("Connected", "Connected"), 90_000);
    await mirrored("more");
    expect((await world.fingerprint())["Service web-remote"]).toBe(before["Service web-remote"]);
  });

  test("half a list deletes nothing", async () => {
    await world.link();
    const first = await world.start();
    const names = Array.from({ length: 20 }, (_, i) => `web-${i}`);
    for (const name of names) await world.export(name, { annotations: { padding: "x".repeat(3_000) } });
    for (const name of names) await until(() => world.slice(`${name}-remote`));
    await first.stop();
    await world.wire.cut();
    await world.wire.restore({ bytes: 30_000 });
    const second = await world.start({ resyncMs: 50 });
    await world.reason("Connected", "Unreachable");
    await looks(second, 40);
    expect(ofMirrors(second.writes)).toEqual([]);
    expect((await world.names()).services).toHaveLength(20);
    await world.wire.restore();
    await world.reason("Connected", "Connected");
    expect((await world.names()).services).toHaveLength(20);
  });

  test("nor do endpoints change before the target's are known", async () => {
    await world.putEgressPod("10.1.0.9");
    await world.link();
    const first = await world.start();
    const exported = { "mirror.linkerd.io/exported": "true" };
    const labels = { ...exported, "mirror.linkerd.io/federated": "member" };
    await world.putSlice(await world.export("idle", { labels }), []);
    const db = await world.export("db", {}, { clusterIP: "None", ports: [{ name: "sql", port: 5432 }] });
    await world.putSlice(db, [{ addresses: ["10.9.0.1"], hostname: "db-0", conditions: { ready: true } }]);
    for (const [mirror, ready] of Object.entries({
      "idle-remote": false,
      "idle-federated": false,
      "db-remote": true,
    }))
      await until(async () =>
        expect((await world.slicesOf(mirror)).flatMap(({ endpoints }) => endpoints)).toMatchObject([
          { conditions: { ready } },
        ]),
      );
    await world.reason("Synced", "Synced");
    await first.stop();

    await world.grantServicesOnly();
    const second = await world.start({ resyncMs: 50 });
    await world.reason("Connected", "Forbidden");
    await looks(second, 20);
    expect(ofMirrors(second.writes)).toEqual([]);
    await world.grant(true);
    await world.reason("Connected", "Connected");
    await looks(second, 20);
    expect(ofMirrors(second.writes)).toEqual([]);
  });

  test("slices follow the gateway while the target cannot be asked", async () => {
    await world.link();
    const first = await world.start({ dataPlane: "linkerd" });
    await mirrored("web");
    await first.stop();
    await world.wire.cut();
    await world.start({ dataPlane: "linkerd" });
    await world.putLink({ gatewayAddresses: ["192.0.2.200"] });
    await until(async () => {
      const { endpoints } = await world.slice("web-remote");
      expect(endpoints?.flatMap(({ addresses }) => addresses)).toEqual(["192.0.2.200"]);
    });
  });
});

describe("law 3: order never matters", () => {
  test("Secret, Link, namespace and service in any order end in the same mirror", async () => {
    await world.start();
    const kubeconfig = await world.kubeconfig();
    const orders = permutations(["secret", "link", "namespace", "service"] as const);
    expect(orders).toHaveLength(24);
    await Promise.all(
      orders.map(async (order, i) => {
        const namespace = `order-${i}-${world.id}`;
        await world.createNamespace(world.target, namespace);
        const selector = { matchLabels: { order: `${i}-${world.id}` } };
        const steps = {
          secret: () => world.putCredentials(kubeconfig, `c${i}`),
          link: () => world.putLink({ selector }, `c${i}`),
          namespace: () => world.createNamespace(world.source, namespace),
          service: () => world.export("web", { namespace, labels: { order: `${i}-${world.id}` } }),
        };
        for (const step of order) await steps[step]();
        const slice = await until(() => world.slice(`web-c${i}`, namespace));
        expect((await world.names(namespace)).services).toEqual([`web-c${i}`]);
        expect(slice.ports).toEqual([{ name: "http", protocol: "TCP", port: expect.any(Number) }]);
        const condition = await world.reason("Synced", "Synced", `c${i}`);
        expect(condition.status).toBe("True");
      }),
    );
  });
});

describe("law 4: nothing to change, nothing written", () => {
  test("looking at everything again and again writes nothing, refusals included", async () => {
    await foreign("taken-remote");
    await world.link();
    const controller = await world.start({ resyncMs: 50 });
    await mirrored("one", "two", "three");
    await world.export("taken");
    await world.export("odd", {}, { type: "ExternalName", externalName: "example.com" });
    await world.serviceReason("taken", "NameConflict");
    await world.serviceReason("odd", "InvalidService");
    await until(async () => expect(await world.events()).toHaveLength(3));
    await world.reason("Synced", "ServicesFailed");
    const { length } = controller.writes;
    const before = await world.fingerprint();
    await looks(controller, 100);
    expect(controller.writes.slice(length)).toEqual([]);
    expect(await world.fingerprint()).toEqual(before);
  });

  test("a controller that starts over finds everything as it should be", async () => {
    await world.link();
    const first = await world.start();
    await mirrored("one", "two");
    await world.reason("Synced", "Synced");
    await first.stop();
    const before = await world.fingerprint();
    const second = await world.start({ resyncMs: 50 });
    await until(async () =>
      expect(await second.metric('isthmus_link_connected{target_cluster_name="remote"}')).toBe(1),
    );
    await looks(second, 20);
    expect(second.writes).toEqual([]);
    expect(await world.fingerprint()).toEqual(before);
  });
});

describe("law 5: never give up", () => {
  test("a mirror that the source refuses is made once it no longer does", async () => {
    const quota = {
      apiVersion: "v1",
      kind: "ResourceQuota",
      metadata: { namespace: world.namespace, name: "none" },
      spec: { hard: { services: "0" } },
    };
    await world.source.create(QUOTAS, quota);
    await until(async () => {
      const read = await world.source.get(QUOTAS, quota.metadata);
      expect(read).toMatchObject({ status: { hard: { services: "0" } } });
    });
    await world.link();
    await world.start();
    await world.export("web");
    expect(await world.serviceReason("web", "Refused")).toMatchObject({
      message: expect.stringContaining("exceeded quota"),
    });
    await world.source.delete(QUOTAS, quota.metadata);
    await until(async () => {
      await world.export("web", { annotations: { again: String(Date.now()) } });
      expect((await world.mirror("web-remote")).metadata.name).toBe("web-remote");
    });
    await world.serviceReason("web", "Mirrored");
  });

  test("a mirror that fails time and again is made once it can be, though nothing else has changed", async () => {
    const failing = {
      apiVersion: "admissionregistration.k8s.io/v1",
      kind: "ValidatingWebhookConfiguration",
      metadata: { name: `failing-${world.id}` },
      webhooks: [
        {
          name: "failing.isthmus.test",
          // Where nobody listens: an error of the server, which may pass.
          clientConfig: { url: "https://127.0.0.1:1/" },
          rules: [{ apiGroups: [""], apiVersions: ["v1"], operations: ["CREATE"], resources: ["services"] }],
          namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": world.namespace } },
          failurePolicy: "Fail",
          sideEffects: "None",
          admissionReviewVersions: ["v1"],
        },
      ],
    };
    await world.source.create(WEBHOOKS, failing);
    try {
      let tries = 0;
      await until(() => expect(foreign(`try-${tries++}`)).rejects.toMatchObject({ status: 500 }));
      await world.link();
      const controller = await world.start();
      await world.export("web");
      const failures = 'isthmus_reconcile_duration_seconds_count{queue="mirrors",outcome="error"}';
      await until(async () => expect(await controller.metric(failures)).toBeGreaterThanOrEqual(8));
    } finally {
      await world.source.delete(WEBHOOKS, failing.metadata);
    }
    await until(() => world.slice("web-remote"));
  });
});

describe("law 6: hand edits do not last", () => {
  beforeEach(async () => {
    await world.link();
    await world.start();
    await mirrored("web");
  });

  test.each([
    ["another port", { spec: { ports: [{ name: "http", port: 81 }] } }],
    ["a selector", { spec: { selector: { app: "mine" } } }],
    ["another type", { spec: { type: "NodePort" } }],
    [
      "a name elsewhere",
      { spec: { type: "ExternalName", externalName: "evil.example.com", clusterIP: "", clusterIPs: null } },
    ],
    ["external addresses", { spec: { externalIPs: ["192.0.2.66"] } }],
    [
      "no word of where it comes from",
      {
        metadata: {
          annotations: {
            "mirror.linkerd.io/remote-resource-version": null,
            "mirror.linkerd.io/remote-svc-fq-name": null,
            "isthmus.dev/remote-service": null,
          },
        },
      },
    ],
    ["other egress ports", { metadata: { annotations: { "isthmus.dev/egress-ports": "80=20000" } } }],
    [
      "a label more, and one less",
      { metadata: { labels: { more: "1", "mirror.linkerd.io/cluster-name": null } } },
    ],
  ])("a mirror given %s is put right", async (_, patch) => {
    const before = await world.mirror("web-remote");
    const ref = { namespace: world.namespace, name: "web-remote" };
    await world.source.patch(SERVICES, ref, patch, { type: "merge" });
    await until(async () => {
      const after = await world.mirror("web-remote");
      expect(after.metadata.labels).toEqual(before.metadata.labels);
      expect(after.metadata.annotations).toEqual(before.metadata.annotations);
      expect(after.spec).toEqual({ ...before.spec, ...addressOf(after) });
    });
  });

  test("a slice like the one that Kubernetes leaves for a mirror that had a selector is removed", async () => {
    const { labels } = (await world.slice("web-remote")).metadata;
    await world.source.create(ENDPOINT_SLICES, {
      apiVersion: "discovery.k8s.io/v1",
      kind: "EndpointSlice",
      metadata: {
        name: "web-remote-x7k2p",
        namespace: world.namespace,
        labels: { ...labels, "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io" },
      },
      addressType: "IPv4",
      ports: [{ name: "http", port: 80 }],
      endpoints: [{ addresses: ["192.0.2.66"] }],
    });
    await until(async () => expect((await world.names()).slices).toEqual(["web-remote-isthmus"]));
  });

  test("a slice that was led elsewhere is put right", async () => {
    const before = await world.slice("web-remote");
    const ref = { namespace: world.namespace, name: "web-remote-isthmus" };
    const patch = { endpoints: [{ addresses: ["192.0.2.66"] }], ports: [{ name: "http", port: 1 }] };
    await world.source.patch(ENDPOINT_SLICES, ref, patch, { type: "merge" });
    await until(async () => expect(content(await world.slice("web-remote"))).toEqual(content(before)));
  });

  test("a slice that was given to another service comes back, and the other is rid of it", async () => {
    const ref = { namespace: world.namespace, name: "web-remote-isthmus" };
    const labels = { "kubernetes.io/service-name": "other" };
    await world.source.patch(ENDPOINT_SLICES, ref, { metadata: { labels } }, { type: "merge" });
    await until(async () => {
      const slice = await world.slice("web-remote");
      expect(slice.metadata.labels).toMatchObject({ "kubernetes.io/service-name": "web-remote" });
    });
  });

  test("a deleted mirror comes back on the same egress ports", async () => {
    const before = await world.mirror("web-remote");
    const slice = await world.slice("web-remote");
    await world.source.delete(SERVICES, { namespace: world.namespace, name: "web-remote" });
    await until(async () => {
      const after = await world.mirror("web-remote");
      expect(after.metadata.uid).not.toBe(before.metadata.uid);
      expect(after.metadata.annotations).toEqual(before.metadata.annotations);
      const renewed = await world.slice("web-remote");
      expect(content(renewed)).toEqual(content(slice));
      expect(renewed.metadata.ownerReferences).toMatchObject([{ uid: after.metadata.uid }]);
    });
  });

  test("a deleted slice comes back", async () => {
    const before = await world.slice("web-remote");
    await world.source.delete(ENDPOINT_SLICES, { namespace: world.namespace, name: "web-remote-isthmus" });
    await until(async () => expect(content(await world.slice("web-remote"))).toEqual(content(before)));
  });
});

describe("law 8: no loops", () => {
  test("a mirror is not mirrored, even by a selector whose label it has, and its Link is in order all the same", async () => {
    // A Link from the source to itself would turn x into x-self, that into x-self-self, and so on.
    await world.putCredentials(await world.kubeconfigOfSource(), "self");
    await world.putLink({ selector: { matchLabels: { share: world.id } } }, "self");
    await world.start();
    await foreign("x", { labels: { share: world.id } });
    const mirror = await until(() => world.mirror("x-self"));
    expect(mirror.metadata.labels).toMatchObject({ share: world.id });
    await world.serviceReason("x-self", "MirrorOfMirror", "self");
    await world.reason("Synced", "Synced", "self");
    expect((await world.names()).services).toEqual(["x", "x-self"]);
  });

  test("a mirror of Linkerd's in the target is not mirrored", async () => {
    await world.link();
    await world.start();
    const labels = { "mirror.linkerd.io/exported": "true", "mirror.linkerd.io/mirrored-service": "true" };
    await world.export("web-other", { labels });
    await world.serviceReason("web-other", "MirrorOfMirror");
    expect((await world.names()).services).toEqual([]);
  });
});

describe("law 11: a deleted Link cleans up", () => {
  test("even when its target is gone, and leaves the mirrors of other Links", async () => {
    await world.link();
    await world.link({}, "other");
    await world.start();
    await mirrored("web", "api");
    await until(() => world.slice("api-other"));
    await world.wire.cut();
    await world.reason("Connected", "Unreachable");
    await deleteLink();
    await linkGone();
    expect(await world.names()).toEqual({
      services: ["api-other", "web-other"],
      slices: ["api-other-isthmus", "web-other-isthmus"],
    });
  });

  test("when it was deleted while no controller ran", async () => {
    await world.link();
    const first = await world.start();
    await mirrored("web");
    await first.stop();
    await deleteLink();
    expect((await world.getLink()).metadata.deletionTimestamp).toBeDefined();
    await world.start();
    await linkGone();
    expect(await world.names()).toEqual({ services: [], slices: [] });
  });

  test("and goes though one of its mirrors was taken over by hand while no controller ran", async () => {
    await world.link();
    const first = await world.start();
    await world.export("web");
    await until(() => world.slice("web-remote"));
    await first.stop();
    await world.source.patch(
      SERVICES,
      { namespace: world.namespace, name: "web-remote" },
      { metadata: { labels: { "isthmus.dev/link": null } } },
      { type: "merge" },
    );
    await world.deleteLink();
    await world.start();
    await until(async () => await expect(world.getLink()).rejects.toMatchObject({ status: 404 }));
    expect(await world.names()).toEqual({ services: ["web-remote"], slices: [] });
  });

  test("while its services are still being mirrored", async () => {
    await world.link();
    for (let i = 0; i < 30; i++) await world.export(`web-${i}`);
    await world.start();
    await until(() => world.mirror("web-0-remote"));
    await deleteLink();
    await linkGone();
    expect(await world.names()).toEqual({ services: [], slices: [] });
  });
});

describe("law 12: ambiguity is told, not fought over", () => {
  test("of two services with one mirror name the older Link's is mirrored; the other takes over when it goes", async () => {
    await world.link({}, "b-c");
    await world.link({}, "c");
    const controller = await world.start({ resyncMs: 50 });
    await world.export("a", {}, { ports: [{ name: "first", port: 1 }] });
    await world.export("a-b", {}, { ports: [{ name: "second", port: 2 }] });
    await world.serviceReason("a", "Mirrored", "b-c");
    expect(await world.serviceReason("a-b", "NameConflict", "c")).toMatchObject({
      message: expect.stringContaining(
        `service ${world.namespace}/a of cluster b-c has a mirror of the same name`,
      ),
    });
    await until(async () => expect((await world.names()).services).toEqual(["a-b-b-c", "a-b-c", "a-c"]));
    // All that there is to write is written by then.
    await world.reason("Synced", "Synced", "b-c");
    await world.reason("Synced", "ServicesFailed", "c");
    await until(async () => {
      const told = (await world.events()).map(
        ({ involvedObject, reason }) => `${involvedObject?.name} ${reason}`,
      );
      expect(told).toEqual(expect.arrayContaining(["b-c Connected", "c Connected", "c NameConflict"]));
    });
    const { length } = controller.writes;
    await looks(controller, 50);
    expect(controller.writes.slice(length)).toEqual([]);
    await world.export("a", { labels: {} });
    await world.serviceReason("a-b", "Mirrored", "c");
    expect((await world.mirror("a-b-c")).spec?.ports).toMatchObject([{ name: "second", port: 2 }]);
  });
});

/** What the API server chose anew for a mirror that had to be made into something else for a moment. */
function addressOf(service: Service): Service["spec"] {
  const { clusterIP, clusterIPs } = service.spec ?? {};
  return { clusterIP: clusterIP!, clusterIPs: clusterIPs! };
}

function content({ metadata: { labels, annotations }, endpoints, ports }: EndpointSlice): unknown {
  return { labels, annotations, endpoints, ports };
}

function permutations<T>(items: readonly T[]): T[][] {
  if (items.length <= 1) return [[...items]];
  return items.flatMap((first, i) =>
    permutations([...items.slice(0, i), ...items.slice(i + 1)]).map((rest) => [first, ...rest]),
  );
}
