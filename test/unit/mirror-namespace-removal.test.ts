import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { KubeClient } from "../../controller/kube/client.ts";
import { silentLog } from "../../controller/kube/log.ts";
import type { Namespace } from "../../controller/kube/objects.ts";
import { NAMESPACES, RESOURCE_QUOTAS } from "../../controller/kube/resource.ts";
import { EmptinessQuotas } from "../../controller/mirror/namespaces/emptiness.ts";
import { NamespaceRemoval } from "../../controller/mirror/namespaces/removal.ts";
import { SourceCluster } from "../../controller/mirror/source.ts";
import { SourceWriter } from "../../controller/mirror/writer.ts";
import { FakeApi } from "../support/fake-api.ts";
import { FakeClock } from "../support/fake-clock.ts";

const SHOP: Namespace = { apiVersion: "v1", kind: "Namespace", metadata: { name: "shop" } };
const QUOTA = { namespace: "shop", name: "isthmus-emptiness" };
const HOUR = 3_600_000;

/** Of a cluster in which there are slices and quotas, and nothing else. */
class Quotas extends EmptinessQuotas {
  override types() {
    return Promise.resolve({ types: ["endpointslices.discovery.k8s.io", "resourcequotas"], unknown: [] });
  }
}

describe("the removal of a namespace", () => {
  let api: FakeApi;
  let client: KubeClient;
  let clock: FakeClock;
  let removal: NamespaceRemoval;
  let kept: string[];
  let removed: string[];

  beforeEach(async () => {
    api = await FakeApi.start({ namespaces: ["shop"] });
    client = new KubeClient({ cluster: "source", credentials: api.credentials() });
    clock = new FakeClock();
    [kept, removed] = [[], []];
    const writer = new SourceWriter(
      client,
      () => undefined,
      () => undefined,
    );
    const source = new SourceCluster({
      client,
      namespace: "isthmus",
      federatedSelector: {},
      localEndpoints: false,
      clock,
      random: Math.random,
      log: silentLog,
    });
    source.namespaces.apply(api.objects.find(NAMESPACES, { name: "shop" }) ?? SHOP);
    removal = new NamespaceRemoval({
      source,
      writer,
      quotas: new Quotas(client, writer, "isthmus"),
      dispensable: () => api.objects.find(NAMESPACES, { name: "shop" }),
      onReady: () => undefined,
      onRemoved: ({ metadata }) => removed.push(metadata.name),
      onKept: (_, why) => kept.push(why),
      lookAgainMs: HOUR,
      clock,
    });
  });

  afterEach(async () => {
    await client.close();
    await api.close();
  });

  /** What is to be done next, with the counts that Kubernetes shows; without any, before it has counted. */
  const look = async (slices?: number) => {
    const quota = api.objects.find(RESOURCE_QUOTAS, QUOTA);
    if (quota !== undefined && slices !== undefined) {
      const used = { "count/endpointslices.discovery.k8s.io": String(slices), "count/resourcequotas": "1" };
      api.objects.update(RESOURCE_QUOTAS, { ...quota, status: { hard: { ...quota.spec?.hard }, used } });
    }
    return await removal.remove("shop", AbortSignal.timeout(10_000));
  };

  /** It stays, since there is a slice in it, and takes objects again. */
  const expectKept = () => {
    expect({ kept, removed }).toEqual({
      kept: ["it holds endpointslices.discovery.k8s.io (1)"],
      removed: [],
    });
    expect(api.objects.find(RESOURCE_QUOTAS, QUOTA)).toBeUndefined();
    expect(api.objects.find(NAMESPACES, { name: "shop" })).toBeDefined();
  };

  test("is not put off for what was counted a moment after it had gone", async () => {
    expect(await look()).toEqual({ againMs: 100 });
    // It takes Kubernetes a while to count at all.
    await clock.advance(3_000);
    expect(await look()).toEqual({ againMs: 100 });
    expect(await look(1)).toEqual({ againMs: 1_000 });
    await clock.advance(100);
    expect(await look(0)).toEqual({ againMs: 1_000 });
    await clock.advance(1_000);
    expect(await look(0)).toEqual({ againMs: 100 });
    expect(await look(0)).toEqual({ againMs: 1_000 });
    await clock.advance(1_000);
    expect(await look(0)).toEqual({ againMs: 100 });
    expect(await look(0)).toBeUndefined();
    expect({ kept, removed }).toEqual({ kept: [], removed: ["shop"] });
    expect(api.objects.find(NAMESPACES, { name: "shop" })).toBeUndefined();
  });

  test("begins its second of nothing again when something was there meanwhile", async () => {
    await look();
    expect(await look(0)).toEqual({ againMs: 1_000 });
    await clock.advance(700);
    expect(await look(1)).toEqual({ againMs: 300 });
    await clock.advance(290);
    expect(await look(0)).toEqual({ againMs: 1_000 });
    await clock.advance(999);
    expect(await look(0)).toEqual({ againMs: 1 });
  });

  test("is put off for what was let in as the namespace closed, and was counted a moment later", async () => {
    await look();
    await look(0);
    await clock.advance(1_000);
    await look(0);
    // Closed, and counted by one who has not heard of it yet.
    expect(await look(0)).toEqual({ againMs: 1_000 });
    await clock.advance(1_000);
    expect(await look(0)).toEqual({ againMs: 100 });
    expect(await look()).toEqual({ againMs: 100 });
    expect(await look(1)).toEqual({ againMs: HOUR });
    expectKept();
  });

  test("is put off for what is still counted a second later, and the quota goes", async () => {
    await look();
    expect(await look(1)).toEqual({ againMs: 1_000 });
    await clock.advance(999);
    expect(await look(1)).toEqual({ againMs: 1 });
    await clock.advance(1);
    expect(await look(1)).toEqual({ againMs: HOUR });
    expectKept();
  });
});
