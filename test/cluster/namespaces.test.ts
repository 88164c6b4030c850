import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import type { LinkServiceStatus } from "../../contract/index.ts";
import { KubeClient, type RequestOptions } from "../../controller/kube/client.ts";
import type { Credentials } from "../../controller/kube/credentials.ts";
import { isNotFound } from "../../controller/kube/errors.ts";
import type { KubeObject, Namespace } from "../../controller/kube/objects.ts";
import { loadOwnCluster } from "../../controller/kube/own-cluster.ts";
import {
  CONFIG_MAPS,
  EVENTS,
  LEASES,
  LINKS,
  NAMESPACES,
  PODS,
  RESOURCE_QUOTAS,
  type Resource,
  SECRETS,
  SERVICE_ACCOUNTS,
  SERVICES,
} from "../../controller/kube/resource.ts";
import type { MirrorOptions } from "../../controller/mirror/main.ts";
import { kubeconfigPath } from "../../scripts/clusters/index.ts";
import { LeastPrivilege } from "./least-privilege.ts";
import { SLOW_MS, until } from "./until.ts";
import { CRDS, type RunningController, World } from "./world.ts";

const DEPLOYMENTS: Resource = { ...LEASES, group: "apps", plural: "deployments", kind: "Deployment" };
const ROLES: Resource = { ...LEASES, group: "rbac.authorization.k8s.io", plural: "roles", kind: "Role" };
const WIDGETS: Resource = {
  group: "isthmus.test",
  version: "v1",
  plural: "widgets",
  kind: "Widget",
  namespaced: true,
};

let world: World;
/** A namespace that the target has, and the source has not. */
let shop: string;
const controllers: RunningController[] = [];

beforeEach(async () => {
  world = await World.create();
  shop = `shop-${world.id}`;
  await world.createNamespace(world.target, shop);
});

afterEach(async () => {
  await Promise.all(controllers.splice(0).map((controller) => controller.stop()));
  for (const name of [shop, `${shop}-2`, `kube-${world.id}`]) {
    await world.source.delete(NAMESPACES, { name }).catch(unlessNotFound);
  }
  await world.destroy();
});

async function start(options: Partial<MirrorOptions> = {}): Promise<RunningController> {
  const controller = await world.start({ createNamespaces: true, ...options });
  controllers.push(controller);
  return controller;
}

/** A controller that has made the namespace `shop`, for a mirror that is in it. */
async function withShop(options: Partial<MirrorOptions> = {}): Promise<RunningController> {
  await world.link();
  const controller = await start(options);
  await world.export("web", { namespace: shop });
  await until(() => world.slice("web-remote", shop));
  return controller;
}

/** The last service of a namespace is no longer exported. */
async function withdraw(namespace = shop): Promise<void> {
  await world.export("web", { namespace, labels: {} });
}

function namespaceOf(name = shop): Promise<Namespace> {
  return world.source.get(NAMESPACES, { name });
}

async function gone(name = shop): Promise<void> {
  await until(() => expect(namespaceOf(name)).rejects.toMatchObject({ status: 404 }), SLOW_MS);
}

async function stands(name = shop): Promise<void> {
  expect((await namespaceOf(name)).metadata.deletionTimestamp).toBeUndefined();
}

async function event(reason: string): Promise<string> {
  return await until(async () => {
    const found = (await world.events()).find((each) => each.reason === reason);
    if (found === undefined) throw new Error(`there is no Event ${reason}`);
    return found.message ?? "";
  }, SLOW_MS);
}

async function outcome(namespace: string, reason: string): Promise<LinkServiceStatus> {
  return await until(async () => {
    const { services = [] } = (await world.getLink()).status ?? {};
    const found = services.find((each) => each.namespace === namespace);
    if (found?.reason !== reason) throw new Error(`${namespace} is ${JSON.stringify(found)}`);
    return found;
  });
}

/** Names of the quotas in a namespace of the source. */
async function quotas(namespace = shop): Promise<string[]> {
  const { items } = await world.source.list<KubeObject>(RESOURCE_QUOTAS, { namespace });
  return items.map(({ metadata }) => metadata.name);
}

