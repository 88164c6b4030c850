import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import {
  CoreV1Api,
  KubeConfig,
  type KubernetesObject,
  KubernetesObjectApi,
  PatchStrategy,
} from "@kubernetes/client-node";
import { Cluster, RemoteAccess } from "../../components/index.ts";
import { remoteAccessName } from "../../contract/index.ts";
import { kubeconfigPath } from "../../scripts/clusters/index.ts";
import { objectsOf } from "../support/rendered.ts";
import { until } from "./until.ts";

const DAY = 24 * 3600;
const PEM = "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n";
const KEY = "-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----\n";

const id = randomBytes(4).toString("hex");
const namespace = `isthmus-${id}`;
/** What stands in no namespace is shared by all tests of a cluster, so this one's source has a name of its own. */
const source = `source-${id}`;
const account = remoteAccessName(source);

let operator: KubeConfig;
let objects: KubernetesObjectApi;
let access: KubernetesObject[];

beforeAll(async () => {
  operator = new KubeConfig();
  operator.loadFromFile(process.env.ISTHMUS_TEST_KUBECONFIG ?? (await kubeconfigPath()));
  operator.setCurrentContext("target");
  objects = KubernetesObjectApi.makeApiClient(operator);
  await operator.makeApiClient(CoreV1Api).createNamespace({
    body: { metadata: { name: namespace, labels: { "pod-security.kubernetes.io/enforce": "restricted" } } },
  });
  access = await objectsOf<KubernetesObject>(() => {
    new RemoteAccess("access", { source, namespace });
  });
  for (const object of access) await apply(object);
});

afterAll(async () => {
  for (const object of access) await objects.delete(object);
  await operator.makeApiClient(CoreV1Api).deleteNamespace({ name: namespace });
});

test("a real API server takes every object of a cluster as it is", async () => {
  const made = await objectsOf<KubernetesObject>(() => {
    new Cluster("demo", {
      clusterName: "east",
      trustDomain: "demo.mesh",
      trustBundle: PEM,
      issuer: { certificatePem: PEM, privateKeyPem: KEY },
      namespace,
    });
  });
  expect(made.length).toBeGreaterThan(20);
  for (const object of made) {
    await expect(apply(object, { dryRun: true })).resolves.toMatchObject({ kind: object.kind });
  }
});

describe("a token of a remote access", () => {
  test("may live a week where an operator asks for it, and not a second more", async () => {
    await until(() => expect(lifeOf(operator, 8 * DAY)).rejects.toThrow(/may live 604800 s at most/));
    expect(await lifeOf(operator, 7 * DAY)).toBe(7 * DAY);
  });

  test("may live a week where the account asks for its successor, so that a stolen one buys no more", async () => {
    const itself = await asAccount();
    expect(await lifeOf(itself, 7 * DAY)).toBe(7 * DAY);
    await expect(lifeOf(itself, 8 * DAY)).rejects.toThrow(/may live 604800 s at most/);
  });

  test("reads Services, and neither asks for others' tokens nor reads a Secret", async () => {
    const itself = await asAccount();
    const api = itself.makeApiClient(CoreV1Api);
    expect((await api.listServiceForAllNamespaces()).items.length).toBeGreaterThan(0);
    await expect(lifeOf(itself, DAY, "default")).rejects.toThrow(
      /cannot create resource .*serviceaccounts\/token/,
    );
    await expect(api.listNamespacedSecret({ namespace })).rejects.toThrow(/cannot list resource .*secrets/);
  });
});

async function token(asking: KubeConfig, seconds: number, name = account): Promise<string> {
  const answer = await asking.makeApiClient(CoreV1Api).createNamespacedServiceAccountToken({
    name,
    namespace,
    body: { spec: { audiences: [], expirationSeconds: seconds } },
  });
  return String(answer.status?.token);
}

/** How long a token lives that was asked for with this life, in seconds. */
async function lifeOf(asking: KubeConfig, seconds: number, name = account): Promise<number> {
  const claims = (await token(asking, seconds, name)).split(".")[1]!;
  const { exp, iat } = JSON.parse(Buffer.from(claims, "base64url").toString()) as {
    exp: number;
    iat: number;
  };
  return exp - iat;
}

/** The cluster as its remote access reaches it. */
async function asAccount(): Promise<KubeConfig> {
  const itself = new KubeConfig();
  itself.loadFromClusterAndUser(operator.getCurrentCluster()!, {
    name: account,
    token: await token(operator, 3600),
  });
  return itself;
}

function apply(object: KubernetesObject, { dryRun = false } = {}): Promise<KubernetesObject> {
  const all = dryRun ? "All" : undefined;
  return objects.patch(object, undefined, all, "isthmus-test", true, PatchStrategy.ServerSideApply);
}
