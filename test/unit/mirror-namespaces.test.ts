import { afterEach, describe, expect, test } from "@jest/globals";
import type { Link } from "../../contract/index.ts";
import { KubeClient } from "../../controller/kube/client.ts";
import { silentLog } from "../../controller/kube/log.ts";
import type { Namespace, ResourceQuota } from "../../controller/kube/objects.ts";
import { NAMESPACES, RESOURCE_QUOTAS } from "../../controller/kube/resource.ts";
import { Claims } from "../../controller/mirror/claims.ts";
import {
  type ApiVersion,
  aggregatedVersions,
  readApiTypes,
  selectTypes,
} from "../../controller/mirror/namespaces/api-types.ts";
import { desiredNamespace, isMadeBy, isReserved } from "../../controller/mirror/namespaces/desired.ts";
import { MAX_NAMESPACES, MirrorNamespaces } from "../../controller/mirror/namespaces/namespaces.ts";
import {
  closedQuota,
  isClosed,
  isOurQuota,
  judge,
  openQuota,
  typesOf,
} from "../../controller/mirror/namespaces/quota.ts";
import { SourceCluster } from "../../controller/mirror/source.ts";
import { Target } from "../../controller/mirror/target/target.ts";
import { SourceWriter } from "../../controller/mirror/writer.ts";
import { FakeApi } from "../support/fake-api.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { aLink, anExport, standalone } from "../support/mirror-objects.ts";

const STANDARD = { configmaps: 1, serviceaccounts: 1 };
const TYPES = ["configmaps", "deployments.apps", "resourcequotas", "secrets", "serviceaccounts"];
const EMPTY = {
  "count/configmaps": "1",
  "count/deployments.apps": "0",
  "count/resourcequotas": "1",
  "count/secrets": "0",
  "count/serviceaccounts": "1",
};

/** A quota that Kubernetes has reckoned with. */
function counted(changes: Record<string, string | undefined> = {}): ResourceQuota {
  const quota = openQuota("shop", "isthmus", TYPES);
  const used = Object.entries({ ...EMPTY, ...changes }).filter(([, count]) => count !== undefined);
  const hard = { ...quota.spec?.hard };
  return { ...quota, status: { hard, used: Object.fromEntries(used) as Record<string, string> } };
}

describe("the count of what is in a namespace", () => {
  test("is empty with what every namespace has, and the quota itself", () => {
    expect(judge(counted(), STANDARD)).toEqual({ state: "empty" });
  });

  test.each([
    ["a Secret", { "count/secrets": "1" }, ["secrets (1)"]],
    ["a Deployment", { "count/deployments.apps": "12" }, ["deployments.apps (12)"]],
    ["a ConfigMap more", { "count/configmaps": "2" }, ["configmaps (2)"]],
    ["a thousand, as Kubernetes writes it", { "count/secrets": "1k" }, ["secrets (1k)"]],
    ["another quota", { "count/resourcequotas": "2" }, ["resourcequotas (2)"]],
  ])("says that it is used with %s", (_, changes, held) => {
    expect(judge(counted(changes), STANDARD)).toEqual({ state: "used", held });
  });

  test("takes a ConfigMap for somebody's where Kubernetes has put none there", () => {
    expect(judge(counted(), { ...STANDARD, configmaps: 0 })).toEqual({
      state: "used",
      held: ["configmaps (1)"],
    });
  });

  test("says nothing before Kubernetes has counted, or while it reckons with other limits", () => {
    expect(judge(openQuota("shop", "isthmus", TYPES), STANDARD)).toEqual({ state: "counting" });
    const closed = closedQuota(counted(), STANDARD);
    expect(judge(closed, STANDARD)).toEqual({ state: "counting" });
    expect(judge({ ...counted(), status: {} }, STANDARD)).toEqual({ state: "counting" });
  });

  test("is not known where a type is not counted, or fewer were than there are", () => {
    expect(judge(counted({ "count/secrets": undefined }), STANDARD)).toEqual({
      state: "unknown",
      types: ["secrets"],
    });
    expect(judge(counted({ "count/configmaps": "0" }), STANDARD)).toEqual({
      state: "unknown",
      types: ["configmaps"],
    });
    const both = counted({ "count/secrets": undefined, "count/deployments.apps": "1" });
    expect(judge(both, STANDARD)).toEqual({ state: "used", held: ["deployments.apps (1)"] });
  });
});

