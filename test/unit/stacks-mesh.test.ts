import { homedir } from "node:os";
import { describe, expect, test } from "@jest/globals";
import { loadMesh, parseMesh } from "../../stacks/mesh.ts";
import { MeshError } from "../../stacks/problems.ts";

const at = `${process.cwd()}/mesh.yaml`;
const parse = (text: string) => parseMesh(text, at);

function problemsOf(text: string): string[] {
  try {
    parse(text);
  } catch (error) {
    if (error instanceof MeshError) return error.message.split("\n");
    throw error;
  }
  return [];
}

const HEAD = "name: demo\ntrustDomain: demo.mesh\n";
const TWO = `${HEAD}clusters:\n  - name: east\n  - name: west\n`;

describe("a mesh.yaml", () => {
  test("needs no more than a name, a trust domain and clusters", () => {
    expect(parse(TWO)).toEqual({
      file: at,
      name: "demo",
      trustDomain: "demo.mesh",
      namespace: "isthmus",
      images: {},
      trust: { anchors: ["root"], protect: false },
      clusters: [
        { name: "east", context: "east", gateway: {}, controller: {} },
        { name: "west", context: "west", gateway: {}, controller: {} },
      ],
      topology: { shape: "full-mesh" },
      exports: [],
    });
  });

  test.each<[string, string, object]>([
    ["full-mesh", "full-mesh", { shape: "full-mesh" }],
    ["hub", "{ hub: east }", { shape: "hub", hub: "east" }],
    ["tree", "{ tree: { east: [west] } }", { shape: "tree", children: { east: ["west"] } }],
    [
      "links",
      "{ links: [{ source: east, target: west }] }",
      { shape: "links", links: [{ source: "east", target: "west" }] },
    ],
  ])("has a topology: %s", (_, written, topology) => {
    expect(parse(`${TWO}topology: ${written}\n`).topology).toEqual(topology);
  });

  test.each([
    ["config/kube", `${process.cwd()}/config/kube`],
    ["/etc/kube", "/etc/kube"],
    ["~/.kube/other", `${homedir()}/.kube/other`],
  ])("finds the kubeconfig %s", (written, path) => {
    expect(parse(`${TWO}kubeconfig: ${written}\n`).kubeconfig).toBe(path);
  });

  test("of this project is good, and has the two local clusters", () => {
    const mesh = loadMesh(new URL("../../mesh.yaml", import.meta.url).pathname);
    expect(mesh.clusters.map(({ name }) => name)).toEqual(["local", "remote"]);
  });
});

