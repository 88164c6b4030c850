import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { KubeClient } from "../../controller/kube/client.ts";
import { systemClock } from "../../controller/kube/clock.ts";
import { silentLog } from "../../controller/kube/log.ts";
import type { Service } from "../../controller/kube/objects.ts";
import { SERVICES } from "../../controller/kube/resource.ts";
import { GatewayServices } from "../../controller/mirror/gateways/gateway-services.ts";
import { FakeApi } from "../support/fake-api.ts";
import { aGatewayService } from "../support/mirror-objects.ts";
import { eventually } from "../support/wait.ts";

describe("the gateway Services of a target", () => {
  let api: FakeApi;
  let services: GatewayServices;
  let changes: number;
  const ends: (() => Promise<void>)[] = [];
  const ref = (name: string, namespace = "isthmus") => ({ namespace, name });

  beforeEach(async () => {
    api = await FakeApi.start();
    changes = 0;
    services = new GatewayServices({
      clock: systemClock,
      random: () => 0,
      log: silentLog,
      onChange: () => {
        changes++;
      },
    });
  });
  afterEach(async () => {
    for (const end of ends.splice(0)) await end();
    await api.close();
  });

  function connect(): () => Promise<void> {
    const client = new KubeClient({ cluster: "remote", credentials: api.credentials() });
    const stop = new AbortController();
    const running = services.run(client, stop.signal);
    const end = async () => {
      stop.abort();
      await running;
      await client.close();
    };
    ends.push(end);
    return end;
  }

  function put(service: Service): void {
    api.objects.create(SERVICES, service);
    api.objects.modify(
      SERVICES,
      ref(service.metadata.name),
      (each) => ({ ...each, status: service.status ?? {} }),
      "status",
    );
  }

  const addresses = (name: string) => {
    const found = services.of(ref(name));
    if (found === undefined || typeof found === "string") return found;
    return found.status?.loadBalancer?.ingress?.map(({ ip }) => ip);
  };

  test("are not known until the target was asked, then there or not, and followed", async () => {
    services.want([ref("one"), ref("two")]);
    put(aGatewayService({ name: "one" }));
    expect(addresses("one")).toBe("unknown");
    connect();
    await eventually(() => addresses("one") !== "unknown" && services.of(ref("two")) !== "unknown");
    expect(addresses("one")).toEqual(["203.0.113.1"]);
    expect(addresses("two")).toBeUndefined();
    const before = changes;
    api.objects.modify(
      SERVICES,
      ref("one"),
      (each) => ({ ...each, status: { loadBalancer: { ingress: [{ ip: "203.0.113.9" }] } } }),
      "status",
    );
    await eventually(() => addresses("one")?.[0] === "203.0.113.9");
    expect(changes).toBeGreaterThan(before);
    api.objects.delete(SERVICES, ref("one"));
    await eventually(() => services.of(ref("one")) === undefined);
  });

  test("outlive the connection that they came by, and are told anew over the next", async () => {
    put(aGatewayService({ name: "one" }));
    services.want([ref("one")]);
    const disconnect = connect();
    await eventually(() => addresses("one") !== "unknown");
    await disconnect();
    api.objects.modify(
      SERVICES,
      ref("one"),
      (each) => ({ ...each, status: { loadBalancer: { ingress: [{ ip: "203.0.113.9" }] } } }),
      "status",
    );
    expect(addresses("one")).toEqual(["203.0.113.1"]);
    connect();
    await eventually(() => addresses("one")?.[0] === "203.0.113.9");
  });

  test("are asked for one by one, and only those that are wanted", async () => {
    connect();
    services.want([ref("one")]);
    await eventually(() => services.of(ref("one")) === undefined);
    services.want([ref("two")]);
    await eventually(() => services.of(ref("two")) === undefined);
    expect(services.of(ref("one"))).toBe("unknown");
    expect(services.wanted).toEqual([ref("two")]);
    expect(api.requests.map(({ namespace, query }) => `${namespace} ${query.get("fieldSelector")}`)).toEqual(
      expect.arrayContaining(["isthmus metadata.name=one", "isthmus metadata.name=two"]),
    );
    await eventually(() => api.watches.size === 1);
  });

  test("that are wanted or not are told of as a change, the same ones again are not", () => {
    services.want([ref("one")]);
    services.want([ref("one"), ref("one")]);
    expect(changes).toBe(1);
    services.want([]);
    expect(changes).toBe(2);
  });

  test("are 16 at most: those that are followed stay, the Link's own always has a place", async () => {
    const many = Array.from({ length: 20 }, (_, i) => ref(`g${i}`));
    connect();
    services.want(many);
    expect(services.of(ref("g15"))).toBe("unknown");
    expect(services.of(ref("g16"))).toBe("too many");
    services.want([ref("a"), ...many]);
    expect(services.of(ref("a"))).toBe("unknown");
    expect(services.of(ref("g15"))).toBe("unknown");
    services.want([ref("a"), ...many.slice(2)]);
    expect(services.of(ref("g16"))).toBe("unknown");
    expect(services.of(ref("g17"))).toBe("too many");
  });

  test("keep of what a target says only what tells how they are reached", async () => {
    const service = aGatewayService({
      name: "one",
      ingress: Array.from({ length: 100 }, (_, i) => ({ ip: `203.0.113.${i}` })),
    });
    service.metadata.annotations = { ...service.metadata.annotations, huge: "x".repeat(100_000) };
    service.spec = {
      ...service.spec,
      ports: [
        ...(service.spec?.ports ?? []),
        ...Array.from({ length: 50 }, (_, i) => ({ name: `p${i}`, port: i + 1 })),
      ],
    };
    put(service);
    services.want([ref("one")]);
    connect();
    await eventually(() => addresses("one") !== "unknown");
    const kept = services.of(ref("one")) as Service;
    expect(JSON.stringify(kept).length).toBeLessThan(2_000);
    expect(kept.status?.loadBalancer?.ingress).toHaveLength(17);
    expect(kept.spec?.ports).toHaveLength(2);
  });

  test("are not believed to be gone by an answer that is full of other things: it is asked again", async () => {
    put(aGatewayService({ name: "one" }));
    const other = (name: string) => ({ ...aGatewayService({ name }) });
    const body = JSON.stringify({
      apiVersion: "v1",
      kind: "ServiceList",
      metadata: { resourceVersion: "1" },
      items: [other("two"), other("three")],
    });
    api.faults.inject({ kind: "body", body, type: "application/json" }, { times: 1 });
    services.want([ref("one")]);
    connect();
    await eventually(() => services.of(ref("one")) !== "unknown");
    expect(addresses("one")).toEqual(["203.0.113.1"]);
  });
});