describe("the quota", () => {
  test("hinders nobody while it is open, and lets nothing in once it is closed", () => {
    const open = counted();
    expect(new Set(Object.values(open.spec?.hard ?? {}))).toEqual(new Set(["1000000000"]));
    expect(isClosed(open)).toBe(false);
    const closed = closedQuota(open, STANDARD);
    expect(closed.spec?.hard).toEqual(EMPTY);
    expect(closed.metadata).toEqual(open.metadata);
    expect(isClosed(closed)).toBe(true);
    expect(typesOf(closed)).toEqual(TYPES);
  });

  test("is known by its labels: another Isthmus', or somebody's of that name, is not ours", () => {
    expect(isOurQuota(openQuota("shop", "isthmus", TYPES), "isthmus")).toBe(true);
    expect(isOurQuota(openQuota("shop", "other", TYPES), "isthmus")).toBe(false);
    const theirs = { ...openQuota("shop", "isthmus", TYPES), metadata: { name: "isthmus-emptiness" } };
    expect(isOurQuota(theirs, "isthmus")).toBe(false);
  });
});

describe("the types that a namespace can hold", () => {
  const version = (group: string, name: string, changes: object = {}): ApiVersion => ({
    group,
    resources: [{ name, namespaced: true, verbs: ["create", "get", "list", "watch"], ...changes }],
  });

  test("are those that are stored there, of every version of every group", () => {
    const all = [
      version("", "secrets"),
      version("apps", "deployments"),
      version("", "pods/status"),
      version("", "nodes", { namespaced: false }),
      version("", "bindings", { verbs: ["create"] }),
      version("packages.operators.coreos.com", "packagemanifests", { verbs: ["get", "list"] }),
      version("example.com", "widgets"),
      version("example.com", "gadgets"),
      version("example.com", "widgets"),
    ];
    const types = ["deployments.apps", "gadgets.example.com", "secrets", "widgets.example.com"];
    expect(selectTypes(all)).toEqual({ types, unknown: [] });
  });

  test("leave out Events, which nobody counts, and measurements, of which none is stored", () => {
    const all = [
      version("", "events"),
      version("events.k8s.io", "events"),
      { group: "metrics.k8s.io", stale: true, resources: [] },
      { group: "custom.metrics.k8s.io", stale: true, resources: [] },
    ];
    expect(selectTypes(all)).toEqual({ types: [], unknown: [] });
  });

  test("are not known while a group does not answer", () => {
    const all = [version("", "secrets"), { group: "example.com", stale: true, resources: [] }];
    expect(selectTypes(all)).toEqual({ types: ["secrets"], unknown: ["example.com"] });
  });

  test("are read from one document where the server has it", () => {
    const item = (name: string | undefined, freshness: string) => ({
      metadata: name === undefined ? {} : { name },
      versions: [
        {
          version: "v1",
          freshness,
          resources: [{ resource: "things", scope: "Namespaced", verbs: ["create", "list"] }],
        },
      ],
    });
    const answer = {
      kind: "APIGroupDiscoveryList",
      items: [item(undefined, "Current"), item("example.com", "Stale")],
    };
    const resources = [{ name: "things", namespaced: true, verbs: ["create", "list"] }];
    expect(aggregatedVersions(answer)).toEqual([
      { group: "", stale: false, resources },
      { group: "example.com", stale: true, resources },
    ]);
    expect(aggregatedVersions({ kind: "APIGroupList", groups: [] })).toBeUndefined();
  });

  test("are read group by group from a server that is older", async () => {
    const answers: Record<string, unknown> = {
      "/api": { kind: "APIVersions", versions: ["v1"] },
      "/api/v1": { resources: [{ name: "secrets", namespaced: true, verbs: ["create", "get"] }] },
      "/apis": {
        kind: "APIGroupList",
        groups: [
          {
            name: "example.com",
            versions: [{ groupVersion: "example.com/v1" }, { groupVersion: "example.com/v2" }],
          },
        ],
      },
      "/apis/example.com/v1": { resources: [{ name: "olds", namespaced: true, verbs: ["create", "get"] }] },
      "/apis/example.com/v2": { resources: [{ name: "news", namespaced: true, verbs: ["create", "get"] }] },
    };
    const client = { request: async (_: string, url: string) => answers[url] } as unknown as KubeClient;
    expect(await readApiTypes(client, new AbortController().signal)).toEqual({
      types: ["news.example.com", "olds.example.com", "secrets"],
      unknown: [],
    });
  });
});

describe("a namespace", () => {
  test("is ours by the label that says who made it, and by nothing else", () => {
    const namespace = desiredNamespace("shop", "remote", "isthmus");
    expect(isMadeBy("isthmus", namespace)).toBe(true);
    expect(isMadeBy("other", namespace)).toBe(false);
    const { "isthmus.dev/created-by": _, ...labels } = namespace.metadata.labels ?? {};
    expect(isMadeBy("isthmus", { ...namespace, metadata: { name: "shop", labels } })).toBe(false);
  });

  test("has a name of Kubernetes' own by its beginning", () => {
    expect(["kube-system", "kube-x", "kubernetes-dashboard", "shop"].map(isReserved)).toEqual([
      true,
      true,
      false,
      false,
    ]);
  });
});