describe("a mesh.yaml that is wrong says file, line, key and what is allowed:", () => {
  test.each<[string, string, string[]]>([
    [
      "a key that is not known, with the one that is meant",
      `${TWO}    gatway: {}\n`,
      [
        "mesh.yaml:6: clusters[1].gatway is not a known key; did you mean gateway? Known here: name, context, apiServer, gateway, controller",
      ],
    ],
    [
      "a key that is like none",
      `${TWO}colour: red\n`,
      [
        "mesh.yaml:6: colour is not a known key; Known here: name, trustDomain, kubeconfig, namespace, images, trust, clusters, topology, exports",
      ],
    ],
    [
      "a link to a cluster that is not there",
      `${TWO}topology:\n  links:\n    - { source: east, target: north }\n`,
      [
        'mesh.yaml:8: topology.links[0].target is "north", which is no cluster of this mesh; the clusters are east, west',
      ],
    ],
    [
      "a hub that is not there",
      `${TWO}topology: { hub: north }\n`,
      ['mesh.yaml:6: topology.hub is "north", which is no cluster of this mesh; the clusters are east, west'],
    ],
    [
      "a child in a tree that is not there",
      `${TWO}topology:\n  tree:\n    east: [north]\n`,
      [
        'mesh.yaml:8: topology.tree.east[0] is "north", which is no cluster of this mesh; the clusters are east, west',
      ],
    ],
    [
      "two clusters of one name, with the line of the other",
      `${TWO}  - name: east\n`,
      [
        'mesh.yaml:6: clusters[2].name is "east", the name of the cluster at line 4; every cluster needs a name of its own',
      ],
    ],
    [
      "a cluster name that is no DNS label",
      `${HEAD}clusters:\n  - name: East_1\n`,
      [
        'mesh.yaml:4: clusters[0].name is "East_1"; it must be a DNS label: 1 to 63 of a-z, 0-9 and -, with no - at its ends; and not federated, in which the names of federated services end',
      ],
    ],
    [
      "a cluster that is called as federated services are",
      `${HEAD}clusters:\n  - name: federated\n`,
      [
        'mesh.yaml:4: clusters[0].name is "federated"; it must be a DNS label: 1 to 63 of a-z, 0-9 and -, with no - at its ends; and not federated, in which the names of federated services end',
      ],
    ],
    [
      "a trust domain that is no domain",
      "name: demo\ntrustDomain: demo mesh\nclusters:\n  - name: east\n",
      [
        'mesh.yaml:2: trustDomain is "demo mesh"; it must be a DNS name: labels of a-z, 0-9 and - joined by dots, such as demo.mesh',
      ],
    ],
    [
      "what is missing, with what it is for",
      "name: demo\nclusters:\n  - context: east\n",
      [
        "mesh.yaml:1: trustDomain is missing: The DNS name that all identities of the mesh end in, such as demo.mesh.",
        "mesh.yaml:3: clusters[0].name is missing: Name of the cluster in the mesh; mirrors of its services end in it.",
      ],
    ],
    [
      "an exposure that there is not",
      `${TWO}    gateway:\n      exposure: Ingress\n`,
      [
        'mesh.yaml:7: clusters[1].gateway.exposure is "Ingress"; it must be LoadBalancer, or NodePort, or ClusterIP',
      ],
    ],
    [
      "a port that is none",
      `${TWO}    gateway: { port: 70000 }\n`,
      ["mesh.yaml:6: clusters[1].gateway.port is 70000; it must be 1 to 65535"],
    ],
    [
      "a range of egress ports that is upside down",
      `${TWO}    gateway: { egressPorts: { first: 20000, last: 10000 } }\n`,
      [
        'mesh.yaml:6: clusters[1].gateway.egressPorts is {"first":20000,"last":10000}; it must be { first, last }, two ports from 10000 to 32767, the lower first',
      ],
    ],
    [
      "an egress port that the kernel gives to clients",
      `${TWO}    gateway: { egressPorts: { first: 20000, last: 40000 } }\n`,
      ["mesh.yaml:6: clusters[1].gateway.egressPorts.last is 40000; it must be 10000 to 32767"],
    ],
    [
      "settings of a controller that are none",
      `${TWO}    controller:\n      excludedLabels: ["a,b"]\n      federatedServiceSelector: { "-": x }\n      allowNamespaces: [a, a]\n`,
      [
        'mesh.yaml:7: clusters[1].controller.excludedLabels is ["a,b"]; it must be a list of keys such as example.com/team, or of prefixes such as example.com/*',
        'mesh.yaml:8: clusters[1].controller.federatedServiceSelector is {"-":"x"}; it must be labels with their values, such as { "example.com/team": "shop" }',
        'mesh.yaml:9: clusters[1].controller.allowNamespaces is ["a","a"]; it must be a list of different DNS labels, each 1 to 63 of a-z, 0-9 and -, with no - at its ends',
      ],
    ],
    [
      "a text where a number must be",
      `${TWO}    gateway: { port: "4143" }\n`,
      ['mesh.yaml:6: clusters[1].gateway.port is "4143"; it must be a whole number'],
    ],
    [
      "a mapping where a list must be",
      `${HEAD}clusters: { east: {} }\n`,
      ['mesh.yaml:3: clusters is {"east":{}}; it must be a list'],
    ],
    [
      "no clusters",
      `${HEAD}clusters: []\n`,
      ["mesh.yaml:3: clusters is empty; it must have an entry at least"],
    ],
    [
      "an API server without https",
      `${TWO}    apiServer: 10.0.0.1:6443\n`,
      [
        'mesh.yaml:6: clusters[1].apiServer is "10.0.0.1:6443"; it must be the URL of an API server, such as https://203.0.113.10:6443',
      ],
    ],
    [
      "an address that is none",
      `${TWO}    gateway: { addresses: ["not an address"] }\n`,
      [
        'mesh.yaml:6: clusters[1].gateway.addresses[0] is "not an address"; it must be an IP address or a host name',
      ],
    ],
    [
      "a topology that there is not",
      `${TWO}topology: star\n`,
      [
        "mesh.yaml:6: topology must be full-mesh, { hub: a cluster }, { tree: { a cluster: [its children] } } or { links: [{ source, target }] }",
      ],
    ],
    [
      "a key within a topology that is not known",
      `${TWO}topology:\n  links:\n    - { source: east, targt: west }\n`,
      [
        "mesh.yaml:8: topology.links[0].target is missing: The cluster where the services run.",
        "mesh.yaml:8: topology.links[0].targt is not a known key; did you mean target? Known here: source, target",
      ],
    ],
    [
      "an export of a cluster that is not there",
      `${TWO}exports:\n  - { cluster: north, namespace: default, service: web }\n`,
      [
        'mesh.yaml:7: exports[0].cluster is "north", which is no cluster of this mesh; the clusters are east, west',
      ],
    ],
    [
      "an export to a cluster that is not there",
      `${TWO}exports:\n  - cluster: east\n    namespace: default\n    service: web\n    allowedClusters: [north]\n`,
      [
        'mesh.yaml:10: exports[0].allowedClusters[0] is "north", which is no cluster of this mesh; the clusters are east, west',
      ],
    ],
    [
      "an export twice",
      `${TWO}exports:\n  - { cluster: east, namespace: a, service: web }\n  - { cluster: east, namespace: a, service: web }\n`,
      ["mesh.yaml:8: exports[1] is the export of line 7 again; one is enough"],
    ],
    [
      "a signer that is no anchor",
      `${TWO}trust: { anchors: [a, b], signer: c }\n`,
      ['mesh.yaml:6: trust.signer is "c"; it must be one of the anchors: a, b'],
    ],
    [
      "a trust domain too long for the names of calls",
      `name: demo\ntrustDomain: ${"a23456789.".repeat(18)}mesh\nclusters:\n  - name: east\n`,
      [
        `mesh.yaml:2: trustDomain is too long: the gateway gateway.east.${"a23456789.".repeat(18)}mesh has 197 characters, 189 fit`,
      ],
    ],
    [
      "a name too long for its stacks",
      `name: ${"m".repeat(60)}\ntrustDomain: demo.mesh\nclusters:\n  - name: ${"c".repeat(40)}\n`,
      [
        `mesh.yaml:1: name is too long: the stack ${"m".repeat(60)}-cluster-${"c".repeat(40)} has 109 characters, 100 fit`,
      ],
    ],
    ["a key twice", `${TWO}name: again\n`, ["mesh.yaml:6: is not YAML: Map keys must be unique"]],
    [
      "what is not YAML",
      "name: [\n",
      [
        "mesh.yaml:2: is not YAML: Flow sequence in block collection must be sufficiently indented and end with a ]",
      ],
    ],
    [
      "an empty file",
      "",
      [
        "mesh.yaml:1: name is missing: Name of the mesh: the prefix of its stacks.",
        "mesh.yaml:1: trustDomain is missing: The DNS name that all identities of the mesh end in, such as demo.mesh.",
        "mesh.yaml:1: clusters is missing: The clusters of the mesh.",
      ],
    ],
  ])("%s", (_, text, problems) => {
    expect(problemsOf(text)).toEqual(problems);
  });

  test("every problem at once, in the order of the lines", () => {
    expect(
      problemsOf("name: Demo\ntrustDomain: x_y\nclusters:\n  - name: -east\n    port: 1\n"),
    ).toHaveLength(4);
  });

  test("a file that is not there", () => {
    expect(() => loadMesh("nowhere/mesh.yaml")).toThrow("nowhere/mesh.yaml:1: there is no such file");
  });
});
