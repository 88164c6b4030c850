import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { Provider } from "@pulumi/kubernetes";
import { Mesh, type MeshArgs } from "../../components/index.ts";
import { OperatorApi } from "../support/operator-api.ts";
import { objectName, runProgram, Secret, UNKNOWN } from "../support/pulumi.ts";

const VERSION = "GET /version";
const token = (source: string) =>
  `POST /api/v1/namespaces/isthmus/serviceaccounts/isthmus-remote-access-${source}/token`;
const credentials = (target: string) =>
  `GET /api/v1/namespaces/isthmus/secrets/cluster-credentials-${target}`;
const LINK = "kubernetes:isthmus.dev/v1alpha1:Link";

let api: OperatorApi;
beforeEach(async () => {
  api = await OperatorApi.start({
    east: { [VERSION]: {}, [token("west")]: { status: { token: "token-for-west" } } },
    west: {
      [VERSION]: {},
      // West has its credentials for east since long.
      [credentials("east")]: { data: { kubeconfig: Buffer.from("clusters: kept").toString("base64") } },
      [token("east")]: { status: { token: "token-for-east" } },
    },
  });
});
afterEach(() => api.stop());

const mesh = (args: Partial<MeshArgs> = {}, preview = false) =>
  runProgram(
    () => {
      const made = new Mesh("demo", {
        trustDomain: "demo.mesh",
        clusters: ["east", "west"].map((name) => ({
          name,
          provider: new Provider(name, { context: name }),
          kubeconfig: api.kubeconfig,
        })),
        exports: [{ cluster: "west", namespace: "shop", service: "web", allowedClusters: ["east"] }],
        ...args,
      });
      return { gateways: made.gateways, trustBundle: made.trustBundle };
    },
    { preview },
  );

const of = (provider: string) => `:providers:kubernetes::${provider}::`;

describe("a mesh in one program", () => {
  test("has in every cluster its parts, its remote accesses, its links and its exports", async () => {
    const run = await mesh();
    const inCluster = (name: string) =>
      run.resources
        .filter(
          ({ provider, type }) => provider.includes(of(name)) && /Service(Account|Patch)$|Link$/.test(type),
        )
        .map((resource) => `${resource.type.split(":").at(-1)} ${objectName(resource)}`)
        .sort();
    const accounts = ["gateway-egress", "gateway-ingress", "identity", "mirror"].map(
      (part) => `ServiceAccount isthmus-${part}`,
    );
    expect(inCluster("east")).toEqual(
      ["Link west", ...accounts, "ServiceAccount isthmus-remote-access-west"].sort(),
    );
    expect(inCluster("west")).toEqual(
      ["Link east", ...accounts, "ServiceAccount isthmus-remote-access-east", "ServicePatch web"].sort(),
    );
  });

  test("gives each cluster its own issuer and all of them one bundle", async () => {
    const run = await mesh();
    const certificates = run.all("kubernetes:core/v1:Secret").flatMap(({ inputs }) => {
      const data = inputs.stringData instanceof Secret ? inputs.stringData.value : inputs.stringData;
      const certificate = data["tls.crt"];
      return certificate === undefined
        ? []
        : [certificate instanceof Secret ? certificate.value : certificate];
    });
    for (const cluster of ["east", "west"]) {
      expect(certificates.filter((pem) => pem.includes(`demo-trust-issuer-${cluster}`))).toHaveLength(1);
    }
    const bundles = run.all("kubernetes:core/v1:ConfigMap").map(({ inputs }) => inputs.data["ca.crt"]);
    expect(new Set(bundles).size).toBe(1);
  });

  test("points each link at its target's gateway and asks the target for its token", async () => {
    const run = await mesh();
    const link = run.resources.find(({ type, inputs }) => type === LINK && inputs.metadata.name === "west")!;
    expect(link.inputs.spec).toMatchObject({
      gatewayAddresses: ["203.0.113.10"],
      gatewayIdentity: "gateway.west.demo.mesh",
    });
    expect(kubeconfigFor(run, "west")).toContain("token: token-for-east");
    expect(api.bodies.map((body) => JSON.parse(body).spec.expirationSeconds)).toEqual([604_800]);
  });

  test("keeps the credentials that a source has: no second token is asked for", async () => {
    const run = await mesh();
    expect(kubeconfigFor(run, "east")).toBe("clusters: kept");
    expect(api.requests).not.toContain(`east ${token("west")}`);
  });

  test("takes links down before the controllers that clean up behind them", async () => {
    const run = await mesh();
    for (const link of run.all(LINK)) {
      const source = link.inputs.metadata.name === "west" ? "east" : "west";
      expect(link.dependencies.join()).toContain(`::demo-${source}-mirror`);
    }
  });

  test("in a preview is whole, unknown where a first up will tell, and asks no cluster for anything", async () => {
    const preview = await mesh({}, true);
    expect(api.requests).toEqual([]);
    const up = await mesh();
    const names = (run: typeof up) =>
      run.resources.map((resource) => `${resource.type} ${resource.name}`).sort();
    expect(names(preview)).toEqual(names(up));
    for (const link of preview.all(LINK)) expect(link.inputs.spec.gatewayAddresses).toBe(UNKNOWN);
    expect(preview.outputs.trustBundle).toMatchObject({ known: false });
  });

  test("links only what its topology links", async () => {
    const run = await mesh({ topology: { shape: "links", links: [{ source: "east", target: "west" }] } });
    expect(run.all(LINK).map(objectName)).toEqual(["west"]);
    expect(run.all("isthmus:index:RemoteAccess").map(({ name }) => name)).toEqual(["demo-west-access-east"]);
  });

  test.each<[string, Partial<MeshArgs>, string]>([
    [
      "an export of no cluster",
      { exports: [{ cluster: "north", namespace: "shop", service: "web" }] },
      'Mesh "demo": exports is [{"cluster":"north","namespace":"shop","service":"web"}]; it must be a list of { cluster, namespace, service }, each cluster one of east, west',
    ],
    [
      "a topology around no cluster",
      { topology: { shape: "hub", hub: "north" } },
      'Mesh "demo": topology.hub is "north", which is no cluster of this mesh; the clusters are east, west',
    ],
    [
      "no clusters",
      { clusters: undefined as unknown as MeshArgs["clusters"] },
      'Mesh "demo": clusters is missing; it must be a list of clusters, each with a provider and a name of its own that is a DNS label, and not federated',
    ],
    [
      "a cluster that is called as federated services are",
      { clusters: [{ name: "federated", provider: {} as Provider }] },
      'Mesh "demo": clusters is [{"name":"federated","provider":{}}]; it must be a list of clusters, each with a provider and a name of its own that is a DNS label, and not federated',
    ],
  ])("refuses %s", async (_, args, message) => {
    await expect(mesh(args)).rejects.toThrow(new Error(message));
  });
});

function kubeconfigFor(
  run: { resources: { type: string; inputs: Record<string, never> }[] },
  target: string,
): string {
  // biome-ignore lint/suspicious/noExplicitAny: the inputs of a Secret
  const secrets = run.resources.filter(({ type }) => type === "kubernetes:core/v1:Secret") as any[];
  const { stringData } = secrets.find(
    ({ inputs }) => inputs.metadata.name === `cluster-credentials-${target}`,
  ).inputs;
  const data = stringData instanceof Secret ? (stringData.value as Record<string, unknown>) : stringData;
  return data.kubeconfig instanceof Secret ? String(data.kubeconfig.value) : data.kubeconfig;
}
