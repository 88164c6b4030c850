import { describe, expect, test } from "@jest/globals";
import { type Link, type LinkGatewayStatus, routeServerName } from "../../contract/index.ts";
import { backendPeer, gatewayBackend } from "../../controller/gateway/egress-config.ts";
import { egressPicture } from "../../controller/gateway/egress-routes.ts";
import { gatewayFiles } from "../../controller/gateway/files.ts";
import { FollowedGateways } from "../../controller/gateway/followed-gateways.ts";
import { usableEntries } from "../../controller/gateway/picture.ts";
import { isSameContent, trimLink } from "../../controller/gateway/trim.ts";
import type { Service } from "../../controller/kube/objects.ts";
import { FakeClock } from "../support/fake-clock.ts";
import {
  exportedService,
  federatedOf,
  headless,
  identityOf,
  linkTo,
  linkWith,
  mirrorOf,
  podMirrorOf,
  throughGateway,
} from "../support/gateway-objects.ts";

const files = gatewayFiles("/run/isthmus");
const ports = { first: 20_000, last: 28_191 };
const settings = { files, ipv6: false, probePort: 4191, accessLog: true, ports };
const picture = (services: Service[], links: Link[]) => egressPicture({ settings, services, links });
const routesIn = (services: Service[], links: Link[]) =>
  Object.fromEntries(picture(services, links).maps[0]!.entries);
const serverName = (service: string, port: number, identity = identityOf("east"), hostname?: string) =>
  routeServerName(
    { namespace: "default", service, port, ...(hostname !== undefined && { hostname }) },
    identity,
  );
const at = (address: string, alive = true) => ({ address, alive });

const web = exportedService({ name: "web", port: 80 });
const east = linkTo("east", 4143, ["203.0.113.10"]);
const south = linkTo("south", 4143, ["203.0.113.20"]);
const own: LinkGatewayStatus = { addresses: [at("203.0.113.77")], port: 15_443 };
const eu: LinkGatewayStatus = {
  namespace: "gateways",
  name: "eu",
  addresses: [at("203.0.113.90"), at("eu.example.com")],
  port: 443,
  identity: "eu.east.example.com",
};

describe("the mirror of one pod of a headless service", () => {
  test("is called under the name of the pod", () => {
    expect(routesIn([podMirrorOf(web, "web-0", "east", 20_417)], [east])).toEqual({
      "20417": `link_isthmus.east/${serverName("web", 80, identityOf("east"), "web-0")}/default/web-0-east:80`,
    });
  });

  test("stands beside the mirror of the service, which carries nothing, and that is no problem", () => {
    const root = headless(mirrorOf(web, "east", 0));
    delete root.metadata.annotations!["isthmus.dev/egress-ports"];
    expect(picture([root], [])).toMatchObject({ problems: [] });
    expect(routesIn([root], [east])).toEqual({});
  });
});

describe("a federated service", () => {
  const federated = federatedOf(web, { east: 20_417, south: 20_418 });

  test("is called at each of its members elsewhere, under the name that member's cluster knows", () => {
    expect(routesIn([federated], [east, south])).toEqual({
      "20417": `link_isthmus.east/${serverName("web", 80)}/default/web-federated:80`,
      "20418": `link_isthmus.south/${serverName("web", 80, identityOf("south"))}/default/web-federated:80`,
    });
    expect(picture([federated], [east, south]).problems).toEqual([]);
  });

  test("keeps the members whose link is there, and says which one is not", () => {
    expect(Object.keys(routesIn([federated], [east]))).toEqual(["20417"]);
    expect(picture([federated], [east]).problems).toEqual([
      "member over link isthmus.south of federated service default/web-federated cannot be called: its link is not there",
    ]);
  });

  test("has no port and no gateway of its own, whatever is written to it", () => {
    const edited = federatedOf(web, { east: 20_417 });
    edited.metadata.annotations!["isthmus.dev/egress-ports"] = "80=20500";
    edited.metadata.annotations!["isthmus.dev/gateway"] = "gateways/eu";
    expect(routesIn([edited], [linkWith(east, eu), south])).toEqual({
      "20417": `link_isthmus.east/${serverName("web", 80)}/default/web-federated:80`,
    });
  });
});

