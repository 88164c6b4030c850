import { beforeEach, describe, expect, test } from "@jest/globals";
import { type Link, linkLabelValue } from "../../contract/index.ts";
import { KubeClient } from "../../controller/kube/client.ts";
import { silentLog } from "../../controller/kube/log.ts";
import type { EndpointSlice, Service } from "../../controller/kube/objects.ts";
import { SourceCluster } from "../../controller/mirror/source.ts";
import { Target } from "../../controller/mirror/target/target.ts";
import { Triggers } from "../../controller/mirror/triggers.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { aLink, anEgressPod, anExport } from "../support/mirror-objects.ts";

describe("what makes mirrors worth a look", () => {
  const remembered = new Set<string>();
  let woken: Set<string>;
  let source: SourceCluster;
  let target: Target;
  let link: Link;

  beforeEach(() => {
    remembered.clear();
    woken = new Set();
    const common = { clock: new FakeClock(), random: () => 0, log: silentLog };
    // Nothing is asked: what is watched is put into the stores by hand.
    const credentials = { server: "https://localhost:1", tls: {}, headers: () => Promise.resolve({}) };
    const client = new KubeClient({ cluster: "source", credentials });
    source = new SourceCluster({
      ...common,
      client,
      namespace: "isthmus",
      federatedSelector: {},
      localEndpoints: false,
    });
    link = aLink();
    source.links.apply(link);
    target = new Target(link, {
      ...common,
      connect: () => client,
      onState: () => undefined,
      onListed: () => undefined,
      onGateways: () => undefined,
    });
    const ignored = { add: () => undefined, addAfter: () => undefined };
    const triggers = new Triggers({
      source,
      targets: new Map([["isthmus/remote", target]]),
      mirrors: { ...ignored, add: (key) => void woken.add(key) },
      links: ignored,
      statuses: ignored,
      isRemembered: (key) => remembered.has(key),
      onSlices: () => undefined,
      onRemoteChange: () => undefined,
    });
    triggers.listen();
    triggers.listenTo(target);
  });

  /** The keys that were woken since the last look. */
  function news(): string[] {
    const keys = [...woken].sort();
    woken.clear();
    return keys;
  }

  const mirror = (version: string): Service => ({
    ...anExport("web-remote"),
    metadata: {
      namespace: "ns1",
      name: "web-remote",
      uid: "mirror",
      resourceVersion: version,
      labels: { "isthmus.dev/link": linkLabelValue(link.metadata) },
    },
  });

  const slice = (version: string, ...owners: string[]): EndpointSlice => ({
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    addressType: "IPv4",
    endpoints: [],
    metadata: {
      namespace: "ns1",
      name: "web-remote-isthmus",
      uid: "slice",
      resourceVersion: version,
      labels: { "kubernetes.io/service-name": "web-remote" },
      ownerReferences: owners.map((name) => ({ apiVersion: "v1", kind: "Service", name, uid: name })),
    },
  });

  test("a change of an egress pod, also for a mirror whose slice is still being made", () => {
    target.services.apply(anExport("web"));
    expect(news()).toEqual(["ns1/web-remote"]);
    source.pods.apply(anEgressPod("egress", "10.0.0.9"));
    expect(news()).toEqual(["ns1/web-remote"]);
  });

  test("what a watch tells, and not what was written by whoever is at work on it", () => {
    source.services.wrote(mirror("10"));
    source.slices.wrote(slice("11", "web-remote"));
    expect(news()).toEqual([]);
    // The same states, as the watch brings them.
    source.services.apply(mirror("10"));
    source.slices.apply(slice("11", "web-remote"));
    expect(news()).toEqual([]);
    source.services.apply(mirror("12"));
    expect(news()).toEqual(["ns1/web-remote"]);
    source.slices.apply(slice("13", "web-remote"));
    expect(news()).toEqual(["ns1/web-remote"]);
    source.services.delete(mirror("14"));
    expect(news()).toEqual(["ns1/web-remote"]);
  });

  test("what was read though not written", () => {
    source.services.read(mirror("10"));
    expect(news()).toEqual(["ns1/web-remote"]);
  });

  test("what another mirror did to a slice that somebody made both of theirs", () => {
    source.slices.apply(slice("10", "web-remote", "other"));
    news();
    source.slices.removed(slice("10", "web-remote", "other"));
    expect(news()).toEqual(["ns1/other", "ns1/web-remote"]);
  });

  let version = 100;
  /** The exported service changes, to be like this. */
  function exported(options: Parameters<typeof anExport>[1] = {}): void {
    const { metadata, ...service } = anExport("web", options);
    version++;
    target.services.apply({ ...service, metadata: { ...metadata, resourceVersion: String(version) } });
  }

  test("an exported service as a member of a federated service only where it is one, or was", () => {
    exported();
    expect(news()).toEqual(["ns1/web-remote"]);
    exported({ labels: { "mirror.linkerd.io/federated": "member" } });
    expect(news()).toEqual(["ns1/web-federated", "ns1/web-remote"]);
    // It is being made, and not there yet.
    remembered.add("ns1/web-federated");
    exported();
    expect(news()).toEqual(["ns1/web-federated", "ns1/web-remote"]);
    remembered.clear();
    target.outcomes.set("ns1/web web-federated", {
      namespace: "ns1",
      name: "web",
      mirror: "web-federated",
      mirrored: true,
      reason: "Mirrored",
    });
    exported({ annotations: { changed: "again" } });
    expect(news()).toEqual(["ns1/web-federated", "ns1/web-remote"]);
    expect(target.outcomes.size).toBe(0);
    exported();
    expect(news()).toEqual(["ns1/web-remote"]);
    source.services.apply({ ...mirror("20"), metadata: { ...mirror("20").metadata, name: "web-federated" } });
    news();
    exported({ annotations: { changed: "once more" } });
    expect(news()).toEqual(["ns1/web-federated", "ns1/web-remote"]);
  });
});
