import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, describe, expect, test } from "@jest/globals";
import { parse } from "yaml";
import { GatewayExposure, reachedAt } from "../../components/exposure.ts";
import { apiServerOf, tokenKubeconfig } from "../../components/kubeconfig.ts";
import { linksOf, type Topology, topologyProblems } from "../../components/topology.ts";

const CLUSTERS = ["a", "b", "c"];

describe("a topology", () => {
  test.each<[string, Topology, string]>([
    ["full mesh", { shape: "full-mesh" }, "a>b a>c b>a b>c c>a c>b"],
    ["hub", { shape: "hub", hub: "b" }, "a>b b>a b>c c>b"],
    ["tree", { shape: "tree", children: { a: ["b"], b: ["c"] } }, "a>b b>a b>c c>b"],
    ["list", { shape: "links", links: [{ source: "c", target: "a" }] }, "c>a"],
    ["empty list", { shape: "links", links: [] }, ""],
  ])("of shape %s has these links", (_, topology, links) => {
    expect(topologyProblems(CLUSTERS, topology)).toEqual([]);
    expect(
      linksOf(CLUSTERS, topology)
        .map(({ source, target }) => `${source}>${target}`)
        .join(" "),
    ).toBe(links);
  });

  test.each<[string, Topology, string]>([
    [
      "a hub that is no cluster",
      { shape: "hub", hub: "x" },
      'hub is "x", which is no cluster of this mesh; the clusters are a, b, c',
    ],
    ["no hub", { shape: "hub" }, "hub is missing; the clusters are a, b, c"],
    [
      "a link to no cluster",
      { shape: "links", links: [{ source: "a", target: "x" }] },
      'links.0.target is "x", which is no cluster of this mesh; the clusters are a, b, c',
    ],
    [
      "a link to its own cluster",
      { shape: "links", links: [{ source: "a", target: "a" }] },
      "links.0 links a to itself; a link needs two clusters",
    ],
    [
      "a link twice",
      {
        shape: "links",
        links: [
          { source: "a", target: "b" },
          { source: "a", target: "b" },
        ],
      },
      "links.1 is the second link a -> b; one is enough",
    ],
    [
      "a tree with two parents of one child",
      { shape: "tree", children: { a: ["c"], b: ["c"] } },
      "children.b.0 gives c a second parent, it has a; a tree allows one",
    ],
    [
      "a tree that bites its tail",
      { shape: "tree", children: { a: ["b"], b: ["a"] } },
      "children.b.0 makes a an ancestor of itself; a tree has no circles",
    ],
  ])("is wrong with %s", (_, topology, problem) => {
    const found = topologyProblems(CLUSTERS, topology);
    expect(found.map(({ path, message }) => `${path.join(".")} ${message}`)).toEqual([problem]);
  });
});

describe("a gateway is reached", () => {
  const ports = { port: 4143, probePort: 4191 };
  const state = {
    clusterIP: "10.0.0.1",
    ports: [
      { name: "mc-gateway", nodePort: 31_000 },
      { name: "mc-probe", nodePort: 31_001 },
    ],
    ingress: [{ ip: "203.0.113.1" }, { hostname: "lb.example.com" }],
  };

  test.each<[string, GatewayExposure, string[] | undefined, object]>([
    [
      "at the load balancer's addresses and names",
      "LoadBalancer",
      undefined,
      { addresses: ["203.0.113.1", "lb.example.com"], port: 4143, probePort: 4191 },
    ],
    ["at its cluster IP", "ClusterIP", undefined, { addresses: ["10.0.0.1"], port: 4143, probePort: 4191 }],
    [
      "at the ports that the cluster chose, on the nodes given",
      "NodePort",
      ["192.0.2.1"],
      { addresses: ["192.0.2.1"], port: 31_000, probePort: 31_001 },
    ],
    [
      "at the addresses given, whatever the Service says",
      "LoadBalancer",
      ["gw.example.com"],
      { addresses: ["gw.example.com"], port: 4143, probePort: 4191 },
    ],
  ])("%s", (_, exposure, given, reached) => {
    expect(reachedAt(exposure, ports, given, state)).toEqual(reached);
  });

  test("nowhere while the load balancer has no address", () => {
    expect(reachedAt(GatewayExposure.LoadBalancer, ports, undefined, {}).addresses).toEqual([]);
  });
});

