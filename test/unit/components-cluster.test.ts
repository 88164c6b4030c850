import { afterEach, beforeAll, describe, expect, test } from "@jest/globals";
import { Provider } from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { Cluster, type ClusterArgs, GatewayExposure, type ImagePullPolicy } from "../../components/index.ts";
import { EGRESS_PORTS } from "../../contract/index.ts";
import { createProgram } from "../../controller/program.ts";
import { objectName, type Run, runProgram, Secret, UNKNOWN } from "../support/pulumi.ts";

const CERTIFICATE = "-----BEGIN CERTIFICATE-----\nanchor\n-----END CERTIFICATE-----\n";
const ISSUER = {
  certificatePem: "-----BEGIN CERTIFICATE-----\nissuer\n-----END CERTIFICATE-----\n",
  privateKeyPem: "-----BEGIN PRIVATE KEY-----\nissuer\n-----END PRIVATE KEY-----\n",
};

const cluster = (args: Partial<ClusterArgs> = {}, preview = false) =>
  runProgram(
    () => {
      const made = new Cluster(
        "demo",
        {
          clusterName: "east",
          trustDomain: "demo.mesh",
          trustBundle: CERTIFICATE,
          issuer: ISSUER,
          labels: { "isthmus.dev/mesh": "demo" },
          ...args,
        },
        { providers: [new Provider("east", { context: "east" })] },
      );
      return { namespace: made.namespace, gateway: made.gateway };
    },
    { preview },
  );

const DEPLOYMENT = "kubernetes:apps/v1:Deployment";
const SERVICE = "kubernetes:core/v1:Service";
const PARTS = ["isthmus-mirror", "isthmus-identity", "isthmus-gateway-ingress", "isthmus-gateway-egress"];

let run: Run;
beforeAll(async () => {
  run = await cluster();
});

/** What an account may do, as `group/resource[names] verbs`, cluster-wide and in its namespace. */
function permissions(of: Run, account: string) {
  const text = (kind: string) =>
    of
      .all(`kubernetes:rbac.authorization.k8s.io/v1:${kind}`)
      .filter((role) => objectName(role) === account)
      .flatMap((role) => role.inputs.rules)
      .map(
        (rule: { apiGroups: string[]; resources: string[]; resourceNames?: string[]; verbs: string[] }) =>
          `${rule.apiGroups.join()}/${rule.resources.join()}${rule.resourceNames ? `[${rule.resourceNames.join()}]` : ""} ${rule.verbs.join()}`,
      );
  return { cluster: text("ClusterRole"), namespace: text("Role") };
}

describe("the objects of a cluster", () => {
  test("are these and no others, by these names", () => {
    const kubernetes = run.resources.filter(({ type }) => type.startsWith("kubernetes:"));
    expect(
      kubernetes.map((resource) => `${resource.type.split(":")[2]} ${objectName(resource)}`).sort(),
    ).toEqual(
      [
        ...PARTS.flatMap((part) => [`Deployment ${part}`, `ServiceAccount ${part}`, `Role ${part}`]),
        ...PARTS.map((part) => `RoleBinding ${part}`),
        ...["isthmus-mirror", "isthmus-gateway-ingress", "isthmus-gateway-egress"].flatMap((part) => [
          `ClusterRole ${part}`,
          `ClusterRoleBinding ${part}`,
          `PodDisruptionBudget ${part}`,
        ]),
        "ConfigMap isthmus-trust-bundle",
        "CustomResourceDefinition links.isthmus.dev",
        "Namespace isthmus",
        "Secret isthmus-issuer",
        "Service isthmus-gateway",
      ].sort(),
    );
  });

  test("all have names of their own choosing and the caller's labels", () => {
    for (const { type, inputs } of run.resources.filter((resource) => resource.custom)) {
      if (type.startsWith("pulumi:")) continue;
      expect(inputs.metadata.labels).toMatchObject({
        "isthmus.dev/mesh": "demo",
        "app.kubernetes.io/part-of": "isthmus",
      });
    }
  });

  test("are made by the provider that the component was given", () => {
    for (const { provider } of run.resources.filter(({ type }) => type.startsWith("kubernetes:"))) {
      expect(provider).toContain("pulumi:providers:kubernetes::east");
    }
  });

  test("stand in a namespace held to the strictest pod profile", () => {
    expect(run.find("kubernetes:core/v1:Namespace").inputs.metadata.labels).toMatchObject({
      "pod-security.kubernetes.io/enforce": "restricted",
    });
  });

  test("define Link as the contract has it", () => {
    const { spec } = run.find("kubernetes:apiextensions.k8s.io/v1:CustomResourceDefinition").inputs;
    expect(spec.versions[0].schema.openAPIV3Schema.properties.spec.required).toEqual([
      "targetClusterName",
      "clusterCredentialsSecret",
    ]);
  });

  test("are the same in a preview", async () => {
    const names = (of: Run) =>
      of.resources.map((resource) => `${resource.type} ${objectName(resource)}`).sort();
    const preview = await cluster({}, true);
    expect(names(preview)).toEqual(names(run));
  });

  test("are made although issuer, bundle and images are not yet known", async () => {
    const later = <T>() => pulumi.output(pulumi.unknown) as unknown as pulumi.Output<T>;
    const preview = await cluster(
      { issuer: later(), trustBundle: later(), images: later(), labels: later() },
      true,
    );
    expect(preview.resources).toHaveLength(run.resources.length);
    expect(preview.find("kubernetes:core/v1:ConfigMap").inputs.data).toEqual({ "ca.crt": UNKNOWN });
  });
});