/** What the controller wrote to a namespace itself, and to the quota in it. */
function about(controller: RunningController, namespace = shop): string[] {
  const own = new RegExp(`/namespaces/${namespace}($|/resourcequotas|\\?)`);
  return controller.writes.filter((write) => own.test(write));
}

/** Wait until the controller has looked at the namespace once more, which somebody has changed. */
async function looked(controller: RunningController, outcome = "success"): Promise<void> {
  const series = `isthmus_reconcile_duration_seconds_count{queue="namespaces",outcome="${outcome}"}`;
  const before = await controller.metric(series);
  const annotations = { "isthmus.test/time": String(Date.now()) };
  await world.source.patch(NAMESPACES, { name: shop }, { metadata: { annotations } }, { type: "merge" });
  await until(async () => expect(await controller.metric(series)).toBeGreaterThan(before));
}

/** Somebody's Secret in the namespace. */
function secret(): Promise<KubeObject> {
  return world.source.create(SECRETS, {
    apiVersion: "v1",
    kind: "Secret",
    metadata: { namespace: shop, name: "theirs" },
  });
}

async function removeLink(name = "remote"): Promise<void> {
  await world.source.delete(LINKS, { namespace: world.isthmus, name });
  await until(() => expect(world.getLink(name)).rejects.toMatchObject({ status: 404 }));
}

async function sourceCredentials(): Promise<Credentials> {
  const kubeconfig = process.env.ISTHMUS_TEST_KUBECONFIG ?? (await kubeconfigPath());
  return await loadOwnCluster({ kubeconfig, context: "source" });
}

function unlessNotFound(error: unknown): void {
  if (!isNotFound(error)) throw error;
}

describe("a namespace that an exported service wants", () => {
  test("is made, says for whom and by whom, and has the mirror at once", async () => {
    await withShop();
    expect((await namespaceOf()).metadata.labels).toEqual({
      "kubernetes.io/metadata.name": shop,
      "mirror.linkerd.io/mirrored-service": "true",
      "mirror.linkerd.io/cluster-name": "remote",
      "app.kubernetes.io/managed-by": "isthmus",
      "isthmus.dev/created-by": world.isthmus,
    });
    expect(await outcome(shop, "Mirrored")).toMatchObject({ name: "web", mirror: "web-remote" });
    expect(await event("NamespaceCreated")).toContain(`namespace ${shop} was made`);
    expect((await world.events()).map(({ reason }) => reason)).not.toContain("MissingNamespace");
  });

  test("is not made unless the controller was told to", async () => {
    await world.link();
    const controller = await start({ createNamespaces: false });
    await world.export("web", { namespace: shop });
    await outcome(shop, "MissingNamespace");
    await expect(namespaceOf()).rejects.toMatchObject({ status: 404 });
    expect(controller.writes.filter((write) => write.startsWith("POST /api/v1/namespaces?"))).toEqual([]);
  });

  test("is made again when somebody deletes it", async () => {
    await withShop();
    const before = await namespaceOf();
    await world.source.delete(NAMESPACES, { name: shop });
    await until(async () => {
      const after = await namespaceOf();
      expect(after.metadata.uid).not.toBe(before.metadata.uid);
      await world.slice("web-remote", shop);
    }, SLOW_MS);
    expect((await namespaceOf()).metadata.labels).toMatchObject({ "isthmus.dev/created-by": world.isthmus });
  });

  test("is not made by a name that Kubernetes keeps for itself", async () => {
    const name = `kube-${world.id}`;
    await world.createNamespace(world.target, name);
    await world.link();
    await start();
    await world.export("web", { namespace: name });
    expect((await outcome(name, "MissingNamespace")).message).toContain("kube-");
    await expect(namespaceOf(name)).rejects.toMatchObject({ status: 404 });
  });

  test("is not made for a service that can have no mirror", async () => {
    await world.link();
    await start();
    await world.export("web", { namespace: shop }, { type: "ExternalName", externalName: "example.com" });
    await outcome(shop, "InvalidService");
    await expect(namespaceOf()).rejects.toMatchObject({ status: 404 });
  });
});

