import { describe, expect, test } from "@jest/globals";
import type { KubeObject } from "../../stacks/engines/embedded/kubernetes/client.ts";
import { ApiError, conflictMessage } from "../../stacks/engines/embedded/kubernetes/errors.ts";
import { parseId, toManifest } from "../../stacks/engines/embedded/kubernetes/manifest.ts";
import { expectedOutputs } from "../../stacks/engines/embedded/kubernetes/outputs.ts";
import { differences, leaveToOthers } from "../../stacks/engines/embedded/kubernetes/ownership.ts";
import { troubleOf } from "../../stacks/engines/embedded/kubernetes/pods.ts";
import { checkReadinessKnown, readinessOf } from "../../stacks/engines/embedded/kubernetes/readiness.ts";
import { parsePath } from "../../stacks/engines/embedded/paths.ts";
import { containsUnknown, secret, UNKNOWN } from "../../stacks/engines/wire.ts";

describe("an object's manifest", () => {
  const metadata = { name: "web", namespace: "shop" };

  test("is its inputs, without the annotations that speak to the engine", () => {
    const annotations = {
      "pulumi.com/skipAwait": "true",
      "pulumi.com/patchFieldManager": "isthmus-export",
      note: "x",
    };
    const inputs = {
      apiVersion: "v1",
      kind: "Service",
      metadata: { ...metadata, annotations },
      spec: { ports: [] },
    };
    const manifest = toManifest("kubernetes:core/v1:ServicePatch", inputs);
    expect(manifest.object).toEqual({
      apiVersion: "v1",
      kind: "Service",
      metadata: { ...metadata, annotations: { note: "x" } },
      spec: { ports: [] },
    });
    expect(manifest.directives).toEqual({ force: false, skipAwait: true, fieldManager: "isthmus-export" });
    expect(manifest.isPatch).toBe(true);
  });

  test("of a Secret says data for stringData, so that ownership works as for every other field", () => {
    const inputs = {
      apiVersion: "v1",
      kind: "Secret",
      metadata,
      data: { b: "Yg==" },
      stringData: secret({ a: "a" }),
    };
    expect(toManifest("kubernetes:core/v1:Secret", inputs).object).toEqual({
      apiVersion: "v1",
      kind: "Secret",
      metadata,
      data: { a: "YQ==", b: "Yg==" },
    });
  });

  test.each([
    [
      "kubernetes:core/v1:Service",
      { apiVersion: "v1", kind: "Service", metadata: {} },
      /metadata.name is missing/,
    ],
    ["kubernetes:helm.sh/v3:Release", { chart: "x" }, /no charts, files or lists/],
    ["kubernetes:core/v1:ServiceList", { apiVersion: "v1", kind: "Service", metadata }, /plain objects only/],
    [
      "kubernetes:core/v1:Service",
      {
        apiVersion: "v1",
        kind: "Service",
        metadata: { name: "a", annotations: { "pulumi.com/waitFor": "x" } },
      },
      /does not know the annotation pulumi.com\/waitFor/,
    ],
  ])("%s %j is refused by name", (type, inputs, message) => {
    expect(() => toManifest(type, inputs)).toThrow(message);
  });

  test("ids are names, with the namespace where there is one", () => {
    expect(parseId("shop/web")).toEqual({ namespace: "shop", name: "web" });
    expect(parseId("web")).toEqual({ namespace: undefined, name: "web" });
  });
});

describe("what is known of an object before it exists", () => {
  test("is its inputs; of a Service not the address and the node ports that the server picks", () => {
    const spec = { type: "NodePort", ports: [{ port: 80 }, { port: 81, nodePort: 30_000 }] };
    expect(expectedOutputs({ spec, metadata: { name: "web" } }, "Service")).toEqual({
      metadata: { name: "web" },
      spec: {
        type: "NodePort",
        clusterIP: UNKNOWN,
        clusterIPs: UNKNOWN,
        ports: [
          { port: 80, nodePort: UNKNOWN },
          { port: 81, nodePort: 30_000 },
        ],
      },
    });
    expect(containsUnknown(expectedOutputs({ spec }, "ConfigMap"))).toBe(false);
    expect(expectedOutputs({ spec: { clusterIP: "None", ports: [] } }, "Service")).toMatchObject({
      spec: { clusterIP: "None" },
    });
  });
});