describe("the issuer's key", () => {
  test("is a secret wherever it is handed over", () => {
    const { stringData } = run.find("kubernetes:core/v1:Secret").inputs;
    expect(stringData instanceof Secret || stringData["tls.key"] instanceof Secret).toBe(true);
    for (const { inputs } of run.resources) {
      expect(JSON.stringify(hideSecrets(inputs))).not.toContain("PRIVATE KEY");
    }
  });

  test("can be read by the identity role alone", () => {
    expect(permissions(run, "isthmus-identity")).toEqual({
      cluster: [],
      namespace: [
        "/secrets[isthmus-issuer] get,list,watch",
        "/secrets[isthmus-gateway-certificate] get,list,watch,update",
        "/secrets create",
        "/configmaps[isthmus-trust-bundle] get,list,watch",
      ],
    });
  });
});

describe("permissions", () => {
  test("of the ingress are to list services and slices, and the accounts that say who may call", () => {
    expect(permissions(run, "isthmus-gateway-ingress")).toEqual({
      cluster: ["/services list,watch", "discovery.k8s.io/endpointslices list,watch"],
      namespace: ["/serviceaccounts list,watch"],
    });
  });

  test("of the egress are to list services, slices and links", () => {
    expect(permissions(run, "isthmus-gateway-egress")).toEqual({
      cluster: ["/services list,watch", "discovery.k8s.io/endpointslices list,watch"],
      namespace: ["isthmus.dev/links list,watch"],
    });
  });

  test("of the controller are to write services and slices anywhere, and the rest at home; no Secret is among it", () => {
    expect(permissions(run, "isthmus-mirror")).toEqual({
      cluster: [
        "/services get,list,watch,create,update,patch,delete",
        "discovery.k8s.io/endpointslices get,list,watch,create,update,patch,delete",
        "/namespaces get,list,watch",
      ],
      namespace: [
        "isthmus.dev/links get,list,watch,update,patch",
        "isthmus.dev/links/status,links/finalizers get,update,patch",
        "/pods get,list,watch",
        "/pods/status patch",
        "/events create,patch",
        "coordination.k8s.io/leases get,create,update,patch",
      ],
    });
  });

  test("of the controller are to make and delete namespaces only where it is told to, and to read nobody's objects", async () => {
    const on = await cluster({ controller: { createNamespaces: true } });
    expect(permissions(on, "isthmus-mirror").cluster.slice(3)).toEqual([
      "/namespaces create,delete",
      "/resourcequotas create",
      "/resourcequotas[isthmus-emptiness] get,update,delete",
      "/configmaps[kube-root-ca.crt,istio-ca-root-cert] get",
      "/serviceaccounts[default] get",
    ]);
    expect(permissions(on, "isthmus-mirror").namespace).toEqual(permissions(run, "isthmus-mirror").namespace);
  });

  test("are bound to the account of the same name and to no other", () => {
    const bindings = ["RoleBinding", "ClusterRoleBinding"].flatMap((kind) =>
      run.all(`kubernetes:rbac.authorization.k8s.io/v1:${kind}`),
    );
    expect(bindings).toHaveLength(7);
    for (const { inputs } of bindings) {
      const { name } = inputs.metadata;
      expect(inputs.roleRef.name).toBe(name);
      expect(inputs.subjects).toEqual([{ kind: "ServiceAccount", name, namespace: "isthmus" }]);
    }
  });
});

