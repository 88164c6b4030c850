import { describe, expect, test } from "@jest/globals";
import { routeServerName } from "../../contract/index.ts";
import { gatewayFiles } from "../../controller/gateway/files.ts";
import { ingressPicture } from "../../controller/gateway/ingress-routes.ts";
import { isSameContent, trimSlice } from "../../controller/gateway/trim.ts";
import type { Endpoint, EndpointSlice, Service } from "../../controller/kube/objects.ts";
import { exportedService, headless, identityOf, remoteAccess, sliceOf } from "../support/gateway-objects.ts";

const files = gatewayFiles("/run/isthmus");
const identity = identityOf("east");
const settings = { files, ipv6: false, probePort: 4191, accessLog: true, port: 4143, identity };

describe("the hosts of an exported headless service", () => {
  const db = headless(exportedService({ name: "db", port: 5432 }));
  const pod = (name: string, address: string, more: Partial<Endpoint> = {}): Endpoint => ({
    addresses: [address],
    conditions: { ready: true, serving: true, terminating: false },
    targetRef: { kind: "Pod", namespace: "default", name },
    ...more,
  });
  const slice = (...endpoints: Endpoint[]) => sliceOf(db, 5432, { endpoints });
  const door = (hostname: string, port = 5432, caller = "*") =>
    `${caller}|${routeServerName({ namespace: "default", service: "db", port, hostname }, identity)}`;
  const routes = (slices: EndpointSlice[], services: Service[] = [db]) => {
    const serviceAccounts = [remoteAccess("west"), remoteAccess("north")];
    const picture = ingressPicture({ settings, services, slices, serviceAccounts });
    expect(picture.problems).toEqual([]);
    return Object.fromEntries(picture.maps.find(({ file }) => file === files.routes)!.entries);
  };

  test("have a route each, to their own address and the port that their slice names", () => {
    const ports = [
      { name: "sql", port: 5432 },
      { name: "metrics", port: 80, targetPort: "prom" },
      { name: "dns", port: 53, protocol: "UDP" },
    ];
    const service = { ...db, spec: { clusterIP: "None", ports } };
    const first = sliceOf(service, 0, {
      endpoints: [pod("db-0", "10.1.0.4"), pod("db-1", "10.1.0.5", { hostname: "one" })],
      ports: [
        { name: "sql", port: 15_432, protocol: "TCP" },
        { name: "metrics", port: 9100 },
        { name: "dns", port: 53, protocol: "UDP" },
      ],
    });
    // A pod that calls its port `prom` another number is in another slice.
    const second = sliceOf(service, 0, {
      endpoints: [pod("db-2", "10.1.0.6")],
      ports: [{ name: "metrics", port: 9200 }],
    });
    expect(routes([first, second], [service])).toEqual({
      [door("db-0")]: "10.1.0.4/15432/default/db-0.db:5432",
      [door("one")]: "10.1.0.5/15432/default/one.db:5432",
      [door("db-0", 80)]: "10.1.0.4/9100/default/db-0.db:80",
      [door("one", 80)]: "10.1.0.5/9100/default/one.db:80",
      [door("db-2", 80)]: "10.1.0.6/9200/default/db-2.db:80",
    });
  });

  test("are found by a port without a name", () => {
    const unnamed = { ...db, spec: { clusterIP: "None", ports: [{ port: 5432 }] } };
    for (const port of [{ port: 7 }, { name: "", port: 7 }]) {
      expect(
        routes([sliceOf(unnamed, 7, { endpoints: [pod("db-0", "10.1.0.4")], ports: [port] })], [unnamed]),
      ).toEqual({ [door("db-0")]: "10.1.0.4/7/default/db-0.db:5432" });
    }
  });

  test.each([
    ["ready", { ready: true, serving: true, terminating: false }, true],
    ["not ready", { ready: false, serving: false, terminating: false }, true],
    ["of unknown condition", {}, true],
    ["ending and serving still", { ready: false, serving: true, terminating: true }, true],
    ["ending", { ready: false, serving: false, terminating: true }, false],
    ["ending, in the words of an older API server", { ready: false, terminating: true }, false],
  ])("can be called when %s: %j is %s", (_, conditions, called) => {
    expect(Object.keys(routes([slice(pod("db-0", "10.1.0.4", { conditions }))]))).toEqual(
      called ? [door("db-0")] : [],
    );
  });

  test("are called by IPv4 where they have both families, by IPv6 where that is all, by no name of a slice", () => {
    const six = sliceOf(db, 5432, {
      addressType: "IPv6",
      endpoints: [pod("db-0", "2001:db8::4"), pod("db-1", "2001:db8::5")],
    });
    const named = sliceOf(db, 5432, { addressType: "FQDN", endpoints: [pod("db-2", "db.example.com")] });
    const expected = {
      [door("db-0")]: "203.0.113.4/5432/default/db-0.db:5432",
      [door("db-1")]: "2001:db8::5/5432/default/db-1.db:5432",
    };
    const four = slice(pod("db-0", "203.0.113.4"));
    expect(routes([four, six, named])).toEqual(expected);
    expect(routes([named, six, four])).toEqual(expected);
  });

  test("are called where they stay, not where they end", () => {
    const conditions = { ready: false, serving: true, terminating: true };
    const slices = [slice(pod("db-0", "10.1.0.9")), slice(pod("db-0", "10.1.0.4", { conditions }))];
    for (const each of [slices, slices.toReversed()]) {
      expect(Object.values(routes(each))).toEqual(["10.1.0.9/5432/default/db-0.db:5432"]);
    }
  });

  test("have names that are no DNS labels, and no names but their addresses", () => {
    const anonymous = { addresses: ["10.1.0.7"] };
    const dotted = pod("db.with.dots", "10.1.0.8");
    expect(Object.keys(routes([slice(anonymous, dotted, { addresses: [] })]))).toEqual([
      door("10.1.0.7"),
      door("db.with.dots"),
    ]);
  });

  test("can be called by those alone that allowed-clusters names", () => {
    const narrowed = headless(exportedService({ name: "db", port: 5432, allowed: "west" }));
    expect(Object.keys(routes([slice(pod("db-0", "10.1.0.4"))], [narrowed]))).toEqual([
      door("db-0", 5432, "west"),
    ]);
  });

  test("cannot be called by way of a slice of another service, or of one that is not exported", () => {
    const other = sliceOf(exportedService({ name: "other", port: 5432 }), 5432, {
      endpoints: [pod("other-0", "10.1.0.9")],
    });
    expect(routes([other])).toEqual({});
    const hidden = headless(exportedService({ name: "db", port: 5432, exported: false }));
    expect(routes([slice(pod("db-0", "10.1.0.4"))], [hidden])).toEqual({});
    const elsewhere = slice(pod("db-0", "10.1.0.4"));
    elsewhere.metadata.namespace = "elsewhere";
    expect(routes([elsewhere])).toEqual({});
  });

  test("leave a service with an address of its own as it is", () => {
    const plain = exportedService({ name: "db", port: 5432, address: "10.96.0.7" });
    expect(Object.values(routes([slice(pod("db-0", "10.1.0.4"))], [plain]))).toEqual([
      "10.96.0.7/5432/default/db:5432",
    ]);
  });

  test("are kept without what a gateway need not know, which is no reason to look at them again", () => {
    const before = slice(pod("db-0", "10.1.0.4"), pod("db-1", "10.1.0.5"));
    const ending = { ready: false, serving: false, terminating: true };
    const touched: EndpointSlice = {
      ...slice(
        pod("db-0", "10.1.0.4", { conditions: { ready: false }, nodeName: "node-1", zone: "a" }),
        pod("db-1", "10.1.0.5", { addresses: ["10.1.0.5", "10.1.0.6"] }),
        pod("db-2", "10.1.0.7", { conditions: ending }),
      ),
    };
    touched.metadata = { ...touched.metadata, resourceVersion: "7", annotations: { when: "now" } };
    expect(isSameContent(trimSlice(before), trimSlice(touched))).toBe(true);
    expect(routes([trimSlice(touched)])).toEqual(routes([before]));
    const moved = slice(pod("db-0", "10.1.0.4"), pod("db-1", "10.1.0.55"));
    expect(isSameContent(trimSlice(before), trimSlice(moved))).toBe(false);
  });
});
