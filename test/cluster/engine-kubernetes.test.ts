import { randomBytes } from "node:crypto";
import { afterEach, beforeAll, beforeEach, describe, expect, jest, test } from "@jest/globals";
import {
  CoreV1Api as Core,
  type CoreV1Api,
  KubeConfig,
  PatchStrategy,
  setHeaderOptions,
} from "@kubernetes/client-node";
import { kubeconfigPath } from "../../scripts/clusters/index.ts";
import type { StackError, StackResult } from "../../stacks/engines/engine.ts";
import { containsSecret, secret, UNKNOWN } from "../../stacks/engines/wire.ts";
import { StackProgram } from "../support/stack-program.ts";

// Programs load the Pulumi SDK, and namespaces take their time to go.
jest.setTimeout(180_000);

let kubeconfig: string;
let core: CoreV1Api;
let program: StackProgram;
let id: string;

beforeAll(async () => {
  kubeconfig = await kubeconfigPath();
  const config = new KubeConfig();
  config.loadFromFile(kubeconfig);
  config.setCurrentContext("source");
  core = config.makeApiClient(Core);
});

beforeEach(async () => {
  program = await StackProgram.create();
  id = `engine-${randomBytes(4).toString("hex")}`;
});

afterEach(async () => {
  await program.destroy();
  await program.remove();
});

/** A provider for the source, and a namespace of the test's own. */
const base = () => `
  const provider = new k8s.Provider("source", { kubeconfig: ${JSON.stringify(kubeconfig)}, context: "source" });
  const namespace = new k8s.core.v1.Namespace("namespace", { metadata: { name: "${id}" } }, { provider });
  const metadata = (name: string, more = {}) => ({ name, namespace: namespace.metadata.name, ...more });`;
const service = (more = "", options = "") => `
  const web = new k8s.core.v1.Service("web", {
    metadata: metadata("web"), spec: { selector: { app: "web" }, ports: [{ port: 80 }], ${more} },
  }, { provider, ${options} });`;

const steps = (result: StackResult) =>
  result.resources.map(({ op, type, name }) => `${op} ${type.slice(type.lastIndexOf(":") + 1)} ${name}`);
const failure = (promise: Promise<StackResult>): Promise<StackError> =>
  promise.then(
    () => Promise.reject(new Error("it ended well")),
    (error: StackError) => error,
  );
const named = (name: string) => ({ name, namespace: id });

/** As a person with kubectl changes an object: under another field manager. */
const edit = (name: string, body: object, kind: "Service" | "Secret") =>
  core[kind === "Service" ? "patchNamespacedService" : "patchNamespacedSecret"](
    { ...named(name), body, fieldManager: "kubectl-edit" },
    setHeaderOptions("Content-Type", PatchStrategy.MergePatch),
  );

describe("a preview", () => {
  test("shows what comes with a namespace and a definition of the same plan, from their inputs", async () => {
    const group = `${id}.test`;
    const body = `${base()}
      const definition = new k8s.apiextensions.v1.CustomResourceDefinition("things", {
        metadata: { name: "things.${group}" },
        spec: {
          group: "${group}", scope: "Namespaced", names: { plural: "things", singular: "thing", kind: "Thing" },
          versions: [{ name: "v1", served: true, storage: true, schema: { openAPIV3Schema: {
            type: "object", properties: { spec: { type: "object", properties: { size: { type: "integer" } } } } } } }],
        },
      }, { provider });
      const thing = new k8s.apiextensions.CustomResource("thing", {
        apiVersion: "${group}/v1", kind: "Thing", metadata: metadata("thing"), spec: { size: 1 },
      }, { provider, dependsOn: [definition] });
      ${service(`type: "NodePort"`)}
      export const address = web.spec.clusterIP;
      export const port = web.spec.ports[0].nodePort;
      export const status = web.status;
      export const name = web.metadata.name;`;
    const planned = await program.preview(body);
    expect(planned.changes).toMatchObject({ create: 4 });
    expect(planned.outputs).toEqual({ address: UNKNOWN, port: UNKNOWN, status: UNKNOWN, name: "web" });
    expect(program.events.filter(({ event }) => event === "log")).toEqual([]);
    await expect(core.readNamespace({ name: id })).rejects.toThrow(/404/);

    const done = await program.up(body);
    expect(done.outputs).toMatchObject({
      address: expect.stringMatching(/^\d+\./),
      port: expect.any(Number),
    });
    expect((await program.up(body)).changes).toMatchObject({ create: 0, update: 0, same: 4 });
  });

  test("warns of a namespace that nothing makes", async () => {
    await program.preview(`${base()}
      new k8s.core.v1.ConfigMap("map", { metadata: { name: "map", namespace: "${id}-none" } }, { provider });`);
    expect(JSON.stringify(program.events)).toContain(`has no namespace \\"${id}-none\\"`);
  });

  test("finds what the API server would refuse", async () => {
    const error = await failure(
      program.preview(`${base()}
        new k8s.core.v1.ConfigMap("map", { metadata: { name: "Not_A_Name", namespace: "default" } }, { provider });`),
    );
    expect(error.message).toMatch(/^ConfigMap default\/Not_A_Name in cluster source: .*Invalid value/);
  });

  test("tells a change that cannot be made in place as a replacement, and an up makes it so", async () => {
    const immutable = (value: string) => `${base()}
      new k8s.core.v1.ConfigMap("map", { metadata: metadata("map"), data: { a: "${value}" }, immutable: true }, { provider });`;
    await program.up(immutable("1"));
    const before = await core.readNamespacedConfigMap(named("map"));
    expect(steps(await program.preview(immutable("2")))).toEqual(["replace ConfigMap map"]);
    expect((await core.readNamespacedConfigMap(named("map"))).metadata?.uid).toBe(before.metadata?.uid);
    expect(steps(await program.up(immutable("2")))).toEqual(["replace ConfigMap map"]);
    const after = await core.readNamespacedConfigMap(named("map"));
    expect(after.data).toEqual({ a: "2" });
    expect(after.metadata?.uid).not.toBe(before.metadata?.uid);
  });
});

