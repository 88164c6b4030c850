import { Ajv, type ErrorObject, type ValidateFunction } from "ajv";
import * as rules from "../components/validation.ts";
import schema from "./mesh.schema.json" with { type: "json" };
import { nearest, type Path } from "./problems.ts";

/** One thing that the JSON Schema of mesh.yaml finds wrong. */
export interface Finding {
  path: Path;
  message: string;
}

/** What the schema's own formats allow. */
const FORMATS: Record<string, rules.Rule> = {
  "dns-label": rules.dnsLabel,
  "cluster-name": rules.clusterName,
  "dns-name": rules.dnsName,
  address: {
    allowed: "an IP address or a host name",
    test: (value) => rules.addresses.test([value]),
  },
  "https-url": {
    allowed: "the URL of an API server, such as https://203.0.113.10:6443",
    test: (value) => typeof value === "string" && /^https:\/\/[^/]+\/?$/.test(value) && URL.canParse(value),
  },
};

/** The forms of `topology`, by the key that tells which is meant: their places in the schema's `anyOf`. */
const TOPOLOGIES: Record<string, number> = { hub: 1, tree: 2, links: 3 };
const TOPOLOGY =
  "must be full-mesh, { hub: a cluster }, { tree: { a cluster: [its children] } } or { links: [{ source, target }] }";

let compiled: ValidateFunction | undefined;

function validator(): ValidateFunction {
  if (compiled) return compiled;
  const ajv = new Ajv({ allErrors: true, verbose: true, strictTypes: false });
  for (const [name, rule] of Object.entries(FORMATS)) ajv.addFormat(name, (text: string) => rule.test(text));
  compiled = ajv.compile(schema);
  return compiled;
}

/** What the schema finds wrong with the content of a mesh.yaml, in the schema's order. */
export function findings(content: unknown): Finding[] {
  const validate = validator();
  if (validate(content)) return [];
  return (validate.errors ?? []).flatMap((error) => toFinding(error, content));
}

function toFinding(error: ErrorObject, content: unknown): Finding[] {
  const path = pathOf(error.instancePath, content);
  if (error.schemaPath.startsWith("#/properties/topology/")) {
    const topology = (content as { topology: unknown }).topology;
    const form = topologyForm(topology);
    if (form === undefined) return error.keyword === "anyOf" ? [{ path, message: TOPOLOGY }] : [];
    if (!error.schemaPath.startsWith(`#/properties/topology/anyOf/${form}/`)) return [];
  }
  const { message, key } = describe(error);
  return [{ path: key === undefined ? path : [...path, key], message }];
}

/** Which form of topology is meant: the one whose key is there, if it is the only such key. */
function topologyForm(topology: unknown): number | undefined {
  if (typeof topology !== "object" || topology === null) return undefined;
  const keys = Object.keys(TOPOLOGIES).filter((key) => key in topology);
  return keys.length === 1 ? TOPOLOGIES[keys[0]!] : undefined;
}

function describe(error: ErrorObject): { message: string; key?: string } {
  const { keyword, params, data, parentSchema, schema } = error;
  const given = JSON.stringify(data);
  switch (keyword) {
    case "additionalProperties": {
      const key: string = params.additionalProperty;
      const known = Object.keys(parentSchema?.properties ?? {});
      const meant = nearest(key, known);
      const hint = meant === undefined ? "" : `; did you mean ${meant}?`;
      return {
        key,
        message: `is not a known key${hint === "" ? ";" : hint} Known here: ${known.join(", ")}`,
      };
    }
    case "required": {
      const key: string = params.missingProperty;
      const purpose: string = parentSchema?.properties?.[key]?.description ?? "";
      return { key, message: `is missing: ${purpose}` };
    }
    case "format":
      return { message: `is ${given}; it must be ${FORMATS[params.format]!.allowed}` };
    case "enum":
      return { message: `is ${given}; it must be ${(schema as string[]).join(", or ")}` };
    case "type":
      return { message: `is ${given}; it must be ${typeName(params.type)}` };
    case "minimum":
    case "maximum": {
      const { minimum, maximum } = parentSchema ?? {};
      const range = maximum === undefined ? `${minimum} or more` : `${minimum} to ${maximum}`;
      return { message: `is ${given}; it must be ${range}` };
    }
    case "minItems":
      return { message: "is empty; it must have an entry at least" };
    case "maxItems":
      return { message: `has ${(data as unknown[]).length} entries; it may have ${params.limit}` };
    case "minLength":
      return { message: "is empty" };
    default:
      return { message: error.message ?? keyword };
  }
}

const TYPES: Record<string, string> = {
  object: "a mapping",
  array: "a list",
  string: "a text",
  integer: "a whole number",
  boolean: "true or false",
};

function typeName(type: string): string {
  return TYPES[type] ?? type;
}

/** A JSON pointer as a path: steps into lists are numbers. */
function pathOf(pointer: string, content: unknown): Path {
  const path: (string | number)[] = [];
  let at: unknown = content;
  for (const escaped of pointer.split("/").slice(1)) {
    const step = escaped.replaceAll("~1", "/").replaceAll("~0", "~");
    const key = Array.isArray(at) ? Number(step) : step;
    path.push(key);
    at = (at as Record<string | number, unknown>)[key];
  }
  return path;
}
