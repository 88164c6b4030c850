import { createRequire } from "node:module";
import * as surface from "../../components/index.ts";

const require = createRequire(import.meta.url);
export const packageJson = require("../../package.json");

export interface Properties {
  [name: string]: { optional?: boolean; description?: string };
}

export interface Schema {
  resources: Record<string, { inputProperties: Properties; properties: Properties }>;
  types: Record<string, { properties?: Properties; enum?: { name: string; value: string }[] }>;
}

/** The schema that Pulumi derives from the sources, from which it makes the libraries of other languages. */
export function componentSchema(): Schema {
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
  return generateSchema(packageJson.name, packageJson.version, "", components, typeDefinitions, dependencies);
}