describe("settings of the controller and the gateway", () => {
  const environment = process.env;
  afterEach(() => {
    process.env = environment;
  });

  /** With what the program runs in a pod, by the pod's own arguments and variables. */
  async function flags(of: Run, deployment: string): Promise<Record<string, unknown>> {
    const pod = of.all(DEPLOYMENT).find((each) => objectName(each) === deployment)!.inputs.spec.template.spec;
    const { args, env } = pod.containers.at(-1);
    process.env = Object.fromEntries(
      env.map(({ name, value = "10.0.0.1" }: { name: string; value?: string }) => [name, value]),
    );
    let given: Record<string, unknown> = {};
    const role = async (flags: object) => {
      given = { ...flags };
    };
    await createProgram({ mirror: role, gateway: role, identity: role }).parseAsync(args, { from: "user" });
    return given;
  }

  test("are what the program runs with", async () => {
    const told = await cluster({
      gateway: { egressPorts: { first: 10_000, last: 32_767 } },
      controller: {
        logLevel: "debug",
        createNamespaces: true,
        allowNamespaces: ["kube-system", "kube-public"],
        federatedServiceSelector: { "example.com/global": "yes", tier: "" },
        excludedLabels: ["team", "example.com/*"],
        excludedAnnotations: ["example.com/note"],
      },
    });
    const egressPorts = { first: 10_000, last: 32_767 };
    expect(await flags(told, "isthmus-mirror")).toMatchObject({
      logLevel: "debug",
      createNamespaces: true,
      allowNamespaces: ["kube-system", "kube-public"],
      federatedServiceSelector: { "example.com/global": "yes", tier: "" },
      excludedLabels: ["team", "example.com/*"],
      excludedAnnotations: ["example.com/note"],
      egressPorts,
    });
    expect(await flags(told, "isthmus-gateway-egress")).toMatchObject({ egressPorts });
  });

  test("are the program's own where none are given, and an empty selector chooses nobody", async () => {
    expect(await flags(run, "isthmus-mirror")).toMatchObject({
      ...{ logLevel: "info", createNamespaces: false, allowNamespaces: [] },
      federatedServiceSelector: { "mirror.linkerd.io/federated": "member" },
      ...{ excludedLabels: [], excludedAnnotations: [] },
      egressPorts: EGRESS_PORTS,
    });
    expect(await flags(run, "isthmus-gateway-egress")).toMatchObject({ egressPorts: EGRESS_PORTS });
    const nothing = pulumi.output(undefined) as unknown as pulumi.Output<never>;
    const empty = await cluster({
      gateway: { egressPorts: nothing },
      controller: {
        ...{ createNamespaces: nothing, allowNamespaces: nothing, excludedLabels: nothing },
        federatedServiceSelector: nothing,
      },
    });
    expect(await flags(empty, "isthmus-mirror")).toEqual(await flags(run, "isthmus-mirror"));
    const nobody = await cluster({ controller: { federatedServiceSelector: {} } });
    expect(await flags(nobody, "isthmus-mirror")).toMatchObject({ federatedServiceSelector: {} });
  });
});

describe("every pod", () => {
  const specs = () => run.all(DEPLOYMENT).map(({ inputs }) => inputs.spec.template.spec);

  test("runs as nobody, with nothing writable and no privilege", () => {
    for (const spec of specs()) {
      expect(spec.securityContext).toMatchObject({
        runAsNonRoot: true,
        runAsUser: 65_532,
        seccompProfile: { type: "RuntimeDefault" },
      });
      for (const container of [...(spec.initContainers ?? []), ...spec.containers]) {
        expect(container.securityContext).toEqual({
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ["ALL"] },
        });
      }
    }
  });

  test("asks for resources, and tells whether it is ready and alive", () => {
    for (const spec of specs()) {
      for (const container of spec.containers) {
        expect(container.resources.requests).toMatchObject({
          cpu: expect.any(String),
          memory: expect.any(String),
        });
        expect(container.livenessProbe).toBeDefined();
      }
      expect(spec.containers.at(-1).readinessProbe.httpGet.path).toBe("/ready");
    }
  });

  test("runs the images it is told to", async () => {
    const other = await cluster({ images: { controller: "a:1", haproxy: "b:2", pullPolicy: "Never" } });
    const containers = other.all(DEPLOYMENT).flatMap(({ inputs }) => inputs.spec.template.spec.containers);
    for (const { name, image, imagePullPolicy } of containers) {
      expect({ image, imagePullPolicy }).toEqual({
        image: name === "haproxy" ? "b:2" : "a:1",
        imagePullPolicy: "Never",
      });
    }
  });
});

