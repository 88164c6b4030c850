import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { program } from "../../stacks/index.ts";
import { loadMesh } from "../../stacks/mesh.ts";
import { planStacks } from "../../stacks/plan.ts";
import { preflight } from "../../stacks/preflight.ts";
import { OperatorApi } from "../support/operator-api.ts";
import { objectName, type Run, type RunOptions, runProgram, Secret, UNKNOWN } from "../support/pulumi.ts";

const LINK = "kubernetes:isthmus.dev/v1alpha1:Link";
const nodes = (...addresses: string[]) => ({
  items: addresses.map((address) => ({
    metadata: { name: address },
    status: {
      addresses: [
        { type: "Hostname", address: "node" },
        { type: "InternalIP", address },
      ],
    },
  })),
});

let api: OperatorApi;
let mesh: string;

const folder = mkdtempSync(join(tmpdir(), "isthmus-mesh-"));
const write = (name: string, text: string) => {
  const file = join(mkdtempSync(join(folder, "file-")), name);
  writeFileSync(file, text);
  return file;
};

beforeAll(async () => {
  const version = { "GET /version": {} };
  api = await OperatorApi.start({
    east: { ...version, "GET /api/v1/nodes": nodes("192.0.2.2", "192.0.2.1") },
    west: {
      ...version,
      "GET /api/v1/namespaces/shop/services/web": { metadata: { name: "web" } },
      "POST /api/v1/namespaces/isthmus/serviceaccounts/isthmus-remote-access-east/token": {
        status: { token: "token-for-east" },
      },
    },
  });
  mesh = write("mesh.yaml", TEXT());
});
afterAll(async () => {
  await api.stop();
  rmSync(folder, { recursive: true });
});

const TEXT = () => `name: demo
trustDomain: demo.mesh
kubeconfig: ${api.kubeconfig}
clusters:
  - name: east
    gateway: { exposure: NodePort, nodePort: 30143, probeNodePort: 30191 }
  - name: west
    apiServer: https://west.example.com:6443
topology: { links: [{ source: east, target: west }] }
exports:
  - { cluster: west, namespace: shop, service: web }
`;

const PEM = "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n";
const KEY = "-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----\n";
const TRUST = {
  "organization/isthmus/demo-trust": {
    trustDomain: "demo.mesh",
    trustBundle: PEM,
    issuers: Object.fromEntries(
      ["east", "west"].map((name) => [name, { certificatePem: PEM, privateKeyPem: KEY }]),
    ),
  },
};
const WEST = {
  "organization/isthmus/demo-cluster-west": {
    cluster: "west",
    gateway: {
      addresses: ["203.0.113.10"],
      port: 4143,
      identity: "gateway.west.demo.mesh",
      probe: { path: "/ready", port: 4191, period: "3s" },
    },
    apiServer: { server: "https://west.example.com:6443", certificateAuthorityData: "Q0E=" },
    remoteAccess: { east: { namespace: "isthmus", serviceAccount: "isthmus-remote-access-east" } },
  },
};

const up = (stack: string, options: RunOptions = {}): Promise<Run> =>
  runProgram(program, { stack, config: { "isthmus:mesh": mesh }, ...options });

describe("the stack of a mesh that is named", () => {
  test("demo-trust makes the anchors and every cluster's issuer", async () => {
    const run = await up("demo-trust");
    expect(run.all("isthmus:index:TrustAnchor").map(({ name }) => name)).toEqual(["demo"]);
    expect(run.outputs).toMatchObject({
      trustDomain: { value: "demo.mesh" },
      trustBundle: { secret: false },
      issuers: { secret: true, value: { east: expect.anything(), west: expect.anything() } },
    });
  });

  test("demo-cluster-west makes the cluster, who may call it, and what it exports", async () => {
    const run = await up("demo-cluster-west", { stacks: TRUST });
    expect(run.all("isthmus:index:Cluster")).toHaveLength(1);
    expect(run.all("isthmus:index:RemoteAccess").map(({ name }) => name)).toEqual(["demo-access-east"]);
    expect(run.find("kubernetes:core/v1:ServicePatch").inputs.metadata).toMatchObject({
      namespace: "shop",
      name: "web",
    });
    expect(run.outputs).toMatchObject({
      cluster: { value: "west" },
      gateway: { value: { addresses: ["203.0.113.10"], identity: "gateway.west.demo.mesh" } },
      apiServer: { value: { server: "https://west.example.com:6443" } },
      remoteAccess: {
        value: { east: { namespace: "isthmus", serviceAccount: "isthmus-remote-access-east" } },
      },
    });
  });

  test("demo-cluster-east is reached at its nodes' addresses, in order, where nothing else is said", async () => {
    const run = await up("demo-cluster-east", { stacks: TRUST });
    expect(run.outputs.gateway?.value).toMatchObject({
      addresses: ["192.0.2.1", "192.0.2.2"],
      port: 30_143,
      probe: { port: 30_191 },
    });
    expect(run.outputs.apiServer?.value.server).toMatch(/^http:\/\/127\.0\.0\.1:/);
    expect(run.outputs.remoteAccess?.value).toEqual({});
  });

  test("demo-links-east makes the links to its targets, with the token that each gives", async () => {
    const run = await up("demo-links-east", { stacks: WEST });
    expect(run.all(LINK).map(objectName)).toEqual(["west"]);
    const { stringData } = run.find("kubernetes:core/v1:Secret").inputs;
    const data = stringData instanceof Secret ? (stringData.value as Record<string, unknown>) : stringData;
    const kubeconfig = data.kubeconfig instanceof Secret ? data.kubeconfig.value : data.kubeconfig;
    expect(kubeconfig).toContain("token: token-for-east");
    expect(kubeconfig).toContain("server: https://west.example.com:6443");
    expect(run.outputs.links?.value).toEqual({ west: { name: "west", namespace: "isthmus" } });
  });

  test("is made by providers that change a trust bundle in place, and know the kubeconfig by its path", async () => {
    const run = await up("demo-cluster-west", { stacks: TRUST });
    expect(run.find("pulumi:providers:kubernetes").inputs).toEqual({
      kubeconfig: api.kubeconfig,
      context: "west",
      clusterIdentifier: "demo/west",
      enableServerSideApply: "true",
      enableConfigMapMutable: "true",
      enableSecretMutable: "true",
    });
  });

  test("is told from those that there are", async () => {
    await expect(up("demo-cluster-north")).rejects.toThrow(
      'the mesh demo has no stack "demo-cluster-north"; its stacks are demo-trust, demo-cluster-east, demo-cluster-west, demo-links-east',
    );
  });

  test("gives no objects two names: none is in two stacks", async () => {
    const seen = new Set<string>();
    for (const { name, cluster } of planStacks(loadMesh(mesh))) {
      const run = await up(name, { stacks: { ...TRUST, ...WEST } });
      for (const resource of run.resources.filter(({ type }) => type.startsWith("kubernetes:"))) {
        const { namespace } = resource.inputs.metadata;
        const key = `${cluster} ${resource.type} ${namespace}/${objectName(resource)}`;
        expect(seen).not.toContain(key);
        seen.add(key);
      }
    }
  });
});