test("what has a link is a mirror, whatever else is written to it", () => {
  const mirror = mirrorOf(web, "east", 20_417);
  const { labels, annotations } = federatedOf(web, { south: 20_418 }).metadata;
  mirror.metadata.labels = { ...labels, ...mirror.metadata.labels };
  mirror.metadata.annotations = { ...annotations, ...mirror.metadata.annotations };
  expect(Object.keys(routesIn([mirror], [east, south]))).toEqual(["20417"]);
});

describe("a gateway that a service chooses", () => {
  const mirror = throughGateway(mirrorOf(web, "east", 20_417), "gateways/eu");

  test("has a backend of its own, under its own identity", () => {
    const link = linkWith(east, eu);
    expect(routesIn([mirror, mirrorOf(web, "east", 20_418)], [link])).toEqual({
      "20417": `link_isthmus.east:gateways.eu/${serverName("web", 80, "eu.east.example.com")}/default/web-east:80`,
      "20418": `link_isthmus.east/${serverName("web", 80)}/default/web-east:80`,
    });
    const { config } = picture([], [link]);
    const [, ownBackend, chosen] = config.split(/^backend /m);
    expect(ownBackend).toContain("server 203.0.113.10:4143 203.0.113.10:4143");
    expect(chosen).toContain("verifyhost eu.east.example.com");
    expect(chosen).toContain("server 203.0.113.90:443 203.0.113.90:443");
    expect(chosen).toContain("server-template eu.example.com_443- 4");
    expect(backendPeer(gatewayBackend("isthmus.east", { namespace: "gateways", name: "eu" }))).toBe(
      "isthmus.east:gateways.eu",
    );
  });

  test.each([
    ["has not been found yet", [], []],
    ["has no identity", [{ ...eu, identity: "" }], ["it names no gatewayIdentity"]],
    ["has no port that can be", [{ ...eu, port: 0 }], ["its gatewayPort 0 is no port"]],
    [
      "has an address that is none",
      [{ ...eu, addresses: [at("fe80::1%eth0")] }],
      ['its gateway address "fe80::1%eth0" is neither an IP address nor a host name'],
    ],
  ])("has no route while it %s, and that is told", (_, gateways, why) => {
    const link = linkWith(east, ...gateways);
    expect(routesIn([mirror], [link])).toEqual({});
    expect(picture([mirror], [link]).problems).toEqual([
      ...why.map((text) => `gateway "gateways/eu" of link isthmus/east cannot be called over: ${text}`),
      'mirror default/web-east cannot be called: the status of its link does not say how its gateway "gateways/eu" is reached',
    ]);
    expect(picture([], [link]).config).toBe(picture([], [east]).config);
  });

  test.each(["gateways/EU", "gateways/e:u", "a.b/c", "gateways/", "gateways", "gateways/eu/2"])(
    "is not taken for another for a name that no Service has: %j",
    (name) => {
      const [namespace = "", ...rest] = name.split("/");
      const link = linkWith(east, eu, { ...eu, namespace, name: rest.join("/") });
      expect(picture([], [link]).problems).toHaveLength(1);
      expect(picture([], [link]).config).toBe(picture([], [linkWith(east, eu)]).config);
      expect(routesIn([throughGateway(mirror, name)], [link])).toEqual({});
    },
  );

  test("is one of a bounded number", () => {
    const many = Array.from({ length: 65 }, (_, index) => ({ ...eu, name: `gateway-${index}` }));
    expect(picture([], [linkWith(east, ...many)]).problems).toEqual([
      "link isthmus/east has more than 64 gateways: the others are not used",
    ]);
    expect(picture([], [linkWith(east, ...many)]).config.match(/^backend /gm)).toHaveLength(65);
    const addresses = Array.from({ length: 1000 }, (_, index) => at(`10.0.${index >> 8}.${index & 255}`));
    const { config } = picture([], [linkWith(east, { ...own, addresses })]);
    expect(config.match(/^ {2}server /gm)).toHaveLength(16);
  });
});

