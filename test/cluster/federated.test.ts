import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { parseEgressPorts } from "../../contract/index.ts";
import type { Service } from "../../controller/kube/objects.ts";
import { NAMESPACES, SERVICES } from "../../controller/kube/resource.ts";
import { SLOW_MS, until } from "./until.ts";
import { World } from "./world.ts";

let world: World;
beforeEach(async () => {
  world = await World.create();
});
afterEach(() => world.destroy());

const MEMBER = { "mirror.linkerd.io/federated": "member" };
const JOINED = "multicluster.linkerd.io/remote-discovery";
const LOCAL = "multicluster.linkerd.io/local-discovery";

/** A Link whose members are those that carry `member-of.<name>`: all Links here lead to one target. */
async function linkOf(name: string): Promise<void> {
  await world.link({ federatedServiceSelector: { matchLabels: { [`member-of.${name}`]: "yes" } } }, name);
}

/** A Service of the target, a member for these Links. */
async function member(name: string, links: string[], spec: Service["spec"] = {}): Promise<Service> {
  const labels = Object.fromEntries(links.map((link) => [`member-of.${link}`, "yes"]));
  return await world.export(name, { labels: { ...labels, app: name } }, spec);
}

async function annotations(name: string): Promise<Record<string, string>> {
  return (await world.mirror(name)).metadata.annotations ?? {};
}

/** Wait until a federated service has these members. */
async function members(name: string, remote: string | undefined, local?: string): Promise<void> {
  await until(async () => {
    const { [JOINED]: there, [LOCAL]: here } = await annotations(name);
    expect({ there, here }).toEqual({ there: remote, here: local });
  });
}

