/** From a resource's inputs to the object that is applied. Pure. */
import { isObject, type Properties, plainProperties } from "../../wire.ts";
import type { KubeObject } from "./client.ts";

const PULUMI_PREFIX = "pulumi.com/";

/** What annotations of Pulumi's ask of the engine. They steer it, and are not sent to the cluster. */
export interface Directives {
  fieldManager?: string;
  force: boolean;
  skipAwait: boolean;
  /** Milliseconds. */
  timeout?: number;
}

export interface Manifest {
  apiVersion: string;
  kind: string;
  name: string;
  namespace: string | undefined;
  /** A part of an object that must exist already and stays someone else's. */
  isPatch: boolean;
  object: KubeObject & { metadata: NonNullable<KubeObject["metadata"]> };
  directives: Directives;
}

/** @param type `kubernetes:core/v1:ServicePatch`. @throws Error naming what is missing or not supported */
export function toManifest(type: string, inputs: Properties): Manifest {
  const { apiVersion, kind, metadata, ...rest } = plainProperties(inputs);
  const token = type.slice(type.lastIndexOf(":") + 1);
  if (typeof apiVersion !== "string" || typeof kind !== "string") {
    throw new Error(
      `${type} has no apiVersion and kind of its own: the embedded engine knows plain objects, no charts, files or lists`,
    );
  }
  if (token !== kind && token !== `${kind}Patch`) {
    throw new Error(`${type} makes no object of its own kind; the embedded engine knows plain objects only`);
  }
  if (!isObject(metadata) || typeof metadata.name !== "string" || metadata.name === "") {
    throw new Error("metadata.name is missing: the embedded engine makes up no names");
  }
  const { annotations, namespace, ...named } = metadata;
  const kept = Object.entries(isObject(annotations) ? annotations : {}).filter(
    ([key]) => !key.startsWith(PULUMI_PREFIX),
  );
  const object = {
    apiVersion,
    kind,
    metadata: {
      ...named,
      name: metadata.name,
      ...(typeof namespace === "string" && { namespace }),
      ...(kept.length > 0 && { annotations: Object.fromEntries(kept) as Record<string, string> }),
    },
    ...rest,
  };
  return {
    apiVersion,
    kind,
    name: metadata.name,
    namespace: typeof namespace === "string" && namespace !== "" ? namespace : undefined,
    isPatch: token !== kind,
    object: withEncodedStrings(object),
    directives: directivesOf(isObject(annotations) ? annotations : {}),
  };
}

/**
 * `stringData` is write-only: the server turns it into `data`, but owns the result differently. Sent as `data` at once,
 * ownership and comparison work as for every other field.
 */
function withEncodedStrings(object: Manifest["object"]): Manifest["object"] {
  if (object.kind !== "Secret" || object.apiVersion !== "v1" || !isObject(object.stringData)) return object;
  const { stringData, ...secret } = object;
  const encoded = Object.entries(stringData as Record<string, string>).map(([key, text]) => [
    key,
    Buffer.from(text).toString("base64"),
  ]);
  return { ...secret, data: { ...(secret.data as object | undefined), ...Object.fromEntries(encoded) } };
}

function directivesOf(annotations: { [key: string]: unknown }): Directives {
  const directives: Directives = { force: false, skipAwait: false };
  for (const [key, value] of Object.entries(annotations)) {
    switch (key) {
      case "pulumi.com/patchFieldManager":
        directives.fieldManager = String(value);
        break;
      case "pulumi.com/patchForce":
        directives.force = value === "true";
        break;
      case "pulumi.com/skipAwait":
        directives.skipAwait = value === "true";
        break;
      case "pulumi.com/timeoutSeconds":
        directives.timeout = Number(value) * 1000;
        break;
      default:
        if (key.startsWith(PULUMI_PREFIX))
          throw new Error(`the embedded engine does not know the annotation ${key}`);
    }
  }
  return directives;
}

export function idOf(manifest: Manifest, namespaced: boolean, defaultNamespace: string): string {
  return namespaced ? `${manifest.namespace ?? defaultNamespace}/${manifest.name}` : manifest.name;
}

export function parseId(id: string): { namespace: string | undefined; name: string } {
  const slash = id.indexOf("/");
  return slash < 0
    ? { namespace: undefined, name: id }
    : { namespace: id.slice(0, slash), name: id.slice(slash + 1) };
}