describe("a link's own gateway", () => {
  test("is where the mirror controller found it, under the identity that the Link says", () => {
    const { config, problems } = picture([], [linkWith(east, { ...own, identity: "mallory.example.com" })]);
    expect(problems).toEqual([]);
    expect(config).toContain("server 203.0.113.77:15443 203.0.113.77:15443");
    expect(config).not.toContain("203.0.113.10");
    expect(config).toContain(`verifyhost ${identityOf("east")}`);
    expect(config).not.toContain("mallory");
  });

  test("is where the Link says as long as nothing was found", () => {
    expect(picture([], [linkWith(east, eu)]).config).toContain("server 203.0.113.10:4143 203.0.113.10:4143");
  });

  test("can be of no use while others are", () => {
    const link = linkWith({ ...east, spec: { ...east.spec, gatewayIdentity: "" } }, own, eu);
    const mirror = throughGateway(mirrorOf(web, "east", 20_417), "gateways/eu");
    expect(Object.keys(routesIn([mirror, mirrorOf(web, "east", 20_418)], [link]))).toEqual(["20417"]);
    expect(picture([mirrorOf(web, "east", 20_418)], [link]).problems).toEqual([
      "link isthmus/east cannot be called over: it names no gatewayIdentity",
      "mirror default/web-east cannot be called: its link cannot be called over",
    ]);
  });

  test("changes nothing by being found dead, nor a Link by what else its status tells", () => {
    const link = linkWith(east, own, eu);
    const told: Link = {
      ...east,
      metadata: { ...east.metadata, resourceVersion: "8", generation: 2 },
      status: { mirroredServices: 7, gateways: [{ ...own, addresses: [at("203.0.113.77", false)] }, eu] },
    };
    expect(picture([], [told]).config).toBe(picture([], [link]).config);
    expect(isSameContent(trimLink(link), trimLink(told))).toBe(true);
    expect(picture([], [trimLink(told)]).config).toBe(picture([], [link]).config);
    expect(isSameContent(trimLink(link), trimLink(linkWith(east, eu)))).toBe(false);
  });
});

describe("gateways that keep changing", () => {
  const moved = (link: Link, port: number) => linkWith(link, { ...own, port });
  const portsOf = (links: Link[]) => links.map(({ status }) => status?.gateways?.[0]?.port);

  test("are followed at once ten times, then every thirty seconds, and come to rest where they are", async () => {
    const clock = new FakeClock();
    let changes = 0;
    const gateways = new FollowedGateways(clock, () => {
      changes++;
    });
    const followed = (port: number) => portsOf(gateways.look([moved(east, port)]).followed);
    for (let port = 1; port <= 11; port++) expect(followed(port)).toEqual([port]);
    expect(followed(12)).toEqual([11]);
    expect(followed(13)).toEqual([11]);
    expect(clock.pending()).toHaveLength(1);
    await clock.advance(29_000);
    expect([changes, followed(14)]).toEqual([0, [11]]);
    await clock.advance(2_000);
    expect([changes, followed(14)]).toEqual([1, [14]]);
    expect(clock.pending()).toEqual([]);
  });

  test("hold up no other link, and nothing that the Link itself says", () => {
    const gateways = new FollowedGateways(new FakeClock(), () => undefined);
    for (let port = 1; port <= 20; port++) gateways.look([moved(east, port), moved(south, 1)]);
    const edited = { ...moved(east, 30), spec: { ...east.spec, gatewayIdentity: "other.example.com" } };
    const { followed } = gateways.look([edited, moved(south, 2)]);
    expect(portsOf(followed)).toEqual([11, 2]);
    expect(followed[0]!.spec.gatewayIdentity).toBe("other.example.com");
  });

  test("are forgotten with their Link", () => {
    const clock = new FakeClock();
    const gateways = new FollowedGateways(clock, () => undefined);
    for (let port = 1; port <= 20; port++) gateways.look([moved(east, port)]);
    gateways.look([linkWith(east, own)]);
    expect(clock.pending()).toHaveLength(1);
    gateways.look([]);
    expect(clock.pending()).toEqual([]);
    expect(portsOf(gateways.look([moved(east, 40)]).followed)).toEqual([40]);
  });

  test("are known before they are followed, and it is said that they are followed later", () => {
    const gateways = new FollowedGateways(new FakeClock(), () => undefined);
    for (let port = 1; port <= 11; port++) gateways.look([moved(east, port)]);
    const { known, followed } = gateways.look([linkWith(east, own, eu)]);
    expect([known[0]!.status?.gateways, portsOf(followed)]).toEqual([[own, eu], [11]]);
    const services = [throughGateway(mirrorOf(web, "east", 20_417), "gateways/eu")];
    const { maps, config, problems } = egressPicture({ settings, services, links: known, followed });
    expect(maps[0]!.entries.get("20417")).toContain("link_isthmus.east:gateways.eu/");
    expect(config).not.toContain("gateways.eu");
    expect(problems).toEqual(["the gateways of link isthmus/east change too often: they are followed later"]);
  });
});

