import { describe, expect, test } from "@jest/globals";
import type { EndpointSlice } from "../../controller/kube/objects.ts";
import {
  desiredFederated,
  type FederatedInput,
  keptMemberSlice,
  localSlices,
  memberEntries,
  memberSlices,
} from "../../controller/mirror/federated.ts";
import { aLink, anExport, ready } from "../support/mirror-objects.ts";

const link = (name: string) => aLink({ targetClusterName: name }, { name });
const port = (number: number, name = "http") => ({ name, port: number, protocol: "TCP" });
const web = anExport("web", { labels: { app: "web" }, ports: [port(80)] });
const model = { service: web, ports: [port(80)], exclusions: {} };
const input = (changes: Partial<FederatedInput>): FederatedInput => ({
  isthmus: "isthmus",
  model,
  actual: undefined,
  members: [],
  kept: [],
  hasLocal: false,
  ...changes,
});
const of = { namespace: "ns1", name: "web" };

describe("a federated Service", () => {
  test("names its members in one order, whoever joined first, with the egress ports of each", () => {
    const members = ["west", "east"].map((name, i) => ({
      link: link(name),
      ports: [port(80)],
      egressPorts: new Map([[80, 20_001 + i]]),
    }));
    const service = desiredFederated(of, input({ members, hasLocal: true }));
    expect(service.metadata).toEqual({
      namespace: "ns1",
      name: "web-federated",
      labels: {
        app: "web",
        "mirror.linkerd.io/mirrored-service": "true",
        "app.kubernetes.io/managed-by": "isthmus",
        "isthmus.dev/federated-by": "isthmus",
      },
      annotations: {
        "isthmus.dev/remote-service": "ns1/web",
        "multicluster.linkerd.io/remote-discovery": "web@east,web@west",
        "multicluster.linkerd.io/local-discovery": "web",
        "egress-ports.isthmus.dev/isthmus.east": "80=20002",
        "egress-ports.isthmus.dev/isthmus.west": "80=20001",
      },
    });
    expect([...memberEntries(service)]).toEqual([
      ["east", "web@east"],
      ["west", "web@west"],
    ]);
  });

  test("keeps what it has of members that cannot be asked, and what it is like if one of these says that", () => {
    const kept = [{ link: link("east"), entry: "web@east", egressPorts: "80=20009" }];
    const actual = desiredFederated(of, input({ members: [{ link: link("east"), ports: [] }] }));
    const service = desiredFederated(of, input({ model: undefined, actual, kept }));
    expect(service.metadata.labels).toEqual(actual.metadata.labels);
    expect(service.spec).toEqual(actual.spec);
    expect(service.metadata.annotations).toMatchObject({
      "multicluster.linkerd.io/remote-discovery": "web@east",
      "egress-ports.isthmus.dev/isthmus.east": "80=20009",
    });
  });

  test("keeps the ports of such a member where they are outside the range, since its slice still names them", () => {
    const left = { link: link("east"), ports: [port(80)], egressPorts: new Map([[80, 20_009]]) };
    const actual = desiredFederated(of, input({ members: [left] }));
    const kept = [{ link: link("east"), entry: "web@east" }];
    expect(desiredFederated(of, input({ actual, kept })).metadata.annotations).toMatchObject({
      "egress-ports.isthmus.dev/isthmus.east": "80=20009",
    });
  });

  test("loses the annotations of members that left", () => {
    const actual = desiredFederated(
      of,
      input({ members: [{ link: link("east"), ports: [port(80)], egressPorts: new Map([[80, 20_001]]) }] }),
    );
    const { annotations } = desiredFederated(
      of,
      input({ model: undefined, actual, hasLocal: true }),
    ).metadata;
    expect(annotations).toEqual({
      "isthmus.dev/remote-service": "ns1/web",
      "multicluster.linkerd.io/local-discovery": "web",
    });
  });
});

describe("the slice to a member", () => {
  const service = {
    ...desiredFederated(of, input({ model: { ...model, ports: [port(80), port(9090, "grpc")] } })),
    metadata: { namespace: "ns1", name: "web-federated", uid: "u1", labels: { a: "b" } },
  };
  const member = {
    link: link("east"),
    ports: [port(8080), port(1, "other")],
    egressPorts: new Map([
      [8080, 20_001],
      [1, 20_002],
    ]),
  };

  test("leads to the ports of the same names, be their numbers as they may, and leaves out those that it lacks", () => {
    expect(memberSlices(service, member, { addresses: ready("10.1.0.2") })).toMatchObject([
      {
        metadata: {
          labels: { a: "b", "isthmus.dev/link": "isthmus.east", "mirror.linkerd.io/cluster-name": "east" },
          ownerReferences: [{ uid: "u1" }],
        },
        endpoints: [{ addresses: ["10.1.0.2"], conditions: { ready: true } }],
        ports: [{ name: "http", port: 20_001 }],
      },
    ]);
  });

  test("takes no calls while the member has nobody ready", () => {
    const [slice] = memberSlices(service, member, { addresses: ready("10.1.0.2"), empty: true });
    expect(slice?.endpoints).toEqual([{ addresses: ["10.1.0.2"], conditions: { ready: false } }]);
  });

  test("follows the egress while the member cannot be asked, and stays as it is otherwise", () => {
    const [slice] = memberSlices(service, member, { addresses: ready("10.1.0.2"), empty: true });
    const kept = keptMemberSlice(service, slice!, member.link, { addresses: ready("10.1.0.3") });
    expect(kept).toEqual({
      ...slice,
      endpoints: [{ addresses: ["10.1.0.3"], conditions: { ready: false } }],
    });
  });
});

test("the slices to this cluster's member are its own, for the ports that both have", () => {
  const service = desiredFederated(of, input({}));
  const own: EndpointSlice = {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: { namespace: "ns1", name: "web-abc", labels: { "kubernetes.io/service-name": "web" } },
    addressType: "IPv4",
    endpoints: [{ addresses: ["10.244.0.3"], conditions: { ready: false }, nodeName: "n1", hostname: "x" }],
    ports: [port(8080), port(9, "other")],
  };
  const [slice] = localSlices(service, [own, { ...own, addressType: "FQDN" }]);
  expect(slice).toMatchObject({
    endpoints: [{ addresses: ["10.244.0.3"], conditions: { ready: false }, nodeName: "n1" }],
    ports: [{ name: "http", port: 8080 }],
  });
  expect(slice?.metadata.labels).not.toHaveProperty(["isthmus.dev/link"]);
  expect(slice?.metadata.labels?.["kubernetes.io/service-name"]).toBe("web-federated");
});