describe("drift", () => {
  test("is seen by a preview and undone by an up: an edited field is taken back, a deleted object made again", async () => {
    const body = `${base()} ${service()}
      new k8s.core.v1.ConfigMap("map", { metadata: metadata("map"), data: { a: "1" } }, { provider });`;
    await program.up(body);
    await edit("web", { spec: { selector: { app: "other" } } }, "Service");
    await core.deleteNamespacedConfigMap(named("map"));
    const planned = await program.preview(body);
    expect(steps(planned).sort()).toEqual(["create ConfigMap map", "update Service web"]);
    expect(planned.resources.find(({ op }) => op === "update")?.diff).toEqual(["spec.selector.app"]);
    await program.up(body);
    expect(JSON.stringify(program.events)).toContain("took back .spec.selector from kubectl-edit");
    expect((await core.readNamespacedService(named("web"))).spec?.selector).toEqual({ app: "web" });
    expect((await program.preview(body)).resources).toEqual([]);
  });

  test("is not what others add, nor another way of writing the same value", async () => {
    const body = `${base()} ${service()}
      new k8s.core.v1.LimitRange("limits", {
        metadata: metadata("limits"), spec: { limits: [{ type: "Container", default: { cpu: "1000m", memory: "1024Mi" } }] },
      }, { provider });`;
    await program.up(body);
    await edit("web", { metadata: { labels: { team: "shop" } } }, "Service");
    expect((await program.preview(body)).changes).toMatchObject({ update: 0, same: 3 });
  });
});

describe("what belongs to others", () => {
  test("is not taken from them: a field that is new in the program and another manager's is an error naming both", async () => {
    await program.up(`${base()} ${service()}`);
    await edit("web", { spec: { sessionAffinity: "ClientIP" } }, "Service");
    const wanted = `${base()} ${service(`sessionAffinity: "None"`)}`;
    const error = await failure(program.up(wanted));
    expect(error.message).toMatch(
      new RegExp(
        `^Service ${id}/web in cluster source: .*\\.spec\\.sessionAffinity \\(held by kubectl-edit\\).*patchForce`,
      ),
    );
    const forced = wanted.replace(
      `metadata("web")`,
      `metadata("web", { annotations: { "pulumi.com/patchForce": "true" } })`,
    );
    await program.up(forced);
    const live = await core.readNamespacedService(named("web"));
    expect(live.spec?.sessionAffinity).toBe("None");
    expect(live.metadata?.annotations ?? {}).toEqual({});
  });

  test("stays theirs where the program ignores changes: a renewed token outlives every update beside it", async () => {
    const body = (label: string) => `${base()}
      new k8s.core.v1.Secret("token", {
        metadata: metadata("token", { labels: { label: "${label}" } }), stringData: { token: "first", kept: "ours" },
      }, { provider, ignoreChanges: ["data", "stringData"] });`;
    await program.up(body("a"));
    await edit("token", { data: { token: Buffer.from("renewed").toString("base64") } }, "Secret");
    expect((await program.preview(body("a"))).resources).toEqual([]);
    expect(steps(await program.up(body("b")))).toEqual(["update Secret token"]);
    const live = await core.readNamespacedSecret(named("token"));
    expect(live.metadata?.labels).toMatchObject({ label: "b" });
    expect(Buffer.from(live.data?.token ?? "", "base64").toString()).toBe("renewed");
    expect(Buffer.from(live.data?.kept ?? "", "base64").toString()).toBe("ours");
  });

  test("is given back when a patch goes: just our fields leave, and the object stays its owner's", async () => {
    await program.up(`${base()} ${service()}`);
    const owned = await core.readNamespacedService(named("web"));
    const patch = `${base()} ${service()}
      new k8s.core.v1.ServicePatch("patch", { metadata: metadata("web", {
        labels: { exported: "true" },
        annotations: { note: "x", "pulumi.com/patchFieldManager": "isthmus-export", "pulumi.com/skipAwait": "true" },
      }) }, { provider, dependsOn: [web] });`;
    await program.up(patch);
    const patched = await core.readNamespacedService(named("web"));
    expect(patched.metadata?.labels).toMatchObject({ exported: "true" });
    expect(patched.metadata?.annotations).toEqual({ note: "x" });
    expect(patched.metadata?.managedFields?.map(({ manager }) => manager)).toContain("isthmus-export");

    expect(steps(await program.up(`${base()} ${service()}`))).toEqual(["delete ServicePatch patch"]);
    const after = await core.readNamespacedService(named("web"));
    expect(after.metadata?.uid).toBe(owned.metadata?.uid);
    expect(after.metadata?.labels).toEqual(owned.metadata?.labels);
    expect(after.metadata?.managedFields?.map(({ manager }) => manager)).not.toContain("isthmus-export");
  });

  test("cannot be patched before it is there, and a patch never makes it", async () => {
    const error = await failure(
      program.up(`${base()}
        new k8s.core.v1.ServicePatch("patch", { metadata: metadata("absent", { labels: { a: "b" } }) }, { provider });`),
    );
    expect(error.message).toMatch(
      /Service .*absent in cluster source: it does not exist.*Create the Service first/,
    );
    await expect(core.readNamespacedService(named("absent"))).rejects.toThrow(/404/);
  });
});

