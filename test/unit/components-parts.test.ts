import { describe, expect, test } from "@jest/globals";
import { ConfigMap } from "@pulumi/kubernetes/core/v1/configMap.js";
import * as pulumi from "@pulumi/pulumi";
import {
  ExportedService,
  type ExportedServiceArgs,
  Link,
  type LinkArgs,
  RemoteAccess,
  type RemoteAccessArgs,
} from "../../components/index.ts";
import { type Run, runProgram, Secret, UNKNOWN } from "../support/pulumi.ts";

const KUBECONFIG = "apiVersion: v1\nkind: Config\nclusters: []\n";
const GATEWAY = {
  addresses: ["203.0.113.10"],
  port: 4143,
  identity: "gateway.west.demo.mesh",
  probe: { path: "/ready", port: 4191, period: "3s" },
};
const LINK = "kubernetes:isthmus.dev/v1alpha1:Link";
const SECRET = "kubernetes:core/v1:Secret";
const ROLE = "kubernetes:rbac.authorization.k8s.io/v1:Role";
const ROLE_BINDING = "kubernetes:rbac.authorization.k8s.io/v1:RoleBinding";

function messageOf(make: () => unknown): string {
  try {
    make();
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error("nothing was refused");
}

describe("a remote access", () => {
  const access = (args: Partial<RemoteAccessArgs> = {}, preview = false) =>
    runProgram(
      () => {
        const made = new RemoteAccess("demo", { source: "east", ...args });
        return { namespace: made.namespace, serviceAccount: made.serviceAccount };
      },
      { preview },
    );
  const policy = (run: Run) =>
    run.find("kubernetes:admissionregistration.k8s.io/v1:ValidatingAdmissionPolicy").inputs.spec;

  test("is an account named and labelled after its source", async () => {
    const run = await access();
    expect(run.find("kubernetes:core/v1:ServiceAccount").inputs.metadata).toMatchObject({
      name: "isthmus-remote-access-east",
      namespace: "isthmus",
      labels: { "isthmus.dev/source": "east" },
    });
    expect(run.outputs).toMatchObject({
      namespace: { value: "isthmus" },
      serviceAccount: { value: "isthmus-remote-access-east" },
    });
  });

  test("may read services and slices, ask for a token of itself, and nothing else", async () => {
    const run = await access();
    expect(run.find("kubernetes:rbac.authorization.k8s.io/v1:ClusterRole").inputs.rules).toEqual([
      { apiGroups: [""], resources: ["services"], verbs: ["get", "list", "watch"] },
      { apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"], verbs: ["get", "list", "watch"] },
    ]);
    expect(run.find("kubernetes:rbac.authorization.k8s.io/v1:Role").inputs.rules).toEqual([
      {
        apiGroups: [""],
        resources: ["serviceaccounts/token"],
        resourceNames: ["isthmus-remote-access-east"],
        verbs: ["create"],
      },
    ]);
  });

  test("caps the life of its tokens: a week, whoever asks", async () => {
    const run = await access();
    expect(policy(run)).toMatchObject({
      failurePolicy: "Fail",
      matchConstraints: {
        namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": "isthmus" } },
        resourceRules: [
          {
            resources: ["serviceaccounts/token"],
            resourceNames: ["isthmus-remote-access-east"],
            operations: ["CREATE"],
          },
        ],
      },
      variables: [
        {
          expression:
            'request.userInfo.username == "system:serviceaccount:isthmus:isthmus-remote-access-east" ? 604800 : 604800',
        },
      ],
      validations: [{ expression: "object.spec.expirationSeconds <= variables.most" }],
    });
    expect(
      run.find("kubernetes:admissionregistration.k8s.io/v1:ValidatingAdmissionPolicyBinding").inputs.spec,
    ).toEqual({ policyName: "isthmus-remote-access-east", validationActions: ["Deny"] });
  });

  test("takes other caps", async () => {
    const run = await access({ maxTokenLifetimeSeconds: 7200, maxRenewedTokenLifetimeSeconds: 3600 });
    expect(policy(run).variables[0].expression).toMatch(/ \? 3600 : 7200$/);
  });

  test("gives long names of sources the same short name everywhere", async () => {
    const source = "a-cluster-with-a-name-of-the-greatest-length-that-is-allowed-63";
    const run = await access({ source });
    const names = run.resources.filter(({ custom }) => custom).map(({ inputs }) => inputs.metadata.name);
    expect(new Set(names).size).toBe(1);
    expect(names[0]).toHaveLength(63);
    expect(run.find("kubernetes:core/v1:ServiceAccount").inputs.metadata.labels["isthmus.dev/source"]).toBe(
      source,
    );
  });

  test("is the same in a preview", async () => {
    expect((await access({}, true)).resources.map(({ type }) => type).sort()).toEqual(
      (await access()).resources.map(({ type }) => type).sort(),
    );
  });

  test("refuses a source that no cluster is called, and a life that Kubernetes would refuse", () => {
    expect(messageOf(() => new RemoteAccess("demo", { source: "federated" }))).toBe(
      'RemoteAccess "demo": source is "federated"; it must be a DNS label: 1 to 63 of a-z, 0-9 and -, with no - at its ends; and not federated, in which the names of federated services end',
    );
    expect(messageOf(() => new RemoteAccess("demo", { source: "east", maxTokenLifetimeSeconds: 60 }))).toBe(
      'RemoteAccess "demo": maxTokenLifetimeSeconds is 60; it must be a number of seconds from 600, the shortest life that Kubernetes gives a token, to 4294967296',
    );
  });
});

describe("a link", () => {
  const link = (args: Partial<LinkArgs> = {}, preview = false) =>
    runProgram(
      () => {
        const controller = new ConfigMap("controller", { metadata: { name: "controller" } });
        const made = new Link(
          "demo",
          { target: "west", gateway: GATEWAY, kubeconfig: KUBECONFIG, ...args },
          { dependsOn: [controller] },
        );
        return { linkName: made.linkName, namespace: made.namespace };
      },
      { preview },
    );

  test("is a Link that says where the target's gateway is, and its credentials", async () => {
    const run = await link({ excludedLabels: ["internal/*"] });
    expect(run.find(LINK).inputs).toMatchObject({
      apiVersion: "isthmus.dev/v1alpha1",
      kind: "Link",
      metadata: { name: "west", namespace: "isthmus" },
      spec: {
        targetClusterName: "west",
        targetClusterDomain: "cluster.local",
        clusterCredentialsSecret: "cluster-credentials-west",
        gatewayAddresses: ["203.0.113.10"],
        gatewayPort: 4143,
        gatewayIdentity: "gateway.west.demo.mesh",
        probe: { path: "/ready", port: 4191, period: "3s" },
        excludedLabels: ["internal/*"],
      },
    });
    expect(run.outputs).toMatchObject({ linkName: { value: "west" }, namespace: { value: "isthmus" } });
  });

  test("names the Service of the gateway where its load balancer is to be followed, and none where it is not", async () => {
    const service = { namespace: "isthmus", name: "isthmus-gateway" };
    const followed = await link({ gateway: { ...GATEWAY, addresses: [], service } });
    expect(followed.find(LINK).inputs.spec).toMatchObject({ gateway: service, gatewayAddresses: [] });
    expect((await link()).find(LINK).inputs.spec).not.toHaveProperty("gateway");
    const wrong = { ...GATEWAY, service: { namespace: "isthmus", name: "Not A Label" } };
    const make = () => new Link("demo", { target: "west", gateway: wrong, kubeconfig: KUBECONFIG });
    expect(messageOf(make)).toContain("with service: { namespace, name } where it is to be followed");
  });

  test("hands its credentials over as a secret, in a Secret of Linkerd's type", async () => {
    const run = await link();
    const { type, stringData, metadata } = run.find(SECRET).inputs;
    expect({ type, name: metadata.name }).toEqual({
      type: "mirror.linkerd.io/remote-kubeconfig",
      name: "cluster-credentials-west",
    });
    const data = stringData instanceof Secret ? stringData.value : stringData;
    expect(stringData instanceof Secret || data.kubeconfig instanceof Secret).toBe(true);
    expect(JSON.stringify(run.find("isthmus:index:Link").inputs.gateway)).toContain("203.0.113.10");
    expect(run.find("isthmus:index:Link").inputs.kubeconfig).toBeInstanceOf(Secret);
  });

  test("leaves the credentials to the controller once they are there", async () => {
    expect((await link()).find(SECRET).ignoreChanges).toEqual(["data", "stringData"]);
  });

  test("lets the controller use its credentials and no other Secret", async () => {
    const run = await link({ namespace: "mesh" });
    const [role, ...more] = run.all(ROLE);
    expect(more).toEqual([]);
    expect(role!.inputs).toMatchObject({
      metadata: { name: "isthmus-credentials-west", namespace: "mesh" },
      rules: [
        {
          apiGroups: [""],
          resources: ["secrets"],
          resourceNames: ["cluster-credentials-west"],
          verbs: ["get", "list", "watch", "update", "patch"],
        },
      ],
    });
    expect(run.find(ROLE_BINDING).inputs).toMatchObject({
      metadata: { name: "isthmus-credentials-west", namespace: "mesh" },
      roleRef: { kind: "Role", name: "isthmus-credentials-west" },
      subjects: [{ kind: "ServiceAccount", name: "isthmus-mirror", namespace: "mesh" }],
    });
    expect(run.find(LINK).dependencies.join()).toContain("RoleBinding::demo-credentials");
  });

  test("lets the controller keep a copy for Linkerd where Linkerd carries the calls", async () => {
    const run = await link({ dataPlane: "linkerd", linkerdNamespace: "control-plane" });
    const copy = run.all(ROLE).find(({ inputs }) => inputs.metadata.namespace === "control-plane");
    expect(copy?.inputs).toMatchObject({
      metadata: { name: "isthmus-credentials-west" },
      rules: [
        { resources: ["secrets"], resourceNames: ["cluster-credentials-west"], verbs: ["get", "delete"] },
        { resources: ["secrets"], verbs: ["create"] },
      ],
    });
    const bindings = run.all(ROLE_BINDING).map(({ inputs }) => inputs);
    expect(bindings.map(({ metadata }) => metadata.namespace).sort()).toEqual(["control-plane", "isthmus"]);
    for (const { subjects } of bindings) expect(subjects).toMatchObject([{ namespace: "isthmus" }]);
  });

  test("goes before its credentials and before the controller that cleans up behind it", async () => {
    const { dependencies } = (await link()).find(LINK);
    expect(dependencies.join()).toContain("demo-credentials");
    expect(dependencies.join()).toContain("::controller");
  });

  test("is the same in a preview where nothing of the target is known", async () => {
    const later = <T>() => pulumi.output(pulumi.unknown) as unknown as pulumi.Output<T>;
    const run = await link({ gateway: later(), kubeconfig: later() }, true);
    expect(run.find(LINK).inputs.spec).toMatchObject({
      targetClusterName: "west",
      gatewayAddresses: UNKNOWN,
      gatewayIdentity: UNKNOWN,
    });
    expect(run.resources.map(({ type }) => type).sort()).toEqual(
      (await link()).resources.map(({ type }) => type).sort(),
    );
  });

  test.each<[string, Partial<LinkArgs>, string]>([
    [
      "a target that is called as federated services are",
      { target: "federated" },
      'Link "demo": target is "federated"; it must be a DNS label: 1 to 63 of a-z, 0-9 and -, with no - at its ends; and not federated, in which the names of federated services end',
    ],
    [
      "a gateway without a port",
      { gateway: { ...GATEWAY, port: 0 } },
      `Link "demo": gateway is ${JSON.stringify({ ...GATEWAY, port: 0 })}; it must be where a gateway is reached: { addresses: [IP address or host name], port: 1 to 65535, identity: DNS name, probe }, with service: { namespace, name } where it is to be followed`,
    ],
    [
      "the path of a kubeconfig, and does not show it",
      { kubeconfig: "/root/.kube/config" },
      'Link "demo": kubeconfig is not what it must be: the text of a kubeconfig, not the path of one',
    ],
    [
      "no kubeconfig",
      { kubeconfig: undefined as unknown as string },
      'Link "demo": kubeconfig is missing; it must be the text of a kubeconfig, not the path of one',
    ],
  ])("refuses %s", (_, args, message) => {
    const make = () =>
      new Link("demo", { target: "west", gateway: GATEWAY, kubeconfig: KUBECONFIG, ...args });
    expect(messageOf(make)).toBe(message);
  });
});

describe("an exported service", () => {
  const exported = (args: Partial<ExportedServiceArgs> = {}, preview = false) =>
    runProgram(
      () => ({
        exported: new ExportedService("demo", { service: "web", namespace: "shop", ...args }).exported,
      }),
      { preview },
    );
  const PATCH = "kubernetes:core/v1:ServicePatch";

  test("is the owner's Service with a label and annotations under a field manager of its own", async () => {
    const run = await exported();
    expect(run.find(PATCH).inputs).toEqual({
      apiVersion: "v1",
      kind: "Service",
      metadata: {
        name: "web",
        namespace: "shop",
        labels: { "mirror.linkerd.io/exported": "true" },
        annotations: {
          "pulumi.com/patchFieldManager": "isthmus-export",
          "pulumi.com/skipAwait": "true",
        },
      },
    });
    expect(run.outputs.exported?.value).toBe("shop/web");
  });

  test("chooses a gateway when it is given one, by the two annotations that other tools know", async () => {
    const run = await exported({ gatewayName: "edge", gatewayNamespace: "mc" });
    expect(run.find(PATCH).inputs.metadata.annotations).toMatchObject({
      "mirror.linkerd.io/gateway-name": "edge",
      "mirror.linkerd.io/gateway-ns": "mc",
    });
    expect((await exported({ gatewayName: "edge" })).find(PATCH).inputs.metadata.annotations).toMatchObject({
      "mirror.linkerd.io/gateway-ns": "isthmus",
    });
    expect(
      messageOf(
        () => new ExportedService("demo", { service: "web", namespace: "shop", gatewayNamespace: "mc" }),
      ),
    ).toContain("beside a gatewayName");
  });

  test("says which clusters may call it, in an order that does not depend on how they were listed", async () => {
    const run = await exported({ allowedClusters: ["west", "east"] });
    expect(run.find(PATCH).inputs.metadata.annotations["isthmus.dev/allowed-clusters"]).toBe("east,west");
  });

  test("is the same in a preview", async () => {
    expect((await exported({}, true)).find(PATCH).inputs).toEqual((await exported()).find(PATCH).inputs);
  });

  test("refuses a list of allowed clusters that allows none", () => {
    expect(
      messageOf(
        () => new ExportedService("demo", { service: "web", namespace: "shop", allowedClusters: [] }),
      ),
    ).toBe(
      'ExportedService "demo": allowedClusters is []; it must be a list of different DNS labels, each 1 to 63 of a-z, 0-9 and -, with no - at its ends; and none of them federated, in which the names of federated services end; leave it out to allow every cluster, remove the export to allow none',
    );
  });
});