describe("the first preview", () => {
  test("of a cluster works before there is a trust stack", async () => {
    const run = await up("demo-cluster-west", { preview: true });
    expect(run.read).toEqual([]);
    expect(run.find("kubernetes:core/v1:ConfigMap").inputs.data).toEqual({ "ca.crt": UNKNOWN });
  });

  test("of links works before there are clusters", async () => {
    const run = await up("demo-links-east", { preview: true });
    expect(run.find(LINK).inputs.spec.gatewayAddresses).toBe(UNKNOWN);
  });

  test("of a new link works while the target's stack knows nothing of it yet", async () => {
    const before = { ...WEST["organization/isthmus/demo-cluster-west"], remoteAccess: {} };
    const asked = api.requests.length;
    const run = await up("demo-links-east", {
      preview: true,
      stacks: { "organization/isthmus/demo-cluster-west": before },
    });
    expect(run.find(LINK).inputs.spec.gatewayAddresses).toEqual(["203.0.113.10"]);
    expect(api.requests.slice(asked).filter((request) => request.includes("/token"))).toEqual([]);
  });

  test("of a new cluster works while the trust stack has no issuer for it yet", async () => {
    const trust = { ...TRUST["organization/isthmus/demo-trust"], issuers: {} };
    const run = await up("demo-cluster-west", {
      preview: true,
      stacks: { "organization/isthmus/demo-trust": trust },
    });
    expect(run.find("kubernetes:core/v1:ConfigMap").inputs.data).toEqual({ "ca.crt": PEM });
  });
});

describe("before anything is changed, a mesh is refused for", () => {
  const changed = (from: string, to: string) => write("mesh.yaml", TEXT().replace(from, to));
  const refused = async (file: string) => {
    try {
      await preflight(loadMesh(file));
    } catch (error) {
      return (error as Error).message.split("\n");
    }
    return [];
  };

  test("nothing, where all is as it says", async () => {
    expect(await refused(mesh)).toEqual([]);
  });

  test("a context that is not there, naming those that are", async () => {
    expect(await refused(changed("- name: east", "- name: east\n    context: est"))).toEqual([
      `cluster east: there is no context "est" in ${api.kubeconfig}; the contexts there are: east, west`,
    ]);
  });

  test("an API server that does not answer, naming its address", async () => {
    const gone = await OperatorApi.start({ east: {}, west: {} });
    const kubeconfig = write("kubeconfig", readFileSync(gone.kubeconfig, "utf8"));
    await gone.stop();
    const problems = await refused(changed(api.kubeconfig, kubeconfig));
    expect(problems).toHaveLength(2);
    expect(problems[0]).toMatch(
      /^cluster east: its API server http:\/\/127\.0\.0\.1:\d+ cannot be reached by context "east": connect ECONNREFUSED 127\.0\.0\.1:\d+$/,
    );
  });

  test("an exported service that is not there, naming cluster, namespace and service", async () => {
    expect(await refused(changed("service: web", "service: wob"))).toEqual([
      "cluster west: there is no Service shop/wob to export: create it, or take the export out of the mesh",
    ]);
  });

  test("the same reasons when only the one stack is brought up, and registers nothing", async () => {
    const config = { "isthmus:mesh": changed("service: web", "service: wob") };
    for (const preview of [true, false]) {
      let reason = "";
      const run = await runProgram(
        () =>
          program().catch((error) => {
            reason = error.message;
          }),
        { stack: "demo-cluster-west", config, stacks: TRUST, preview },
      );
      expect(reason).toContain("there is no Service shop/wob to export");
      expect(run.resources).toEqual([]);
    }
  });

  test("a mesh.yaml that is wrong, with its file and line", async () => {
    const config = { "isthmus:mesh": write("mesh.yaml", "name: demo\nclusters: []\n") };
    await expect(runProgram(program, { stack: "demo-trust", config })).rejects.toThrow(
      /mesh\.yaml:2: clusters is empty/,
    );
  });
});