describe("a federated service", () => {
  test("is there with its first member, says who it is, and has no endpoints where Linkerd's proxies find them", async () => {
    await world.link();
    await world.start({ dataPlane: "linkerd" });
    await world.export("web", { labels: MEMBER, annotations: { ak: "av" } });
    const service = await until(() => world.mirror("web-federated"));
    expect(service.metadata.labels).toEqual({
      "mirror.linkerd.io/mirrored-service": "true",
      "app.kubernetes.io/managed-by": "isthmus",
      "isthmus.dev/federated-by": world.isthmus,
    });
    expect(service.metadata.annotations).toEqual({
      ak: "av",
      [JOINED]: "web@remote",
      "isthmus.dev/remote-service": `${world.namespace}/web`,
    });
    expect(service.spec?.ports).toMatchObject([{ name: "http", port: 80 }]);
    expect(await world.serviceReason("web", "Mirrored")).toMatchObject({ mirror: "web-federated" });
    expect(await world.names()).toEqual({ services: ["web-federated"], slices: [] });
  });

  test("leads, without a mesh, to each member through the egress, and to this cluster's own pods", async () => {
    await world.putEgressPod("10.1.0.9");
    await linkOf("east");
    await linkOf("west");
    await world.start();
    await member("web", ["east", "west"]);
    const local = await world.putLocal("web", MEMBER, { selector: { app: "web" } });
    await members("web-federated", "web@east,web@west", "web");
    const service = await world.mirror("web-federated");
    const port = (link: string) =>
      Number(
        service.metadata.annotations?.[`egress-ports.isthmus.dev/${world.isthmus}.${link}`]?.split("=")[1],
      );
    expect(port("east")).not.toBe(port("west"));
    await until(async () => {
      const slices = await world.slicesOf("web-federated");
      for (const link of ["east", "west"]) {
        const slice = slices.find(
          ({ metadata }) => metadata.labels?.["mirror.linkerd.io/cluster-name"] === link,
        );
        expect(slice).toMatchObject({
          metadata: { labels: { "isthmus.dev/link": `${world.isthmus}.${link}` } },
          endpoints: [{ addresses: ["10.1.0.9"], conditions: { ready: true } }],
          ports: [{ name: "http", port: port(link) }],
        });
      }
    });
    // Kubernetes keeps the slices of a Service with its labels; a control plane without nodes has none to fill.
    await until(async () => expect(await world.slicesOf("web")).toHaveLength(1), SLOW_MS);
    const [own] = await world.slicesOf("web");
    await world.putLocalEndpoints(own!, ["10.244.0.5", "10.244.0.6"]);
    await until(async () => {
      const addresses = (await world.slicesOf("web-federated"))
        .filter(({ metadata }) => metadata.labels?.["isthmus.dev/link"] === undefined)
        .flatMap(({ endpoints, ports }) =>
          (endpoints ?? []).map(({ addresses: [ip] }) => `${ip}:${ports?.[0]?.port}`),
        );
      expect(addresses.sort()).toEqual(["10.244.0.5:80", "10.244.0.6:80"]);
    });
    expect(local.metadata.labels).not.toHaveProperty(["isthmus.dev/federated-by"]);
  });

  test("is joined and left by members one by one, and goes with the last", async () => {
    await linkOf("east");
    await linkOf("west");
    await world.start();
    await member("web", ["west"]);
    await members("web-federated", "web@west");
    await member("web", ["east", "west"]);
    await members("web-federated", "web@east,web@west");
    await member("web", ["east"]);
    await members("web-federated", "web@east");
    await world.putLocal("web", MEMBER);
    await members("web-federated", "web@east", "web");
    await member("web", []);
    await members("web-federated", undefined, "web");
    await world.putLocal("web", {});
    await until(async () => expect(await world.names()).toMatchObject({ services: ["web"] }));
  });

  test("is there with a local member alone, and keeps it when others come and go", async () => {
    await world.link();
    await world.start();
    await world.putLocal("web", MEMBER);
    await members("web-federated", undefined, "web");
    await world.export("web", { labels: MEMBER });
    await members("web-federated", "web@remote", "web");
    await world.export("web", { labels: { app: "web" } });
    await members("web-federated", undefined, "web");
  });

  test("is like this cluster's member, else like that of the oldest Link, ports and labels alike", async () => {
    await linkOf("east");
    await until(async () => expect(Date.now() % 1000).toBeLessThan(500));
    await linkOf("west");
    await world.start();
    await member("web", ["east", "west"]);
    await members("web-federated", "web@east,web@west");
    await world.putLocal("web", { ...MEMBER, tier: "local" }, { ports: [{ name: "http", port: 8080 }] });
    await until(async () => {
      const service = await world.mirror("web-federated");
      expect(service.metadata.labels).toMatchObject({ tier: "local" });
      expect(service.spec?.ports?.map(({ port }) => port)).toEqual([8080]);
    });
    await world.source.delete(SERVICES, { namespace: world.namespace, name: "web" });
    await until(async () => {
      const service = await world.mirror("web-federated");
      expect(service.metadata.labels).toMatchObject({ app: "web" });
      expect(service.metadata.labels).not.toHaveProperty("tier");
      expect(service.spec?.ports?.map(({ port }) => port)).toEqual([80]);
    });
  });

  test("gets nothing of this cluster's member that the controller excludes, nor of another's that its Link does", async () => {
    const keys = ["good", "good.example.com/a", "evil", "evil.example.com/a", "bad", "bad.example.com/a"];
    const all = Object.fromEntries(keys.map((key) => [key, "1"]));
    const local = await world.putLocal("web", { ...all, ...MEMBER });
    const ref = { namespace: world.namespace, name: "web" };
    await world.source.patch(SERVICES, ref, { metadata: { annotations: all } }, { type: "merge" });
    await world.export("web", { labels: { ...all, ...MEMBER }, annotations: all });
    await world.link({
      excludedLabels: ["bad", "evil.example.com/*"],
      excludedAnnotations: ["bad.example.com/*", "evil"],
    });
    await world.start({
      localExclusions: {
        excludedLabels: [...Object.keys(world.mark), "evil", "evil.example.com/*"],
        excludedAnnotations: ["evil.example.com/*", "bad"],
      },
    });
    const copied = async () => {
      const { labels = {}, annotations = {} } = (await world.mirror("web-federated")).metadata;
      const ofThese = (metadata: object) => Object.keys(metadata).filter((key) => keys.includes(key));
      return { labels: ofThese(labels).sort(), annotations: ofThese(annotations).sort() };
    };
    await members("web-federated", "web@remote", "web");
    await until(async () =>
      expect(await copied()).toEqual({
        labels: ["bad", "bad.example.com/a", "good", "good.example.com/a"],
        annotations: ["bad.example.com/a", "evil", "good", "good.example.com/a"],
      }),
    );
    await world.source.delete(SERVICES, { namespace: local.metadata.namespace, name: "web" });
    await members("web-federated", "web@remote");
    await until(async () =>
      expect(await copied()).toEqual({
        labels: ["bad.example.com/a", "evil", "good", "good.example.com/a"],
        annotations: ["bad", "evil.example.com/a", "good", "good.example.com/a"],
      }),
    );
  });

  test("follows its members' ports when these change in every cluster", async () => {
    await world.putEgressPod("10.1.0.9");
    await world.link();
    await world.start();
    await world.export("web", { labels: MEMBER });
    await world.putLocal("web", MEMBER);
    await members("web-federated", "web@remote", "web");
    /** Of the Service; and of the slice to the other cluster, what they lead to there. */
    const ports = async () => {
      const { metadata, spec } = await world.mirror("web-federated");
      const egress = metadata.annotations?.[`egress-ports.isthmus.dev/${world.isthmus}.remote`];
      const [slice] = await world.slicesOf("web-federated");
      const remote = new Map([...parseEgressPorts(egress)].map(([port, number]) => [number, port]));
      return {
        own: spec?.ports?.map(({ name, port }) => `${name} ${port}`),
        led: slice?.ports?.map(({ name, port = 0 }) => `${name} ${remote.get(port)}`),
      };
    };
    await until(async () => expect(await ports()).toEqual({ own: ["http 80"], led: ["http 80"] }));
    await world.export("web", { labels: MEMBER }, { ports: [{ name: "api", port: 8081, protocol: "TCP" }] });
    await world.putLocal("web", MEMBER, { ports: [{ name: "api", port: 9090, protocol: "TCP" }] });
    await until(async () => expect(await ports()).toEqual({ own: ["api 9090"], led: ["api 8081"] }));
  });

  test("is no member, though it has the label by which members are chosen, here or from another cluster", async () => {
    const labels = { team: world.id };
    // A Link from the source to itself: what is made here is there as well.
    await world.putCredentials(await world.kubeconfigOfSource(), "self");
    await world.putLink({ federatedServiceSelector: { matchLabels: labels } }, "self");
    const controller = await world.start({ federatedSelector: { matchLabels: labels } });
    await world.putLocal("web", labels);
    await members("web-federated", "web@self", "web");
    expect((await world.mirror("web-federated")).metadata.labels).toMatchObject(labels);
    expect(await world.serviceReason("web-federated", "MirrorOfMirror", "self")).toMatchObject({
      mirror: "web-federated-federated",
    });
    await world.reason("Synced", "Synced", "self");
    await until(async () => expect(await controller.metric('isthmus_queue_depth{queue="mirrors"}')).toBe(0));
    expect((await world.names()).services).toEqual(["web", "web-federated"]);
    const series = `isthmus_refused_local_members{service="${world.namespace}/web-federated",reason="MirrorOfMirror"}`;
    expect(await controller.metric(series)).toBe(0);
  });

  test.each<[what: string, spec: Service["spec"], why: string]>([
    ["is headless", { clusterIP: "None" }, "headless"],
    [
      "is of type ExternalName",
      { type: "ExternalName", externalName: "example.com", ports: [] },
      "ExternalName",
    ],
    ["has no TCP port", { ports: [{ name: "dns", port: 53, protocol: "UDP" }] }, "only dns (UDP)"],
  ])(
    "is made without a member of this cluster that %s, and the others' Links and a metric say so",
    async (_, spec, why) => {
      await world.link();
      const controller = await world.start();
      await world.putLocal("web", MEMBER, spec);
      const series = `isthmus_refused_local_members{service="${world.namespace}/web",reason="InvalidService"}`;
      await until(async () => expect(await controller.metric(series)).toBe(1));
      expect((await world.names()).services).toEqual(["web"]);
      await world.export("web", { labels: MEMBER });
      await members("web-federated", "web@remote");
      const message = async () => (await world.serviceReason("web", "Mirrored")).message;
      await until(async () => {
        expect(await message()).toContain("this cluster's own service is no member");
        expect(await message()).toContain(why);
      });
      expect(controller.logs.filter((line) => line.includes("cannot be a member"))).toHaveLength(1);
      await world.source.delete(SERVICES, { namespace: world.namespace, name: "web" });
      await until(async () => expect(await message()).toBeUndefined());
      expect(await controller.metric(series)).toBe(0);
    },
  );

  test("says what it does not take of a member", async () => {
    await world.link();
    await world.start();
    const ports = ["TCP", "UDP"].map((protocol) => ({ name: protocol.toLowerCase(), port: 53, protocol }));
    await world.export("web", { labels: MEMBER }, { ports });
    expect((await world.serviceReason("web", "Mirrored")).message).toBe("not mirrored: udp (UDP)");
  });

  test("is refused for headless members, with a reason", async () => {
    await world.link();
    await world.start();
    await world.export("web", { labels: MEMBER }, { clusterIP: "None" });
    expect(await world.serviceReason("web", "InvalidService")).toMatchObject({ mirror: "web-federated" });
    expect((await world.names()).services).toEqual([]);
  });

  test("and a mirror of one service are told apart in the status", async () => {
    await world.link();
    await world.start();
    await world.export("web", { labels: { ...MEMBER, "mirror.linkerd.io/exported": "true" } });
    await until(async () =>
      expect((await world.getLink()).status).toMatchObject({
        mirroredServices: 2,
        services: [
          { name: "web", mirror: "web-federated", mirrored: true },
          { name: "web", mirror: "web-remote", mirrored: true },
        ],
      }),
    );
  });

  test("loses no member when many Links and this cluster join and leave at once", async () => {
    const links = Array.from({ length: 8 }, (_, i) => `c${i}`);
    for (const link of links) await linkOf(link);
    await world.start();
    for (let round = 0; round < 6; round++) {
      const now = links.filter((_, i) => (i + round) % 3 !== 0);
      const here = round % 2 === 0;
      await Promise.all([
        member("web", now),
        member("api", [...links].reverse().slice(round)),
        world.putLocal("web", here ? MEMBER : {}),
        ...(round === 3 ? [linkOf("c9")] : []),
      ]);
      await members("web-federated", now.map((link) => `web@${link}`).join(","), here ? "web" : undefined);
    }
    await members(
      "api-federated",
      links
        .slice(0, 3)
        .map((link) => `api@${link}`)
        .join(","),
    );
  });

  test("keeps members whose cluster cannot be asked, over a restart, and loses them only once it can", async () => {
    await linkOf("east");
    await linkOf("west");
    const first = await world.start();
    await member("web", ["east", "west"]);
    await members("web-federated", "web@east,web@west");
    await first.stop();
    await world.putCredentials(await world.kubeconfig({ token: "revoked" }), "east");
    await member("web", []);
    const before = await annotations("web-federated");
    await world.start();
    await members("web-federated", "web@east");
    await world.reason("Connected", "Unauthorized", "east");
    const key = `egress-ports.isthmus.dev/${world.isthmus}.east`;
    expect((await annotations("web-federated"))[key]).toBe(before[key]);
    await until(async () =>
      expect((await world.slicesOf("web-federated")).map(({ metadata }) => metadata.labels)).toMatchObject([
        { "mirror.linkerd.io/cluster-name": "east" },
      ]),
    );
    await world.putCredentials(await world.kubeconfig(), "east");
    await until(async () => expect(await world.names()).toEqual({ services: [], slices: [] }));
  });

  test("loses the member of a Link that is deleted, even if the Link's target is gone, and the Link goes", async () => {
    await linkOf("east");
    await linkOf("west");
    await world.start();
    await member("web", ["east", "west"]);
    await members("web-federated", "web@east,web@west");
    await world.wire.cut();
    await world.deleteLink("east");
    await members("web-federated", "web@west");
    await until(async () => await expect(world.getLink("east")).rejects.toMatchObject({ status: 404 }));
    expect((await world.slicesOf("web-federated")).length).toBe(1);
  });

  test("is put right by itself after a hand edit, and leaves a Service of its name alone that is not ours", async () => {
    await world.putLocal("api-federated", { app: "theirs" });
    await world.link();
    await world.start();
    await world.export("web", { labels: MEMBER });
    await world.export("api", { labels: MEMBER });
    await members("web-federated", "web@remote");
    await world.source.patch(
      SERVICES,
      { namespace: world.namespace, name: "web-federated" },
      { metadata: { annotations: { [JOINED]: "web@elsewhere" } }, spec: { selector: { a: "b" } } },
      { type: "merge" },
    );
    await members("web-federated", "web@remote");
    await until(async () => expect((await world.mirror("web-federated")).spec?.selector).toBeUndefined());
    await world.serviceReason("api", "NameConflict");
    expect(await annotations("api-federated")).toEqual({});
    await world.source.delete(SERVICES, { namespace: world.namespace, name: "web-federated" });
    await members("web-federated", "web@remote");
  });

  test("leads to a member without a break while another Link to its cluster takes over from the one that goes", async () => {
    await world.putEgressPod("10.1.0.9");
    await world.link({ targetClusterName: "remote" }, "old");
    await until(async () => expect(Date.now() % 1000).toBeLessThan(500));
    await world.start();
    await world.export("web", { labels: MEMBER });
    await until(async () => expect(await world.slicesOf("web-federated")).toHaveLength(1));
    await world.putCredentials(await world.kubeconfig({ token: "revoked" }), "young");
    await world.putLink({ targetClusterName: "remote" }, "young");
    await world.reason("Connected", "DuplicateTarget", "young");
    const [before] = await world.slicesOf("web-federated");
    await world.deleteLink("old");
    await until(async () => await expect(world.getLink("old")).rejects.toMatchObject({ status: 404 }));
    await world.reason("Connected", "Unauthorized", "young");
    const service = await world.mirror("web-federated");
    expect(service.metadata.annotations?.[JOINED]).toBe("web@remote");
    const [after] = await world.slicesOf("web-federated");
    expect(after?.metadata.name).toBe(before?.metadata.name);
    expect(after?.metadata.uid).toBe(before?.metadata.uid);
    expect(after?.ports).toEqual(before?.ports);
    expect(service.metadata.annotations).toMatchObject({
      [`egress-ports.isthmus.dev/${world.isthmus}.young`]: `80=${before?.ports?.[0]?.port}`,
    });
    await world.putCredentials(await world.kubeconfig(), "young");
    await world.reason("Connected", "Connected", "young");
    await world.reason("Synced", "Synced", "young");
    const [later] = await world.slicesOf("web-federated");
    expect(later?.ports).toEqual(before?.ports);
  });

  test("names a member once while the endpoints of its cluster cannot be read", async () => {
    await world.link();
    const first = await world.start();
    await world.export("web", { labels: MEMBER });
    await until(async () => expect(await world.slicesOf("web-federated")).toHaveLength(1));
    await first.stop();
    await world.grantServicesOnly();
    const before = await world.fingerprint();
    const second = await world.start();
    await world.reason("Connected", "Forbidden");
    await until(async () => expect(await second.metric('isthmus_egress_ports{state="used"}')).toBe(1));
    const service = await world.mirror("web-federated");
    expect(service.metadata.annotations?.[JOINED]).toBe("web@remote");
    expect(second.writes.filter((write) => write.includes("web-federated"))).toEqual([]);
    expect(before["Service web-federated"]).toBe(
      `${service.metadata.uid} ${service.metadata.resourceVersion}`,
    );
  });

  test("gives its members' egress ports back though it is gone with its namespace before they are", async () => {
    const gone = `gone-${world.id}`;
    await world.createNamespace(world.target, gone);
    await world.createNamespace(world.source, gone);
    await world.link();
    const controller = await world.start();
    await world.export("web", { namespace: gone, labels: MEMBER });
    await until(() => world.mirror("web-federated", gone));
    expect(await controller.metric('isthmus_egress_ports{state="used"}')).toBe(1);
    await world.source.delete(NAMESPACES, { name: gone });
    await until(
      async () =>
        await expect(world.source.get(NAMESPACES, { name: gone })).rejects.toMatchObject({ status: 404 }),
      SLOW_MS,
    );
    await until(async () => {
      const { services = [] } = (await world.getLink()).status ?? {};
      expect(services).toMatchObject([{ reason: "MissingNamespace" }]);
    });
    await world.target.delete(SERVICES, { namespace: gone, name: "web" });
    await until(async () => {
      const { services = [] } = (await world.getLink()).status ?? {};
      expect(services).toEqual([]);
    });
    await until(async () => expect(await controller.metric('isthmus_egress_ports{state="used"}')).toBe(0));
  });

  test("of another Isthmus keeps no Link from going", async () => {
    await world.source.create(SERVICES, {
      apiVersion: "v1",
      kind: "Service",
      metadata: {
        namespace: world.namespace,
        name: "api-federated",
        labels: {
          "mirror.linkerd.io/mirrored-service": "true",
          "app.kubernetes.io/managed-by": "isthmus",
          "isthmus.dev/federated-by": "another-isthmus",
        },
        annotations: { [JOINED]: "api@remote" },
      },
      spec: { ports: [{ name: "http", port: 80, protocol: "TCP" }] },
    });
    await world.link();
    await world.start();
    await world.export("web", { labels: MEMBER });
    await until(() => world.mirror("web-federated"));
    await world.deleteLink();
    await until(async () => await expect(world.getLink()).rejects.toMatchObject({ status: 404 }));
    expect((await world.names()).services).toEqual(["api-federated"]);
  });

  test("that was rid by hand of the names of its members stays until their clusters can be asked", async () => {
    await world.link();
    const first = await world.start();
    await world.export("web", { labels: MEMBER });
    await until(async () => expect(await world.slicesOf("web-federated")).toHaveLength(1));
    await first.stop();
    const { uid } = (await world.mirror("web-federated")).metadata;
    const ref = { namespace: world.namespace, name: "web-federated" };
    const metadata = { annotations: { [JOINED]: null } };
    await world.source.patch(SERVICES, ref, { metadata }, { type: "merge" });
    await world.putCredentials(await world.kubeconfig({ token: "revoked" }));
    const second = await world.start();
    await world.reason("Connected", "Unauthorized");
    await until(async () => expect(await second.metric('isthmus_queue_depth{queue="mirrors"}')).toBe(0));
    expect((await world.mirror("web-federated")).metadata.uid).toBe(uid);
    expect(await world.slicesOf("web-federated")).toHaveLength(1);
    await world.putCredentials(await world.kubeconfig());
    await members("web-federated", "web@remote");
    expect((await world.mirror("web-federated")).metadata.uid).toBe(uid);
  });
});
