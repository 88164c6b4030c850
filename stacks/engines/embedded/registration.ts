/** A program's request to register a resource, read from the protocol's message; what is not supported is refused by name. */
import type { RegisterResourceRequest } from "@pulumi/pulumi/proto/resource_pb.js";
import type { Properties } from "../wire.ts";
import { type Path, parsePath } from "./paths.ts";

export interface Alias {
  urn?: string;
  name?: string;
  type?: string;
  stack?: string;
  project?: string;
  /** URN; empty: it had no parent; undefined: the parent that the resource has. */
  parent?: string;
}

export interface Registration {
  type: string;
  name: string;
  custom: boolean;
  parent: string;
  provider: string;
  inputs: Properties;
  dependencies: string[];
  protect: boolean;
  retainOnDelete: boolean;
  deletedWith: string;
  deleteBeforeReplace: boolean;
  ignoreChanges: Path[];
  replaceOnChanges: Path[];
  additionalSecretOutputs: string[];
  aliases: Alias[];
  timeouts: { create?: number; update?: number; delete?: number };
}

/** @throws Error naming the resource and the option that the embedded engine does not know. */
export function readRegistration(request: RegisterResourceRequest): Registration {
  const unsupported: [string, boolean][] = [
    ["import", request.getImportid() !== ""],
    ["replaceWith", request.getReplaceWithList().length > 0],
    ["replacementTrigger", request.hasReplacementTrigger()],
    ["envVarMappings", request.getEnvvarmappingsMap().getLength() > 0],
    ["transforms", request.getTransformsList().length > 0],
    ["stateMigrations", request.getStateMigrationsList().length > 0],
    ["hooks", request.hasHooks()],
    ["a component of another language", request.getRemote()],
  ];
  const named = unsupported.filter(([, used]) => used).map(([option]) => option);
  if (named.length > 0) {
    throw new Error(
      `${request.getType()} "${request.getName()}" uses ${named.join(", ")}, which the embedded engine does not know. ` +
        "Use the Pulumi CLI for this program (--engine pulumi)",
    );
  }
  const dependencies = new Set(request.getDependenciesList());
  request.getPropertydependenciesMap().forEach((of) => {
    for (const urn of of.getUrnsList()) dependencies.add(urn);
  });
  const timeouts = request.getCustomtimeouts();
  return {
    type: request.getType(),
    name: request.getName(),
    custom: request.getCustom(),
    parent: request.getParent(),
    provider: request.getProvider(),
    inputs: (request.getObject()?.toJavaScript() ?? {}) as Properties,
    dependencies: [...dependencies],
    protect: request.getProtect() ?? false,
    retainOnDelete: request.getRetainondelete() ?? false,
    deletedWith: request.getDeletedwith(),
    deleteBeforeReplace: request.getDeletebeforereplace(),
    ignoreChanges: request.getIgnorechangesList().map(parsePath),
    replaceOnChanges: request.getReplaceonchangesList().map(parsePath),
    additionalSecretOutputs: request.getAdditionalsecretoutputsList(),
    aliases: request.getAliasesList().map((alias) => {
      const spec = alias.getSpec();
      if (spec === undefined) return { urn: alias.getUrn() };
      return {
        ...given("name", spec.getName()),
        ...given("type", spec.getType()),
        ...given("stack", spec.getStack()),
        ...given("project", spec.getProject()),
        ...(spec.hasNoparent() ? { parent: "" } : given("parent", spec.getParenturn())),
      };
    }),
    timeouts: {
      ...timeout("create", timeouts?.getCreate()),
      ...timeout("update", timeouts?.getUpdate()),
      ...timeout("delete", timeouts?.getDelete()),
    },
  };
}

function given<K extends string>(key: K, value: string): Partial<Record<K, string>> {
  return value === "" ? {} : ({ [key]: value } as Record<K, string>);
}

function timeout<K extends string>(key: K, value: string | undefined): Partial<Record<K, number>> {
  if (value === undefined || value === "") return {};
  return { [key]: parseDuration(value) } as Record<K, number>;
}

const UNITS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 } as const;

/** `90s`, `5m`, `1h30m` in milliseconds. @throws Error naming the value */
export function parseDuration(text: string): number {
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)];
  if (parts.length === 0 || parts.map((part) => part[0]).join("") !== text) {
    throw new Error(`"${text}" is not a duration such as 90s, 5m or 1h30m`);
  }
  return parts.reduce(
    (total, [, count, unit]) => total + Number(count) * UNITS[unit as keyof typeof UNITS],
    0,
  );
}