describe("the API server of a context", () => {
  const folder = mkdtempSync(join(tmpdir(), "isthmus-kubeconfig-"));
  afterAll(() => rmSync(folder, { recursive: true }));
  const before = process.env.KUBECONFIG;
  afterEach(() => {
    if (before === undefined) delete process.env.KUBECONFIG;
    else process.env.KUBECONFIG = before;
  });

  const file = (name: string, cluster: object) => {
    const path = join(folder, name);
    writeFileSync(
      path,
      JSON.stringify({
        contexts: [{ name, context: { cluster: `${name}-cluster`, user: name } }],
        clusters: [{ name: `${name}-cluster`, cluster }],
      }),
    );
    return path;
  };

  test("is the one that the kubeconfig has", () => {
    const path = file("east", { server: "https://east:6443", "certificate-authority-data": "Q0E=" });
    expect(apiServerOf("east", path)).toEqual({
      ownAddress: "https://east:6443",
      server: "https://east:6443",
      certificateAuthorityData: "Q0E=",
    });
  });

  test("is for other clusters the one that the cluster's extension names", () => {
    const path = file("kind", {
      server: "https://127.0.0.1:40000",
      "certificate-authority-data": "Q0E=",
      extensions: [{ name: "isthmus.dev/api-server", extension: { server: "https://172.18.0.2:6443" } }],
    });
    expect(apiServerOf("kind", path)).toMatchObject({
      ownAddress: "https://127.0.0.1:40000",
      server: "https://172.18.0.2:6443",
    });
  });

  test("has its certificates read from a file beside the kubeconfig", () => {
    writeFileSync(join(folder, "ca.pem"), "CA");
    const path = file("north", { server: "https://north", "certificate-authority": "ca.pem" });
    expect(apiServerOf("north", path).certificateAuthorityData).toBe(Buffer.from("CA").toString("base64"));
  });

  test("is found in any file of KUBECONFIG", () => {
    const paths = [
      join(folder, "absent"),
      file("first", { server: "https://1" }),
      file("second", { server: "https://2" }),
    ];
    process.env.KUBECONFIG = paths.join(":");
    expect(apiServerOf("second").server).toBe("https://2");
  });

  test("is asked for in vain where there is no such context, which names those there are", () => {
    const path = file("south", { server: "https://south" });
    expect(() => apiServerOf("sout", path)).toThrow(
      `there is no context "sout" in ${path}; the contexts there are: south`,
    );
  });

  test("is asked for in vain where there is no kubeconfig", () => {
    expect(() => apiServerOf("east", join(folder, "none"))).toThrow(
      `there is no kubeconfig at ${join(folder, "none")}`,
    );
  });

  test("is asked for in vain where the kubeconfig is not YAML", () => {
    const path = join(folder, "broken");
    writeFileSync(path, "contexts: [");
    expect(() => apiServerOf("east", path)).toThrow(`the kubeconfig ${path} cannot be read: `);
  });
});

test("a source's kubeconfig for a target holds one server and one token", () => {
  const apiServer = { server: "https://west:6443", certificateAuthorityData: "Q0E=" };
  expect(parse(tokenKubeconfig("west", apiServer, "isthmus", "t0ken"))).toEqual({
    apiVersion: "v1",
    kind: "Config",
    clusters: [
      { name: "west", cluster: { server: "https://west:6443", "certificate-authority-data": "Q0E=" } },
    ],
    users: [{ name: "west", user: { token: "t0ken" } }],
    contexts: [{ name: "west", context: { cluster: "west", user: "west", namespace: "isthmus" } }],
    "current-context": "west",
  });
});