describe("the gateway's pods", () => {
  const pod = (name: string) => run.find(DEPLOYMENT, name).inputs.spec.template.spec;

  test("keep the API token from HAProxy", () => {
    for (const name of ["isthmus-gateway-ingress", "isthmus-gateway-egress"]) {
      const spec = pod(name);
      expect(spec.automountServiceAccountToken).toBe(false);
      const [haproxy, agent] = spec.containers;
      expect(haproxy.volumeMounts.map((mount: { name: string }) => mount.name)).toEqual(["run"]);
      expect(agent.volumeMounts.map((mount: { name: string }) => mount.name)).toContain("api");
    }
  });

  test("of the egress wait until slices name them, those of the ingress do not", () => {
    expect(pod("isthmus-gateway-egress").readinessGates).toEqual([
      { conditionType: "isthmus.dev/in-slices" },
    ]);
    expect(pod("isthmus-gateway-ingress").readinessGates).toBeUndefined();
  });

  test("have time to drain before they are killed", () => {
    for (const name of ["isthmus-gateway-ingress", "isthmus-gateway-egress"]) {
      const spec = pod(name);
      const drain = spec.containers[1].env.find(
        (entry: { name: string }) => entry.name === "ISTHMUS_DRAIN_TIMEOUT",
      );
      expect(spec.terminationGracePeriodSeconds).toBe(Number(drain.value) + 15);
      for (const container of spec.containers) {
        expect(container.lifecycle.preStop.httpGet).toEqual({ path: "/drain", port: 9990 });
      }
    }
  });

  test("know the identity that their certificate proves", () => {
    for (const name of ["isthmus-gateway-ingress", "isthmus-gateway-egress", "isthmus-identity"]) {
      expect(pod(name).containers.at(-1).env).toContainEqual({
        name: "ISTHMUS_IDENTITY",
        value: "gateway.east.demo.mesh",
      });
    }
  });

  test("are only exposed where they are the ingress", () => {
    expect(run.all(SERVICE).map(({ inputs }) => inputs.spec.selector)).toEqual([
      { "app.kubernetes.io/part-of": "isthmus", "app.kubernetes.io/component": "gateway-ingress" },
    ]);
  });
});

describe("where the gateway is reached", () => {
  test("is what the load balancer says, by default", () => {
    expect(run.outputs.gateway?.value).toEqual({
      addresses: ["203.0.113.10"],
      port: 4143,
      identity: "gateway.east.demo.mesh",
      probe: { path: "/ready", port: 4191, period: "3s" },
      service: { namespace: "isthmus", name: "isthmus-gateway" },
    });
    const { metadata, spec } = run.find(SERVICE).inputs;
    expect(spec.type).toBe("LoadBalancer");
    expect(metadata.annotations).toEqual({
      "mirror.linkerd.io/gateway-identity": "gateway.east.demo.mesh",
      "mirror.linkerd.io/probe-path": "/ready",
      "mirror.linkerd.io/probe-period": "3",
    });
  });

  test("is not to be followed where addresses are given by hand, load balancer or not", async () => {
    const given = await cluster({ gateway: { addresses: ["192.0.2.9"] } });
    expect(given.outputs.gateway?.value).toMatchObject({ addresses: ["192.0.2.9"] });
    expect(given.outputs.gateway?.value).not.toHaveProperty("service");
  });

  test("is the addresses and ports of the nodes, with NodePort", async () => {
    const exposed = await cluster({
      gateway: {
        exposure: GatewayExposure.NodePort,
        addresses: ["192.0.2.1", "192.0.2.2"],
        nodePort: 30_143,
        probeNodePort: 30_191,
      },
    });
    expect(exposed.outputs.gateway?.value).toMatchObject({
      addresses: ["192.0.2.1", "192.0.2.2"],
      port: 30_143,
      probe: { port: 30_191 },
    });
    expect(exposed.outputs.gateway?.value).not.toHaveProperty("service");
    expect(exposed.find(SERVICE).inputs.spec).toMatchObject({
      type: "NodePort",
      ports: [
        { name: "mc-gateway", port: 4143, targetPort: "mc-gateway", nodePort: 30_143 },
        { name: "mc-probe", port: 4191, targetPort: "mc-probe", nodePort: 30_191 },
      ],
    });
  });

  test("is not known while the Service is only planned", async () => {
    const preview = await cluster({}, true);
    expect(preview.outputs.gateway).toMatchObject({ known: false });
  });
});