describe("readiness", () => {
  const deployment = (status: object, spec: object = { replicas: 2 }): KubeObject => ({
    kind: "Deployment",
    metadata: { generation: 3 },
    spec,
    status: { observedGeneration: 3, ...status },
  });

  test.each<[string, KubeObject, object]>([
    ["an active namespace", { kind: "Namespace", status: { phase: "Active" } }, { state: "ready" }],
    [
      "a namespace that goes",
      { kind: "Namespace", status: { phase: "Terminating" } },
      { state: "waiting", why: "its phase is Terminating, not Active" },
    ],
    [
      "a Service without a load balancer",
      { kind: "Service", spec: { type: "NodePort" } },
      { state: "ready" },
    ],
    [
      "a load balancer without an address",
      { kind: "Service", spec: { type: "LoadBalancer" }, status: { loadBalancer: {} } },
      { state: "waiting", why: "no load balancer has given it an address (does this cluster have one?)" },
    ],
    [
      "a load balancer with an address",
      {
        kind: "Service",
        spec: { type: "LoadBalancer" },
        status: { loadBalancer: { ingress: [{ ip: "1.2.3.4" }] } },
      },
      { state: "ready" },
    ],
    [
      "an account's token that is not there yet",
      { kind: "Secret", type: "kubernetes.io/service-account-token" },
      { state: "waiting", why: "the cluster has not put a token in it" },
    ],
    ["any other Secret", { kind: "Secret", type: "Opaque" }, { state: "ready" }],
    [
      "a definition whose names are taken",
      {
        kind: "CustomResourceDefinition",
        status: { conditions: [{ type: "NamesAccepted", status: "False", message: "plural is in use" }] },
      },
      { state: "failed", why: "plural is in use" },
    ],
    [
      "an established definition",
      { kind: "CustomResourceDefinition", status: { conditions: [{ type: "Established", status: "True" }] } },
      { state: "ready" },
    ],
    [
      "a Deployment that its controller has not seen",
      deployment({ observedGeneration: 2, replicas: 2, updatedReplicas: 2, availableReplicas: 2 }),
      { state: "waiting", why: "its controller has not seen it" },
    ],
    [
      "a Deployment in the middle of its rollout",
      deployment({ replicas: 3, updatedReplicas: 1, availableReplicas: 2 }),
      { state: "waiting", why: "1 of 2 pods are of the new version" },
    ],
    [
      "a Deployment with old pods left",
      deployment({ replicas: 3, updatedReplicas: 2, availableReplicas: 2 }),
      { state: "waiting", why: "1 old pods are still there" },
    ],
    [
      "a Deployment whose pods are not available",
      deployment({ replicas: 2, updatedReplicas: 2, availableReplicas: 1 }),
      { state: "waiting", why: "1 of 2 pods are available" },
    ],
    [
      "a rolled out Deployment",
      deployment({ replicas: 2, updatedReplicas: 2, availableReplicas: 2 }),
      { state: "ready" },
    ],
    ["a Deployment of no pods", deployment({}, { replicas: 0 }), { state: "ready" }],
    [
      "a Deployment that makes no progress",
      deployment({
        conditions: [
          { type: "Progressing", status: "False", reason: "ProgressDeadlineExceeded", message: "timed out" },
        ],
      }),
      { state: "failed", why: "timed out" },
    ],
    ["what nobody waits for", { kind: "ConfigMap" }, { state: "ready" }],
  ])("of %s", (_, object, expected) => {
    expect(readinessOf(object)).toEqual(expected);
  });

  test("of kinds that cannot be told is refused, with a way out", () => {
    expect(() => checkReadinessKnown("StatefulSet")).toThrow(
      /when a StatefulSet is ready.*skipAwait.*--engine pulumi/,
    );
    expect(() => checkReadinessKnown("Deployment")).not.toThrow();
  });

  test("that does not come is explained by the pods", () => {
    const pod = {
      metadata: { name: "web-1" },
      status: {
        conditions: [{ type: "PodScheduled", status: "False", message: "no nodes" }],
        initContainerStatuses: [{ name: "init", state: { terminated: { exitCode: 2, reason: "Error" } } }],
        containerStatuses: [
          { name: "app", state: { waiting: { reason: "ErrImageNeverPull", message: "not present" } } },
          { name: "side", state: { waiting: { reason: "PodInitializing" } } },
        ],
      },
    };
    expect(troubleOf(pod)).toEqual([
      "pod web-1 is not scheduled: no nodes",
      "container init of pod web-1 ended with code 2 (Error)",
      "container app of pod web-1 is waiting: ErrImageNeverPull, not present",
    ]);
  });
});