describe("a namespace that was made goes", () => {
  test("with the last export in it, and no quota is written to others", async () => {
    const controller = await withShop();
    await world.export("api", { namespace: shop });
    await until(() => world.slice("api-remote", shop));
    await world.export("api", { namespace: shop, labels: {} });
    await until(() => expect(world.mirror("api-remote", shop)).rejects.toMatchObject({ status: 404 }));
    await stands();
    expect(about(controller)).toEqual([]);
    await withdraw();
    await gone();
    expect(await event("NamespaceRemoved")).toContain(shop);
    const named = controller.writes.filter((write) => write.includes("resourcequotas"));
    expect(named.every((write) => write.includes(`/namespaces/${shop}/`))).toBe(true);
  });

  test("after its Link, which does not wait for it", async () => {
    await withShop();
    await removeLink();
    await gone();
  });

  test("with the last of the Links that want it", async () => {
    await world.link();
    await world.link({}, "other");
    await start();
    await world.export("web", { namespace: shop });
    await until(() => world.slice("web-remote", shop));
    await until(() => world.slice("web-other", shop));
    const { uid } = (await namespaceOf()).metadata;
    await removeLink();
    await until(() => expect(world.mirror("web-remote", shop)).rejects.toMatchObject({ status: 404 }));
    expect((await namespaceOf()).metadata).toMatchObject({ uid });
    await stands();
    await world.slice("web-other", shop);
    await removeLink("other");
    await gone();
  });

  test("when it was left behind by a controller that had no time to remove it", async () => {
    const first = await withShop();
    await first.stop();
    await withdraw();
    await start();
    await gone();
  });

  test("with the Events in it", async () => {
    await withShop();
    await world.source.create(EVENTS, {
      apiVersion: "v1",
      kind: "Event",
      metadata: { namespace: shop, name: "something" },
      involvedObject: { kind: "Service", namespace: shop, name: "web-remote" },
      reason: "Something",
      message: "happened",
      type: "Normal",
    });
    await withdraw();
    await gone();
  });
});

describe("the rights that MirrorController gives", () => {
  let least: LeastPrivilege;
  beforeEach(() => {
    least = new LeastPrivilege(world);
  });
  afterEach(() => least.destroy());

  /** A client with these rights, those that `Link` adds, and no others. */
  async function asController(): Promise<KubeClient> {
    const credentials = await least.controller({ createNamespaces: true });
    await least.link({}, ["Role", "RoleBinding"]);
    return new KubeClient({ cluster: "source", credentials });
  }

  test("are enough to make a namespace, to see whether it is empty, and to remove it", async () => {
    const client = await asController();
    await withShop({ client });
    await withdraw();
    await gone();
    await client.close();
  });

  test("are not enough to read what others have in it", async () => {
    const client = await asController();
    await withShop({ client });
    for (const resource of [SECRETS, CONFIG_MAPS, PODS, SERVICE_ACCOUNTS, RESOURCE_QUOTAS])
      await expect(client.list(resource, { namespace: shop })).rejects.toMatchObject({ status: 403 });
    await expect(client.get(SECRETS, { namespace: shop, name: "a" })).rejects.toMatchObject({ status: 403 });
    await client.close();
  });
});