describe("a gateway that is followed later", () => {
  const followed = [linkWith(east, eu)];
  const gateway = "gateways/eu";
  const services = [throughGateway(mirrorOf(web, "east", 20_417), gateway)];

  test("is called under the identity that it had where it was", () => {
    const moved = { ...eu, addresses: [at("203.0.113.91")], identity: "eu2.east.example.com" };
    const links = [linkWith(east, moved)];
    const { maps, problems } = egressPicture({ settings, services, links, followed });
    expect(maps[0]!.entries.get("20417")).toContain(".eu.east.example.com/");
    expect(problems).toEqual(["the gateways of link isthmus/east change too often: they are followed later"]);
    expect(picture(services, links).maps[0]!.entries.get("20417")).toContain(".eu2.east.example.com/");
  });

  test("says so once, the Link's own as well, whatever the gateways are called", () => {
    const names = Array.from({ length: 5 }, (_, index) => ({ ...eu, name: `rotating-${index}` }));
    const links = [linkWith(east, { ...own, port: 444 }, ...names), linkWith(south, own)];
    const { problems } = egressPicture({ settings, services: [], links, followed: [east, links[1]!] });
    expect(problems).toEqual(["the gateways of link isthmus/east change too often: they are followed later"]);
  });
});

describe("an entry whose backend is not there yet", () => {
  const none = new Set(["link_isthmus.east", "link_isthmus.south"]);
  const eastWithEu = linkWith(east, eu);
  /** What of a mirror stays in use as `before` is, when it is to be called over a gateway that is not there yet. */
  const used = async (mirror: Service, before: Service) => {
    const [map] = picture([throughGateway(mirror, "gateways/eu")], [eastWithEu, south]).maps;
    const present = picture([before], [eastWithEu, south]).maps[0]!.entries;
    const entries = await usableEntries(map!, none, async () => present);
    return [...entries.values()].map((value) =>
      [...present.values()].includes(value) ? "as before" : value,
    );
  };
  const host = exportedService({ name: "a", port: 80 });

  test("stays what it was for the same service", async () => {
    expect(await used(mirrorOf(web, "east", 20_417), mirrorOf(web, "east", 20_417))).toEqual(["as before"]);
  });

  test.each([
    ["another service", mirrorOf(exportedService({ name: "other", port: 80 }), "east", 20_417)],
    ["another port of it", mirrorOf(exportedService({ name: "web", port: 81 }), "east", 20_417)],
    ["a host of a headless service", podMirrorOf(host, "web", "east", 20_417)],
    ["a service of the same name in another cluster", mirrorOf(web, "south", 20_417)],
  ])("is left out where it was for %s, though it is called alike here", async (_, before) => {
    const mirror = mirrorOf(web, "east", 20_417);
    const alike = { ...before, metadata: { ...before.metadata, name: mirror.metadata.name! } };
    expect(await used(mirror, alike)).toEqual([]);
  });
});

