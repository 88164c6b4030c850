import { createRequire } from "node:module";
import { describe, expect, test } from "@jest/globals";
import { VERSION } from "../../components/images.ts";
import * as surface from "../../components/index.ts";

const require = createRequire(import.meta.url);
const packageJson = require("../../package.json");

test("the public surface is these names and no others", () => {
  expect(Object.keys(surface).sort()).toEqual([
    "ArgumentError",
    "Cluster",
    "DataPlane",
    "ExportedService",
    "Gateway",
    "GatewayExposure",
    "ImagePullPolicy",
    "Link",
    "LogLevel",
    "Mesh",
    "MirrorController",
    "RemoteAccess",
    "SelectorOperator",
    "TopologyShape",
    "TrustAnchor",
  ]);
});

test("the default image of the controller is that of this version", () => {
  expect(VERSION).toBe(packageJson.version);
});

/** The schema that Pulumi derives from the sources, from which it makes the libraries of other languages. */
function schema() {
  const { Analyzer } = require("@pulumi/pulumi/provider/experimental/analyzer.js");
  const { generateSchema } = require("@pulumi/pulumi/provider/experimental/schema.js");
  const { getPulumiComponents } = require("@pulumi/pulumi/provider/experimental/provider.js");
  const names: string[] = getPulumiComponents(surface).map((component: { name: string }) => component.name);
  const root = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");
  const { components, typeDefinitions, dependencies } = new Analyzer(
    root,
    packageJson.name,
    packageJson,
    new Set(names),
  ).analyze();
  return generateSchema(packageJson.name, VERSION, "", components, typeDefinitions, dependencies);
}

interface Properties {
  [name: string]: { optional?: boolean; description?: string };
}

describe("the schema for other languages", () => {
  const { resources, types } = schema();

  test("has every component by its token, with these arguments (? optional) and outputs", () => {
    const text = (properties: Properties) =>
      Object.entries(properties)
        .map(([name, { optional }]) => (optional ? `${name}?` : name))
        .sort()
        .join(" ");
    const shapes = Object.entries<{ inputProperties: Properties; properties: Properties }>(resources).map(
      ([token, { inputProperties, properties }]) =>
        `${token}: ${text(inputProperties)} -> ${Object.keys(properties).sort().join(" ")}`,
    );
    expect(shapes.sort()).toEqual([
      "isthmus:index:Cluster: clusterName controller? gateway? images? issuer labels? namespace? trustBundle trustDomain -> clusterName gateway namespace",
      "isthmus:index:ExportedService: allowedClusters? gatewayName? gatewayNamespace? namespace service -> exported",
      "isthmus:index:Gateway: addresses? exposure? identity images? issuer labels? namespace? nodePort? port? probeNodePort? probePort? replicas? serviceAnnotations? trustBundle -> endpoint",
      "isthmus:index:Link: excludedAnnotations? excludedLabels? gateway kubeconfig labels? namespace? selector? target targetClusterDomain? -> linkName namespace",
      "isthmus:index:Mesh: clusters exports? images? namespace? topology? trustDomain -> gateways trustBundle",
      "isthmus:index:MirrorController: dataPlane? images? labels? logLevel? namespace? replicas? -> deployment",
      "isthmus:index:RemoteAccess: labels? maxRenewedTokenLifetimeSeconds? maxTokenLifetimeSeconds? namespace? source -> namespace serviceAccount",
      "isthmus:index:TrustAnchor: anchors? clusters issuerRenewalHours? issuerValidityHours? signer? trustDomain validityHours? -> issuers trustBundle trustDomain",
    ]);
  });

  test("has public choices as enumerations with the values that Kubernetes and mesh.yaml use", () => {
    const values = (name: string) =>
      types[`isthmus:index:${name}`].enum.map((member: { value: string }) => member.value);
    expect(values("GatewayExposure")).toEqual(["LoadBalancer", "NodePort", "ClusterIP"]);
    expect(values("ImagePullPolicy")).toEqual(["Always", "IfNotPresent", "Never"]);
    expect(values("TopologyShape")).toEqual(["full-mesh", "hub", "tree", "links"]);
    expect(values("DataPlane")).toEqual(["standalone", "linkerd"]);
  });
});