describe("a cluster refuses", () => {
  test.each<[string, Partial<ClusterArgs>, string]>([
    [
      "a name that is no DNS label",
      { clusterName: "East_1" },
      'Cluster "demo": clusterName is "East_1"; it must be a DNS label: 1 to 63 of a-z, 0-9 and -, with no - at its ends; and not federated, in which the names of federated services end',
    ],
    [
      "the name that federated services end in",
      { clusterName: "federated" },
      'Cluster "demo": clusterName is "federated"; it must be a DNS label: 1 to 63 of a-z, 0-9 and -, with no - at its ends; and not federated, in which the names of federated services end',
    ],
    [
      "a bundle that is none",
      { trustBundle: "ca.crt" },
      'Cluster "demo": trustBundle is "ca.crt"; it must be certificates in PEM, each starting with -----BEGIN CERTIFICATE-----',
    ],
    [
      "an issuer without its key, and does not show it",
      { issuer: { ...ISSUER, privateKeyPem: "hunter2" } },
      'Cluster "demo": issuer is not what it must be: an issuer: { certificatePem, privateKeyPem }, both PEM',
    ],
    [
      "a gateway on node ports without addresses",
      { gateway: { exposure: GatewayExposure.NodePort } },
      'Cluster "demo": gateway.addresses is missing; it must be a list of 1 to 16 IP addresses or host names of nodes, since the exposure is NodePort',
    ],
    [
      "an exposure that there is not, naming those there are",
      { gateway: { exposure: "Ingress" as GatewayExposure } },
      'Cluster "demo": gateway.exposure is "Ingress"; it must be LoadBalancer, or NodePort, or ClusterIP',
    ],
    [
      "a port that is none",
      { gateway: { port: 70_000 } },
      'Cluster "demo": gateway.port is 70000; it must be a port number, 1 to 65535',
    ],
    [
      "less than one controller",
      { controller: { replicas: 0 } },
      'Cluster "demo": controller.replicas is 0; it must be a whole number above 0',
    ],
    [
      "a yes or no that is neither",
      { controller: { createNamespaces: "yes" as unknown as boolean } },
      'Cluster "demo": controller.createNamespaces is "yes"; it must be true or false',
    ],
    [
      "a range of egress ports that is upside down",
      { gateway: { egressPorts: { first: 20_000, last: 10_000 } } },
      'Cluster "demo": gateway.egressPorts is {"first":20000,"last":10000}; it must be { first, last }, two ports from 10000 to 32767, the lower first',
    ],
    [
      "egress ports that the kernel gives to clients",
      { gateway: { egressPorts: { first: 20_000, last: 40_000 } } },
      'Cluster "demo": gateway.egressPorts is {"first":20000,"last":40000}; it must be { first, last }, two ports from 10000 to 32767, the lower first',
    ],
    [
      "a selector that is no labels",
      { controller: { federatedServiceSelector: { "a,b": "c" } } },
      'Cluster "demo": controller.federatedServiceSelector is {"a,b":"c"}; it must be labels with their values, such as { "example.com/team": "shop" }',
    ],
    [
      "two keys as one",
      { controller: { excludedLabels: ["a,b"] } },
      'Cluster "demo": controller.excludedLabels is ["a,b"]; it must be a list of keys such as example.com/team, or of prefixes such as example.com/*',
    ],
    [
      "a namespace that can be none",
      { controller: { allowNamespaces: ["Kube"] } },
      'Cluster "demo": controller.allowNamespaces is ["Kube"]; it must be a list of different DNS labels, each 1 to 63 of a-z, 0-9 and -, with no - at its ends',
    ],
    [
      "a pull policy that there is not",
      { images: { pullPolicy: "Sometimes" as ImagePullPolicy } },
      'Cluster "demo": images is {"pullPolicy":"Sometimes"}; it must be { controller, haproxy, pullPolicy }, where pullPolicy is Always, or IfNotPresent, or Never',
    ],
  ])("%s, before it registers anything", async (_, args, message) => {
    const nothing = await runProgram(() => {
      const make = () =>
        new Cluster("demo", {
          clusterName: "east",
          trustDomain: "demo.mesh",
          trustBundle: CERTIFICATE,
          issuer: ISSUER,
          ...args,
        });
      expect(make).toThrow(new Error(message));
    });
    expect(nothing.resources).toEqual([]);
  });
});

function hideSecrets(value: unknown): unknown {
  if (value instanceof Secret) return "secret";
  if (Array.isArray(value)) return value.map(hideSecrets);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, hideSecrets(entry)]));
}
