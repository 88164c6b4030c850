import { describe, expect, test } from "@jest/globals";
import {
  FEDERATED_LABEL,
  LINK_LABEL,
  type Link,
  linkLabelValue,
  MIRRORED_LABEL,
  routeServerName,
} from "../../contract/index.ts";
import type { EgressSettings } from "../../controller/gateway/egress-config.ts";
import { egressPicture } from "../../controller/gateway/egress-routes.ts";
import { gatewayFiles } from "../../controller/gateway/files.ts";
import { gatewayTargets } from "../../controller/gateway/gateway-targets.ts";
import { configDigest } from "../../controller/gateway/haproxy/config.ts";
import type { IngressSettings } from "../../controller/gateway/ingress-config.ts";
import { ingressPicture, sourcesOf } from "../../controller/gateway/ingress-routes.ts";
import type { Picture } from "../../controller/gateway/picture.ts";
import type { Service, ServiceAccount } from "../../controller/kube/objects.ts";
import {
  exportedService,
  identityOf,
  linkTo,
  mirrorOf,
  NAMESPACE,
  remoteAccess,
} from "../support/gateway-objects.ts";

const files = gatewayFiles("/run/isthmus");
const common = { files, ipv6: false, probePort: 4191, accessLog: true };
const ingressSettings: Omit<IngressSettings, "sources"> = {
  ...common,
  port: 4143,
  identity: identityOf("east"),
};
const egressSettings: Omit<EgressSettings, "targets"> = { ...common, ports: { first: 20_000, last: 28_191 } };

const routesIn = (picture: Picture) =>
  Object.fromEntries(picture.maps.find(({ file }) => file === files.routes)!.entries);
const serverName = (service: string, port: number, cluster = "east") =>
  routeServerName({ namespace: "default", service, port }, identityOf(cluster));