describe("waiting", () => {
  test("is for what the cluster adds: the token of an account, the address of a load balancer", async () => {
    const done = await program.up(`${base()}
      const account = new k8s.core.v1.ServiceAccount("account", { metadata: metadata("account") }, { provider });
      const token = new k8s.core.v1.Secret("token", {
        type: "kubernetes.io/service-account-token",
        metadata: metadata("token", { annotations: { "kubernetes.io/service-account.name": account.metadata.name } }),
      }, { provider });
      export const length = token.data.apply((data) => data.token.length);`);
    expect(done.outputs.length).toEqual(secret(expect.any(Number) as never));
    expect(containsSecret(done.outputs)).toBe(true);

    const stuck = `${base()} ${service(`type: "LoadBalancer"`, `customTimeouts: { create: "1s", update: "30s" }`)}`;
    const error = await failure(program.up(stuck));
    expect(error.message).toMatch(
      /Service .*web in cluster source: not ready after 1 s: no load balancer has given it an address/,
    );
    // The next run goes on waiting, and ends as soon as the address is there.
    const waiting = program.up(stuck);
    await core.patchNamespacedServiceStatus(
      { ...named("web"), body: { status: { loadBalancer: { ingress: [{ ip: "203.0.113.7" }] } } } },
      setHeaderOptions("Content-Type", PatchStrategy.MergePatch),
    );
    expect(steps(await waiting)).toContain("update Service web");
  });

  test("is until an object is really gone, and says what keeps it", async () => {
    const body = `${base()}
      new k8s.core.v1.ConfigMap("map", { metadata: metadata("map", { finalizers: ["test.isthmus.dev/hold"] }) },
        { provider, customTimeouts: { delete: "1s" } });`;
    await program.up(body);
    const error = await failure(program.up(base()));
    expect(error.message).toMatch(
      /ConfigMap .*map in cluster source: .*finalizers are still at work: test.isthmus.dev\/hold/,
    );
    await core.patchNamespacedConfigMap(
      { ...named("map"), body: { metadata: { finalizers: null } } },
      setHeaderOptions("Content-Type", PatchStrategy.MergePatch),
    );
    expect((await program.up(base())).changes.delete).toBe(1);
  });
});

describe("reading", () => {
  test("an object that is not the stack's own gives its state, and deletes nothing", async () => {
    const reading = `${base()}
      const kubernetes = k8s.core.v1.Service.get("kubernetes", "default/kubernetes", { provider });
      export const port = kubernetes.spec.ports[0].port;`;
    expect((await program.up(reading)).outputs).toEqual({ port: 443 });
    await program.up(base());
    expect(
      (await core.readNamespacedService({ name: "kubernetes", namespace: "default" })).spec?.ports,
    ).toHaveLength(1);
    const error = await failure(program.preview(reading.replace("default/kubernetes", "default/none")));
    expect(error.message).toMatch(/Service default\/none in cluster source does not exist/);
  });
});