describe("a gateway that no service chooses any more", () => {
  const us: LinkGatewayStatus = { ...eu, name: "us", port: 444 };

  test("is kept for two minutes, and then goes", async () => {
    const clock = new FakeClock();
    let changes = 0;
    const gateways = new FollowedGateways(clock, () => {
      changes++;
    });
    gateways.look([linkWith(east, own, eu)]);
    await clock.advance(60_000);
    for (const left of [100_000, 20_000]) {
      const { known, followed } = gateways.look([linkWith(east, own)]);
      expect([known[0]!.status?.gateways, followed[0]!.status?.gateways]).toEqual([
        [own, eu],
        [own, eu],
      ]);
      await clock.advance(left - 1);
    }
    expect(changes).toBe(0);
    await clock.advance(10);
    expect(changes).toBe(1);
    const { known, followed } = gateways.look([linkWith(east, own)]);
    expect([known[0]!.status?.gateways, followed[0]!.status?.gateways]).toEqual([[own], [own]]);
    expect(clock.pending()).toEqual([]);
  });

  test("is one that services choose: the Link's own goes at once", () => {
    const gateways = new FollowedGateways(new FakeClock(), () => undefined);
    gateways.look([linkWith(east, own, eu)]);
    const { known, followed } = gateways.look([linkWith(east, eu)]);
    expect([known[0]!.status?.gateways, followed[0]!.status?.gateways]).toEqual([[eu], [eu]]);
  });

  test("can be left and chosen as often as one likes: HAProxy keeps its configuration", () => {
    const gateways = new FollowedGateways(new FakeClock(), () => undefined);
    const configs = new Set<string>();
    for (let turn = 0; turn < 100; turn++) {
      for (const told of [[eu], [], [us, eu], [us]]) {
        const { known, followed } = gateways.look([linkWith(east, own, ...told)]);
        const { config, problems } = egressPicture({ settings, services: [], links: known, followed });
        if (turn > 0) configs.add(config);
        expect(problems).toEqual([]);
      }
    }
    expect(configs.size).toBe(1);
    const asia = { ...eu, name: "asia" };
    expect(gateways.look([linkWith(east, own, asia)]).followed[0]!.status?.gateways).toContainEqual(asia);
  });

  test("is told of again where it is now, and goes with its addresses of then", () => {
    const gateways = new FollowedGateways(new FakeClock(), () => undefined);
    gateways.look([linkWith(east, own, eu)]);
    gateways.look([linkWith(east, own)]);
    const { followed } = gateways.look([linkWith(east, own, { ...eu, port: 444 })]);
    expect(followed[0]!.status?.gateways).toEqual([own, { ...eu, port: 444 }]);
  });

  test("goes even while the gateways of its link change too often, from what calls may go through", async () => {
    const clock = new FakeClock();
    const gateways = new FollowedGateways(clock, () => undefined);
    gateways.look([linkWith(east, own, eu)]);
    gateways.look([linkWith(east, own)]);
    await clock.advance(119_000);
    for (let port = 1; port <= 20; port++) gateways.look([moved(port)]);
    await clock.advance(2_000);
    for (let look = 0; look < 2; look++) {
      const { known, followed } = gateways.look([moved(30)]);
      expect([known[0]!.status?.gateways?.length, followed[0]!.status?.gateways?.length]).toEqual([1, 2]);
    }
  });

  test("takes no place from one that a service chooses", () => {
    const gateways = new FollowedGateways(new FakeClock(), () => undefined);
    const named = (name: string) => ({ ...eu, name });
    const many = (prefix: string) => Array.from({ length: 40 }, (_, index) => named(`${prefix}-${index}`));
    gateways.look([linkWith(east, own, ...many("a"))]);
    const { known } = gateways.look([linkWith(east, own, ...many("b"))]);
    expect(known[0]!.status?.gateways).toEqual(expect.arrayContaining([own, ...many("b")]));
    expect(egressPicture({ settings, services: [], links: known }).problems).toEqual([]);
  });

  const moved = (port: number) => linkWith(east, { ...own, port });
});
