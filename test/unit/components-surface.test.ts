import { readdirSync, readFileSync } from "node:fs";
import { beforeAll, describe, expect, test } from "@jest/globals";
import ts from "typescript";
import { VERSION } from "../../components/images.ts";
import * as surface from "../../components/index.ts";
import { componentSchema, type Properties, packageJson, type Schema } from "../support/schema.ts";

const ROOT = new URL("../..", import.meta.url).pathname;

let schema: Schema;
beforeAll(() => {
  schema = componentSchema();
});

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

describe("the schema for other languages", () => {
  test("has every component by its token, with these arguments (? optional) and outputs", () => {
    const text = (properties: Properties) =>
      Object.entries(properties)
        .map(([name, { optional }]) => (optional ? `${name}?` : name))
        .sort()
        .join(" ");
    const shapes = Object.entries(schema.resources).map(
      ([token, { inputProperties, properties }]) =>
        `${token}: ${text(inputProperties)} -> ${Object.keys(properties).sort().join(" ")}`,
    );
    expect(shapes.sort()).toEqual([
      "isthmus:index:Cluster: clusterName controller? gateway? images? issuer labels? namespace? trustBundle trustDomain -> clusterName gateway namespace",
      "isthmus:index:ExportedService: allowedClusters? gatewayName? gatewayNamespace? namespace service -> exported",
      "isthmus:index:Gateway: addresses? egressPorts? exposure? identity images? issuer labels? namespace? nodePort? port? probeNodePort? probePort? replicas? serviceAnnotations? trustBundle -> endpoint",
      "isthmus:index:Link: dataPlane? excludedAnnotations? excludedLabels? federatedServiceSelector? gateway kubeconfig labels? linkerdNamespace? namespace? remoteDiscoverySelector? selector? target targetClusterDomain? targetTrustDomain? -> linkName namespace",
      "isthmus:index:Mesh: clusters exports? images? namespace? topology? trustDomain -> gateways trustBundle",
      "isthmus:index:MirrorController: allowNamespaces? createNamespaces? dataPlane? egressPorts? excludedAnnotations? excludedLabels? federatedServiceSelector? images? labels? linkerdNamespace? logLevel? namespace? replicas? -> deployment",
      "isthmus:index:RemoteAccess: labels? maxRenewedTokenLifetimeSeconds? maxTokenLifetimeSeconds? namespace? source -> namespace serviceAccount",
      "isthmus:index:TrustAnchor: anchors? clusters issuerRenewalHours? issuerValidityHours? signer? trustDomain validityHours? -> issuers trustBundle trustDomain",
    ]);
  });

  test("has public choices as enumerations with the values that Kubernetes and mesh.yaml use", () => {
    const values = (name: string) =>
      schema.types[`isthmus:index:${name}`]?.enum?.map((member) => member.value);
    expect(values("GatewayExposure")).toEqual(["LoadBalancer", "NodePort", "ClusterIP"]);
    expect(values("ImagePullPolicy")).toEqual(["Always", "IfNotPresent", "Never"]);
    expect(values("TopologyShape")).toEqual(["full-mesh", "hub", "tree", "links"]);
    expect(values("DataPlane")).toEqual(["standalone", "linkerd"]);
  });
});

describe("the pages of docs/components", () => {
  const pages = readdirSync(`${ROOT}docs/components`);
  const text = (page: string) => readFileSync(`${ROOT}docs/components/${page}`, "utf8");
  const pageOf = (token: string) =>
    `${token
      .split(":")
      .at(-1)!
      .replace(/(?<=[a-z])[A-Z]/g, (letter) => `-${letter}`)
      .toLowerCase()}.md`;

  test("are one for each component", () => {
    expect(pages.sort()).toEqual(Object.keys(schema.resources).map(pageOf).sort());
  });

  test("list exactly the arguments and outputs that there are, those that need not be given with a default", () => {
    for (const [token, { inputProperties, properties }] of Object.entries(schema.resources)) {
      const page = text(pageOf(token));
      const inputs = rows(page, "argument");
      expect([token, ...inputs.keys()].sort()).toEqual([token, ...Object.keys(inputProperties)].sort());
      for (const [name, defaults] of inputs) {
        expect([token, name, defaults !== ""]).toEqual([
          token,
          name,
          inputProperties[name]?.optional === true,
        ]);
      }
      expect([token, ...rows(page, "output").keys()].sort()).toEqual(
        [token, ...Object.keys(properties)].sort(),
      );
    }
  });

  test("start with a program of about ten lines that compiles", () => {
    const snippets = new Map(
      pages.map((page) => [
        `${ROOT}docs/components/${page}.ts`,
        /^# \w+\n\n```ts\n([\s\S]*?)```/.exec(text(page))?.[1] ?? "",
      ]),
    );
    for (const [page, snippet] of snippets) {
      expect([page, snippet.split("\n").length > 3, snippet.split("\n").length <= 14]).toEqual([
        page,
        true,
        true,
      ]);
    }
    expect(problemsIn(snippets)).toEqual([]);
  });
});

/** First column (a cell may name several) and last of the table under this heading. */
function rows(page: string, heading: string): Map<string, string> {
  const found = new Map<string, string>();
  const lines = page.split("\n");
  for (
    let at = lines.findIndex((line) => line.startsWith(`| ${heading} |`)) + 2;
    lines[at]?.startsWith("|");
    at++
  ) {
    const cells = lines[at]!.split("|").map((cell) => cell.trim());
    for (const [, name] of cells[1]!.matchAll(/`(\w+)`/g)) found.set(name!, cells.at(-2)!);
  }
  return found;
}

/** What the compiler finds wrong with programs that import this package. */
function problemsIn(programs: ReadonlyMap<string, string>): string[] {
  const { config } = ts.readConfigFile(`${ROOT}tsconfig.json`, ts.sys.readFile);
  const { options } = ts.parseJsonConfigFileContent({ ...config, include: [], files: [] }, ts.sys, ROOT);
  const host = ts.createCompilerHost(options);
  const { readFile, fileExists } = host;
  host.readFile = (name) => programs.get(name) ?? readFile(name);
  host.fileExists = (name) => programs.has(name) || fileExists(name);
  host.getSourceFile = (name, target) => {
    const source = host.readFile(name);
    return source === undefined ? undefined : ts.createSourceFile(name, source, target);
  };
  const program = ts.createProgram(
    [...programs.keys()],
    {
      ...options,
      noEmit: true,
      rewriteRelativeImportExtensions: false,
      allowImportingTsExtensions: true,
      noUnusedLocals: false,
      paths: { isthmus: [`${ROOT}components/index.ts`] },
    },
    host,
  );
  return ts
    .getPreEmitDiagnostics(program)
    .map(
      ({ file, messageText }) => `${file?.fileName}: ${ts.flattenDiagnosticMessageText(messageText, "\n")}`,
    );
}