describe("drift", () => {
  test("is where the live object lacks what is applied, or has something else; what it has besides is not", () => {
    const applied = { metadata: { labels: { a: "x", b: "y" } }, spec: { ports: [{ port: 80 }], gone: true } };
    const live = {
      metadata: { uid: "1", labels: { a: "x", b: "hand", c: "z" } },
      spec: { ports: [{ port: 80, protocol: "TCP" }] },
      status: {},
    };
    expect(differences(applied, live).map((path) => path.join("."))).toEqual([
      "metadata.labels.b",
      "spec.gone",
    ]);
  });

  test("is not where nothing was applied: null and empty maps", () => {
    expect(differences({ spec: null, other: { a: null } }, {})).toEqual([]);
  });
});

describe("fields that a program leaves to others", () => {
  const applied: KubeObject = { metadata: { name: "s", labels: { a: "new" } }, data: { token: "first" } };
  const managed = (fieldsV1: Record<string, unknown>, manager = "renewer") => [
    { manager, operation: "Update", fieldsV1 },
  ];
  const ignored = [parsePath("data")];

  test("are not applied where another manager holds them, so that they stay that manager's", () => {
    const live = {
      metadata: { name: "s", managedFields: managed({ "f:data": { "f:token": {} } }) },
      data: { token: "renewed" },
    };
    expect(leaveToOthers(applied, live, "ours", ignored)).toEqual({
      metadata: { name: "s", labels: { a: "new" } },
    });
  });

  test("are applied as they are where nobody else holds them, so that nothing is lost", () => {
    const live = {
      metadata: { name: "s", managedFields: managed({ "f:data": { "f:token": {} } }, "ours") },
      data: { token: "live" },
    };
    expect(leaveToOthers(applied, live, "ours", ignored).data).toEqual({ token: "live" });
  });

  test("are told apart key by key", () => {
    const live = {
      metadata: { name: "s", managedFields: managed({ "f:data": { "f:token": {} } }) },
      data: { token: "renewed", kept: "live" },
    };
    expect(leaveToOthers(applied, live, "ours", ignored).data).toEqual({ kept: "live" });
  });

  test("are not taken away from a status or a scale of another", () => {
    const scale = [{ manager: "scaler", subresource: "scale", fieldsV1: { "f:data": {} } }];
    const live = { metadata: { name: "s", managedFields: scale }, data: { token: "live" } };
    expect(leaveToOthers(applied, live, "ours", ignored).data).toEqual({ token: "live" });
  });

  test("are all that is left alone", () => {
    const live = { metadata: { name: "s", labels: { a: "old", b: "old" } }, data: {} };
    expect(leaveToOthers(applied, live, "ours", [parsePath("metadata.labels.b")]).metadata?.labels).toEqual({
      a: "new",
      b: "old",
    });
  });
});

describe("an API server's refusal", () => {
  const refusal = (status: number, body: object) => new ApiError(status, JSON.stringify(body), "east");

  test("over another manager's fields names them and what can be done", () => {
    const cause = {
      reason: "FieldManagerConflict",
      message: 'conflict with "kubectl-edit" using apps/v1',
      field: ".spec.replicas",
    };
    const error = refusal(409, { message: "conflict", details: { causes: [cause] } });
    expect(error.conflicts).toEqual([{ field: ".spec.replicas", manager: "kubectl-edit" }]);
    expect(conflictMessage(error.conflicts)).toMatch(
      /\.spec\.replicas \(held by kubectl-edit\).*pulumi.com\/patchForce/,
    );
    expect(refusal(409, { message: "already exists" }).conflicts).toEqual([]);
  });

  test("of a change to what cannot change is told from other invalid values", () => {
    expect(refusal(422, { message: "spec.clusterIP: Invalid value: field is immutable" }).isImmutable).toBe(
      true,
    );
    expect(refusal(422, { message: "metadata.name: Invalid value" }).isImmutable).toBe(false);
  });

  test("for want of the namespace is told from a missing object", () => {
    expect(refusal(404, { details: { kind: "namespaces", name: "x" } }).isMissingNamespace).toBe(true);
    expect(refusal(404, { details: { kind: "services", name: "x" } }).isMissingNamespace).toBe(false);
  });

  test("that is no Status is shown as it came, shortened", () => {
    expect(new ApiError(502, `<html>${"x".repeat(1000)}`, "east").message).toMatch(
      /^cluster east answered 502: <html>x{294}$/,
    );
  });
});