describe("what one target may have made", () => {
  let api: FakeApi;
  let client: KubeClient;
  afterEach(async () => {
    await client.close();
    await api.close();
  });

  /** Namespaces as they are for two Links, each of whose targets exports a service in `shop`. */
  async function world() {
    api = await FakeApi.start({ namespaces: ["isthmus"] });
    client = new KubeClient({ cluster: "source", credentials: api.credentials() });
    const clock = new FakeClock();
    const common = { clock, random: () => 0, log: silentLog };
    const source = new SourceCluster({
      ...common,
      client,
      namespace: "isthmus",
      federatedSelector: {},
      localEndpoints: false,
    });
    const links = ["greedy", "modest"].map((name) => aLink({ targetClusterName: name }, { name }));
    const targets = new Map<string, Target>();
    for (const link of links) {
      source.links.apply(link);
      const target = new Target(link, {
        ...common,
        connect: () => client,
        onState: () => undefined,
        onListed: () => undefined,
        onGateways: () => undefined,
      });
      target.services.apply(anExport("web", { namespace: "shop" }));
      targets.set(`isthmus/${link.metadata.name}`, target);
    }
    for (let number = 0; number < MAX_NAMESPACES; number++) {
      source.namespaces.apply(desiredNamespace(`greedy-${number}`, "greedy", "isthmus"));
    }
    const woken: string[] = [];
    const ready: string[] = [];
    const namespaces = new MirrorNamespaces({
      client,
      source,
      targets,
      claims: new Claims(source, targets, standalone),
      writer: new SourceWriter(
        client,
        () => undefined,
        () => undefined,
      ),
      isthmus: "isthmus",
      never: new Set(["kube-system"]),
      wake: (name) => woken.push(name),
      onReady: (name) => ready.push(name),
      record: () => undefined,
      lookAgainMs: 3_600_000,
      clock,
      log: silentLog,
    });
    const [greedy, modest] = links as [Link, Link];
    const made = (): Namespace | undefined => api.objects.find(NAMESPACES, { name: "shop" });
    return { source, namespaces, greedy, modest, woken, ready, made };
  }

  const signal = new AbortController().signal;

  test("is somebody's without the quota that an earlier term left there", async () => {
    const { source, namespaces, woken } = await world();
    const { metadata, ...rest } = desiredNamespace("shop", "greedy", "isthmus");
    const { "isthmus.dev/created-by": _, ...labels } = metadata.labels ?? {};
    source.namespaces.apply(api.objects.create(NAMESPACES, { ...rest, metadata: { ...metadata, labels } }));
    api.objects.create(RESOURCE_QUOTAS, openQuota("shop", "isthmus", TYPES));
    namespaces.listen()();
    expect(woken).toContain("shop");
    await namespaces.reconcile("shop", signal);
    expect(api.objects.list(RESOURCE_QUOTAS)).toEqual([]);
    expect(api.objects.find(NAMESPACES, { name: "shop" })).toBeDefined();
  });

  test("has an end, which its services are told", async () => {
    const { namespaces, greedy, woken, ready, made } = await world();
    expect(namespaces.want("shop", greedy)).toBeUndefined();
    expect(woken).toEqual(["shop"]);
    expect(await namespaces.reconcile("shop", signal)).toEqual({ againMs: 30_000 });
    expect(made()).toBeUndefined();
    expect(ready).toEqual(["shop"]);
    expect(namespaces.want("shop", greedy)).toMatchObject({
      reason: "MissingNamespace",
      message: expect.stringContaining("1000 were made for this cluster already"),
    });
    await namespaces.reconcile("shop", signal);
    expect(ready).toEqual(["shop"]);
  });

  test("is no loss to another", async () => {
    const { namespaces, greedy, modest, made } = await world();
    namespaces.want("shop", greedy);
    await namespaces.reconcile("shop", signal);
    namespaces.want("shop", modest);
    await namespaces.reconcile("shop", signal);
    expect(made()?.metadata.labels).toMatchObject({ "mirror.linkerd.io/cluster-name": "modest" });
  });

  test("can go on when one of its namespaces has gone", async () => {
    const { source, namespaces, greedy, made } = await world();
    namespaces.want("shop", greedy);
    await namespaces.reconcile("shop", signal);
    source.namespaces.delete(desiredNamespace("greedy-7", "greedy", "isthmus"));
    await namespaces.reconcile("shop", signal);
    expect(made()?.metadata.labels).toMatchObject({ "mirror.linkerd.io/cluster-name": "greedy" });
  });

  test("is nothing once nobody wants it", async () => {
    const { source, namespaces, modest, made } = await world();
    namespaces.want("shop", modest);
    source.links.delete(modest);
    expect(await namespaces.reconcile("shop", signal)).toBeUndefined();
    expect(made()).toBeUndefined();
  });
});
