import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "@jest/globals";
import { credentialsSecretName, remoteAccessName } from "../../contract/index.ts";
import type { Secret } from "../../controller/kube/objects.ts";
import { SECRETS, SERVICE_ACCOUNTS } from "../../controller/kube/resource.ts";
import { kubeconfigPath } from "../../scripts/clusters/index.ts";
import { rotateCredentials } from "../../stacks/automation.ts";
import { LeastPrivilege } from "./least-privilege.ts";
import { until } from "./until.ts";
import { World } from "./world.ts";

let world: World;
let least: LeastPrivilege;
let folder: string;
let file: string;
beforeEach(async () => {
  world = await World.create();
  least = new LeastPrivilege(world);
  folder = await mkdtemp(join(tmpdir(), "isthmus-rotate-"));
  file = join(folder, "mesh.yaml");
  const source = `source-${world.id}`;
  const mesh = {
    ...{ name: "demo", trustDomain: "demo.mesh", namespace: world.isthmus },
    kubeconfig: process.env.ISTHMUS_TEST_KUBECONFIG ?? (await kubeconfigPath()),
    clusters: [
      { name: source, context: "source" },
      { name: "remote", context: "target" },
    ],
    topology: { links: [{ source, target: "remote" }] },
  };
  await writeFile(file, JSON.stringify(mesh));
});
afterEach(async () => {
  await least.destroy();
  await world.destroy();
  await rm(folder, { recursive: true });
});

const ref = () => ({ namespace: world.isthmus, name: credentialsSecretName("remote") });

test("new credentials end what a revoked token began, and no mirror is touched", async () => {
  const account = await least.remoteAccess();
  await least.link({ kubeconfig: await world.kubeconfig() });
  await world.start({ credentials: await least.controller() });
  await world.export("web");
  await until(() => world.slice("web-remote"));
  await world.putCredentials((await world.kubeconfig()).replace(/"token":"[^"]*"/, '"token":"worthless"'));
  await world.reason("Connected", "Unauthorized");
  const were = await world.fingerprint();
  const links: unknown[] = [];
  const result = await rotateCredentials({ file, onLink: (link) => links.push(link) });
  expect(result).toEqual([{ source: `source-${world.id}`, target: "remote" }]);
  expect(links).toEqual(result);
  const { data = {} } = await world.source.get<Secret>(SECRETS, ref());
  const [, payload = ""] =
    /eyJ[\w-]+\.([\w-]+)/.exec(Buffer.from(data.kubeconfig!, "base64").toString()) ?? [];
  const { sub, iat, exp } = JSON.parse(Buffer.from(payload, "base64url").toString());
  expect([sub, exp - iat]).toEqual([`system:serviceaccount:${world.isthmus}:${account}`, 604_800]);
  await world.export("more");
  await until(() => world.slice("more-remote"));
  const are = await world.fingerprint();
  for (const key of Object.keys(were).filter((each) => each.includes("web-remote"))) {
    expect(are[key]).toBe(were[key]);
  }
});

test("credentials that a link cannot be connected by are no success, though it was connected before", async () => {
  await least.remoteAccess();
  await least.link({ kubeconfig: await world.kubeconfig() });
  const { stop } = await world.start({ credentials: await least.controller() });
  await world.reason("Connected", "Connected");
  const mesh = JSON.parse(await readFile(file, "utf8"));
  mesh.clusters[1].apiServer = "https://127.0.0.1:1";
  await writeFile(file, JSON.stringify(mesh));
  const link = `the Link ${world.isthmus}/remote of cluster source-${world.id} has new credentials, and`;
  expect((await rotateCredentials({ file }))[0]?.problem).toContain(`${link} is not connected: `);
  await stop();
  expect((await rotateCredentials({ file }))[0]?.problem).toBe(`${link} its controller does not use them`);
});

test("what is missing is said, in which cluster, and nothing is changed", async () => {
  const source = `source-${world.id}`;
  const account = remoteAccessName(source);
  expect(await rotateCredentials({ file })).toEqual([
    {
      ...{ source, target: "remote" },
      problem: `no token for the ServiceAccount ${world.isthmus}/${account} of cluster remote: serviceaccounts "${account}" not found`,
    },
  ]);
  await world.target.create(SERVICE_ACCOUNTS, {
    apiVersion: "v1",
    kind: "ServiceAccount",
    metadata: { namespace: world.isthmus, name: account },
  });
  const { namespace, name } = ref();
  expect((await rotateCredentials({ file }))[0]?.problem).toBe(
    `the Secret ${namespace}/${name} of cluster ${source} cannot be replaced: secrets "${name}" not found: bring the link up first, with isthmus up`,
  );
});