describe("a namespace that was made stays", () => {
  const named = { namespace: "", name: "theirs" };
  const pod = { containers: [{ name: "app", image: "app" }] };
  const selector = { matchLabels: { app: "theirs" } };
  const template = { metadata: { labels: selector.matchLabels }, spec: pod };
  test.each<[string, Resource, object]>([
    ["a Secret", SECRETS, { stringData: { a: "b" } }],
    ["a ConfigMap", CONFIG_MAPS, { data: { a: "b" } }],
    ["a ServiceAccount", SERVICE_ACCOUNTS, {}],
    ["a Service", SERVICES, { spec: { ports: [{ port: 80 }] } }],
    ["a Pod", PODS, { spec: pod }],
    ["a Deployment", DEPLOYMENTS, { spec: { replicas: 0, selector, template } }],
    ["a Role", ROLES, { rules: [] }],
    ["a Lease", LEASES, { spec: {} }],
    ["a ResourceQuota", RESOURCE_QUOTAS, { spec: { hard: { pods: "9" } } }],
  ])("with %s of somebody's in it", async (_, resource, content) => {
    const controller = await withShop();
    const { group, version, kind, plural } = resource;
    const object: KubeObject = {
      apiVersion: group === "" ? version : `${group}/${version}`,
      kind,
      metadata: { ...named, namespace: shop },
      ...content,
    };
    // A Pod needs the ServiceAccount that Kubernetes puts into every namespace.
    await until(() => world.source.create(resource, object));
    await withdraw();
    expect(await event("NamespaceKept")).toContain(`it holds ${plural}`);
    await stands();
    expect((await world.source.get(resource, { namespace: shop, name: "theirs" })).metadata).toBeDefined();
    expect(await quotas()).toEqual(kind === "ResourceQuota" ? ["theirs"] : []);
    const written = about(controller);
    await controller.stop();
    expect(written.filter((write) => write.startsWith("POST"))).toHaveLength(1);
  });

  test("and is not counted again and again", async () => {
    const controller = await withShop();
    await secret();
    await withdraw();
    await event("NamespaceKept");
    for (let times = 0; times < 5; times++) await looked(controller, "again");
    expect(about(controller).filter((write) => write.startsWith("POST"))).toHaveLength(1);
    expect(await quotas()).toEqual([]);
  });

  test("until it is empty after all, which is seen later", async () => {
    await withShop({ resyncMs: 300 });
    await secret();
    await withdraw();
    await event("NamespaceKept");
    await world.source.delete(SECRETS, { namespace: shop, name: "theirs" });
    await gone();
  });

  test("when the target's services are not known", async () => {
    const first = await withShop();
    await first.stop();
    await withdraw();
    await world.wire.cut();
    const controller = await start();
    await world.reason("Connected", "Unreachable");
    await world.source.delete(SERVICES, { namespace: shop, name: "web-remote" });
    // The slice goes with its Service.
    await until(async () => expect(await world.names(shop)).toEqual({ services: [], slices: [] }), SLOW_MS);
    for (let times = 0; times < 5; times++) await looked(controller);
    await stands();
    expect(about(controller)).toEqual([]);
    await world.wire.restore();
    await gone();
  });

  test("while another Link's services are not known", async () => {
    await world.putLink({ clusterCredentialsSecret: "none" }, "other");
    const controller = await withShop();
    await world.reason("Connected", "CredentialsMissing", "other");
    await withdraw();
    await until(() => expect(world.mirror("web-remote", shop)).rejects.toMatchObject({ status: 404 }));
    for (let times = 0; times < 5; times++) await looked(controller);
    await stands();
    expect(about(controller)).toEqual([]);
    await removeLink("other");
    await gone();
  });

  test("when somebody else made it, or took the label away", async () => {
    await world.createNamespace(world.source, `${shop}-2`);
    await world.createNamespace(world.target, `${shop}-2`);
    const controller = await withShop();
    await world.export("web", { namespace: `${shop}-2` });
    await until(() => world.slice("web-remote", `${shop}-2`));
    const labels = { "isthmus.dev/created-by": null };
    await world.source.patch(NAMESPACES, { name: shop }, { metadata: { labels } }, { type: "merge" });
    const third = `${shop}-3`;
    await world.createNamespace(world.target, third);
    await world.export("web", { namespace: third });
    await until(() => world.slice("web-remote", third));
    await removeLink();
    // This one is ours: when it is gone, all have had their turn.
    await gone(third);
    await stands();
    await stands(`${shop}-2`);
    expect([...about(controller), ...about(controller, `${shop}-2`)]).toEqual([]);
  });

  test("when it is one of Kubernetes' own, whatever its labels say", async () => {
    const label = (value: string | null) =>
      world.source.patch(
        NAMESPACES,
        { name: "kube-public" },
        { metadata: { labels: { "isthmus.dev/created-by": value } } },
        { type: "merge" },
      );
    const controller = await withShop();
    await label(world.isthmus);
    try {
      await removeLink();
      await gone();
      await stands("kube-public");
      expect(about(controller, "kube-public")).toEqual([]);
    } finally {
      await label(null);
    }
  });

  test("with an object of a type that came later than the controller", async () => {
    const schema = { type: "object", "x-kubernetes-preserve-unknown-fields": true };
    const crd: KubeObject = {
      apiVersion: "apiextensions.k8s.io/v1",
      kind: "CustomResourceDefinition",
      metadata: { name: "widgets.isthmus.test" },
      ...{
        spec: {
          group: "isthmus.test",
          scope: "Namespaced",
          names: { plural: "widgets", singular: "widget", kind: "Widget", listKind: "WidgetList" },
          versions: [{ name: "v1", served: true, storage: true, schema: { openAPIV3Schema: schema } }],
        },
      },
    };
    await withShop();
    await world.source.apply(CRDS, crd, { fieldManager: "isthmus-test", force: true });
    try {
      const widget = {
        apiVersion: "isthmus.test/v1",
        kind: "Widget",
        metadata: { namespace: shop, name: "theirs" },
      };
      await until(() => world.source.create(WIDGETS, widget));
      await withdraw();
      expect(await event("NamespaceKept")).toContain("widgets.isthmus.test");
      await stands();
    } finally {
      await world.source.delete(CRDS, { name: "widgets.isthmus.test" });
    }
  });
});