describe("an ingress' picture", () => {
  const picture = (
    services: Service[],
    accounts: ServiceAccount[] = [remoteAccess("west"), remoteAccess("north")],
  ) => ingressPicture({ settings: ingressSettings, services, slices: [], serviceAccounts: accounts });
  const web = exportedService({ name: "web", port: 80, address: "10.96.0.7" });
  const change = (service: Service, spec: Partial<NonNullable<Service["spec"]>>): Service => ({
    ...service,
    spec: { ...service.spec, ...spec },
  });

  test("leads every TCP port of an exported service to its cluster IP", () => {
    const ports = [
      { name: "http", port: 80 },
      { name: "dns", port: 53, protocol: "UDP" },
      { name: "grpc", port: 8080, protocol: "TCP" },
    ];
    expect(routesIn(picture([change(web, { ports })]))).toEqual({
      [`*|${serverName("web", 80)}`]: "10.96.0.7/80/default/web:80",
      [`*|${serverName("web", 8080)}`]: "10.96.0.7/8080/default/web:8080",
    });
  });

  test("leads to IPv6 cluster IPs as well", () => {
    expect(routesIn(picture([change(web, { clusterIP: "fd00::7" })]))).toEqual({
      [`*|${serverName("web", 80)}`]: "fd00::7/80/default/web:80",
    });
  });

  test.each([
    ["west", ["west"]],
    [" north , west ,", ["north", "west"]],
    ["nobody", []],
    ["", []],
    ["west,west", ["west"]],
  ])("lets only those call that allowed-clusters names: %j", (allowed, callers) => {
    const narrowed = exportedService({ name: "web", port: 80, address: "10.96.0.7", allowed });
    expect(Object.keys(routesIn(picture([narrowed]))).sort()).toEqual(
      callers.map((caller) => `${caller}|${serverName("web", 80)}`).sort(),
    );
  });

  test("lets members of federated services in, which need not be exported besides", () => {
    const labelled = (federated: string) => ({
      ...web,
      metadata: { ...web.metadata, labels: { [FEDERATED_LABEL]: federated } },
    });
    expect(routesIn(picture([labelled("member")]))).toEqual(routesIn(picture([web])));
    expect(routesIn(picture([labelled("no")]))).toEqual({});
    expect(picture([change(labelled("member"), { clusterIP: "None" })]).problems).toEqual([
      "exported service default/web cannot be called from other clusters: it is headless, and no member of a federated service can be",
    ]);
  });

  test("has no entry for a service that is not exported, or is a mirror itself", () => {
    const mirror = {
      ...web,
      metadata: { ...web.metadata, labels: { ...web.metadata.labels, [MIRRORED_LABEL]: "true" } },
    };
    const plain = exportedService({ name: "plain", port: 80, exported: false });
    expect(picture([mirror, plain])).toMatchObject({ problems: [] });
    expect(routesIn(picture([mirror, plain]))).toEqual({});
  });

  test.each([
    ["it is of type ExternalName", { type: "ExternalName" }],
    ["it has no cluster IP", { clusterIP: "" }],
    ["it has no TCP port", { ports: [{ port: 53, protocol: "UDP" }] }],
  ])("says which exported service cannot be called and why: %s", (why, spec) => {
    expect(picture([change(web, spec)]).problems).toEqual([
      `exported service default/web cannot be called from other clusters: ${why}`,
    ]);
  });

  test("takes for sources the clusters that have a remote access, each once", () => {
    const going = remoteAccess("going");
    going.metadata.deletionTimestamp = "2026-11-20T00:00:00Z";
    const odd = remoteAccess("a b|c");
    expect(
      sourcesOf([remoteAccess("west"), going, odd, remoteAccess("north"), remoteAccess("west")]),
    ).toEqual(["north", "west"]);
  });

  test("has a configuration that depends on the sources alone, in whatever order they come", () => {
    const first = picture([web]).config;
    expect(picture([], [remoteAccess("north"), remoteAccess("west")]).config).toBe(first);
    expect(picture([web], [remoteAccess("west")]).config).not.toBe(first);
    expect(configDigest(first)).toMatch(/^[0-9a-f]{16}$/);
  });

  test("finds the backends of sources that have lost their access", () => {
    expect(picture([web]).revoked?.(["src_west", "src_gone", "own_health"])).toEqual([
      { backend: "src_gone", file: files.sources, key: "gone" },
    ]);
  });

  test("requires and verifies the caller's certificate", () => {
    expect(picture([]).config).toContain(
      `  bind *:4143 ssl crt ${files.certificate} ca-file ${files.trust} verify required\n`,
    );
  });
});