describe("between the last look and the end", () => {
  /** Does something just before the controller's first write that `when` picks. */
  class IntrudingClient extends KubeClient {
    when: (write: string) => boolean = () => false;
    intrude: () => Promise<void> = async () => undefined;

    override async request(method: string, url: string, options: RequestOptions = {}): Promise<unknown> {
      if (this.when(`${method} ${url}`)) {
        this.when = () => false;
        await this.intrude();
      }
      return await super.request(method, url, options);
    }
  }

  async function intruder(): Promise<IntrudingClient> {
    return new IntrudingClient({ cluster: "source", credentials: await sourceCredentials() });
  }

  test("the API server takes nothing into the namespace, so that nothing is lost with it", async () => {
    const client = await intruder();
    const refusals: string[] = [];
    client.when = (write) => write === `DELETE /api/v1/namespaces/${shop}`;
    client.intrude = () =>
      secret().then(
        () => void refusals.push("it was taken"),
        (error: Error) => void refusals.push(error.message),
      );
    await withShop({ client });
    await withdraw();
    await gone();
    expect(refusals).toEqual([expect.stringContaining("exceeded quota: isthmus-emptiness")]);
    await client.close();
  });

  test("an object made as it was about to close is found, and all stays", async () => {
    const client = await intruder();
    client.when = (write) => write.startsWith("PUT") && write.includes("resourcequotas");
    client.intrude = async () => void (await secret());
    await withShop({ client });
    await withdraw();
    expect(await event("NamespaceKept")).toContain("it holds secrets (1)");
    await stands();
    expect(await quotas()).toEqual([]);
    await client.close();
  });

  test("an export that comes back finds its way", async () => {
    const client = await intruder();
    client.when = (write) => write === `DELETE /api/v1/namespaces/${shop}`;
    client.intrude = async () => void (await world.export("web", { namespace: shop }));
    await withShop({ client });
    await withdraw();
    await event("NamespaceRemoved");
    await until(() => world.slice("web-remote", shop), SLOW_MS);
    await client.close();
  });

  test("a controller that was killed then leaves nothing closed to the next", async () => {
    const first = await withShop();
    await first.stop();
    await world.source.create(RESOURCE_QUOTAS, {
      apiVersion: "v1",
      kind: "ResourceQuota",
      metadata: {
        namespace: shop,
        name: "isthmus-emptiness",
        labels: { "app.kubernetes.io/managed-by": "isthmus", "isthmus.dev/created-by": world.isthmus },
      },
      spec: { hard: { "count/services": "0", "count/secrets": "0" } },
    });
    await world.export("api", { namespace: shop });
    await start();
    await until(async () => expect(await quotas()).toEqual([]));
    await until(() => world.slice("api-remote", shop), SLOW_MS);
  });
});