describe("an egress' picture", () => {
  const picture = (services: Service[], links: Link[]) =>
    egressPicture({ settings: egressSettings, services, links });
  const web = exportedService({ name: "web", port: 80 });
  const east = linkTo("east", 4143, ["203.0.113.10"]);

  test("leads a mirror's port to its link, under the server name that the target knows", () => {
    expect(routesIn(picture([mirrorOf(web, "east", 20_417)], [east]))).toEqual({
      "20417": `link_isthmus.east/${serverName("web", 80)}/default/web-east:80`,
    });
  });

  test("passes over Services that are not mirrors of ours", () => {
    const foreign = mirrorOf(web, "east", 20_417);
    foreign.metadata.labels = { [MIRRORED_LABEL]: "true", [LINK_LABEL]: "isthmus.east" };
    expect(picture([foreign, web], [east])).toMatchObject({ problems: [] });
    expect(routesIn(picture([foreign, web], [east]))).toEqual({});
  });

  test("gives a port that two mirrors claim to the older one", () => {
    const older = mirrorOf(web, "east", 20_417);
    const younger = mirrorOf(exportedService({ name: "another", port: 80 }), "east", 20_417);
    younger.metadata.creationTimestamp = "2026-11-21T00:00:00Z";
    for (const services of [
      [older, younger],
      [younger, older],
    ]) {
      const { problems, ...rest } = picture(services, [east]);
      expect(Object.values(routesIn({ problems, ...rest }))).toEqual([
        expect.stringContaining("/default/web-east:80"),
      ]);
      expect(problems).toEqual([
        "mirror default/another-east claims egress port 20417, which default/web-east has",
      ]);
    }
  });

  test("says which mirror cannot be called and why", () => {
    const orphan = mirrorOf(web, "south", 20_001);
    const nameless = mirrorOf(exportedService({ name: "nameless", port: 80 }), "east", 20_002);
    delete nameless.metadata.annotations!["isthmus.dev/remote-service"];
    const outside = mirrorOf(exportedService({ name: "outside", port: 80 }), "east", 30_000);
    expect(picture([orphan, nameless, outside], [east]).problems.sort()).toEqual([
      "mirror default/nameless-east cannot be called: it does not say of which service it is the mirror",
      "mirror default/outside-east claims egress port 30000, outside 20000–28191",
      "mirror default/web-south cannot be called: its link is not there",
    ]);
  });

  test("has a configuration that depends on the links alone, in whatever order they and their addresses come", () => {
    const south = linkTo("south", 4143, ["203.0.113.21", "203.0.113.20"]);
    const first = picture([mirrorOf(web, "east", 20_417)], [east, south]).config;
    const turned = linkTo("south", 4143, ["203.0.113.20", "203.0.113.21"]);
    const touched = {
      ...east,
      metadata: { ...east.metadata, resourceVersion: "7" },
      status: { mirroredServices: 3 },
    };
    expect(picture([], [turned, touched]).config).toBe(first);
    expect(picture([], [east]).config).not.toBe(first);
  });

  test("asks a name server only where a link has a host name", () => {
    expect(picture([], [east]).config).not.toContain("resolvers");
    const { config } = picture([], [linkTo("east", 4143, ["gateway.example.com", "2001:db8::1"])]);
    expect(config).toContain("\nresolvers cluster\n");
    expect(config).toContain(
      "server-template gateway.example.com_4143- 4 gateway.example.com:4143 resolvers cluster",
    );
    expect(config).toContain("server 2001:db8::1:4143 [2001:db8::1]:4143");
  });

  test.each([
    ["it names no gatewayIdentity", { gatewayIdentity: "" }],
    ['its gatewayIdentity "a b" is no DNS name', { gatewayIdentity: "a b" }],
    ["its gatewayPort 0 is no port", { gatewayPort: 0 }],
    [
      'its gateway address "x\\n  bind :1" is neither an IP address nor a host name',
      { gatewayAddresses: ["x\n  bind :1"] },
    ],
  ])("does not use a link of which %s", (why, spec) => {
    const { problems, config } = picture([], [{ ...east, spec: { ...east.spec, ...spec } }]);
    expect(problems).toEqual([`link isthmus/east cannot be called over: ${why}`]);
    expect(config).toBe(picture([], []).config);
  });

  test("checks a gateway as its link's probe says", () => {
    const probed = {
      ...east,
      spec: { ...east.spec, probe: { period: "1m30s", timeout: "1.5s", failureThreshold: 7 } },
    };
    const linkTarget = (link: Link) => gatewayTargets(link, [])[0];
    expect(linkTarget(probed)).toMatchObject({ check: { periodMs: 90_000, timeoutMs: 1500, failures: 7 } });
    // One time that HAProxy cannot hold would have it refuse the links of all others too.
    const absurd = { ...east, spec: { ...east.spec, probe: { period: "1000000h", timeout: "1000000h" } } };
    expect(linkTarget(absurd)).toMatchObject({ check: { periodMs: 3_600_000, timeoutMs: 3_600_000 } });
    const { probe, ...spec } = east.spec;
    expect(probe).toBeDefined();
    expect(linkTarget({ ...east, spec })).toEqual({
      link: linkLabelValue({ namespace: NAMESPACE, name: "east" }),
      addresses: ["203.0.113.10"],
      port: 4143,
      identity: identityOf("east"),
      check: { periodMs: 3000, timeoutMs: 5000, failures: 3 },
    });
  });
});
