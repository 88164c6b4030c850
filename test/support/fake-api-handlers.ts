import { type KubeObject, keyOf } from "../../controller/kube/objects.ts";
import { apiVersion, type Resource } from "../../controller/kube/resource.ts";
import { type FakeObjects, type Preconditions, Refusal } from "./fake-api-objects.ts";
import { type Json, jsonPatch, mergePatch, strategicPatch } from "./fake-api-patch.ts";
import type { FakeRequest } from "./fake-api-request.ts";
import { selects } from "./fake-api-selectors.ts";

/** What a real API server would answer to a request that is no watch. Throws `Refusal`. */
export function answer(objects: FakeObjects, request: FakeRequest, endless: boolean): unknown {
  const { resource, method, name } = request;
  if (!resource) throw new Refusal(404, "NotFound", "the server could not find the requested resource");
  if (request.query.get("dryRun") === "All") return dryRun(request);
  if (method === "GET") {
    return name === undefined
      ? list(objects, request, resource, endless)
      : objects.get(resource, refOf(request));
  }
  if (method === "POST") return create(objects, request, resource);
  if (method === "PUT") return objects.update(resource, withPlace(request), request.subresource);
  if (method === "PATCH") return patch(objects, request, resource);
  if (method === "DELETE" && name !== undefined) {
    const { preconditions } = (request.body ?? {}) as { preconditions?: Preconditions };
    const gone = objects.delete(resource, refOf(request), preconditions);
    return gone.metadata.deletionTimestamp
      ? gone
      : {
          kind: "Status",
          apiVersion: "v1",
          metadata: {},
          status: "Success",
          details: { uid: gone.metadata.uid },
        };
  }
  throw new Refusal(405, "MethodNotAllowed", `the server does not allow ${method} here`);
}

function create(objects: FakeObjects, request: FakeRequest, resource: Resource): unknown {
  return objects.create(resource, withPlace(request));
}

/** Nothing is stored; the answer is what was asked for. */
function dryRun(request: FakeRequest): unknown {
  const object = withPlace(request);
  return { ...object, metadata: { ...object.metadata, uid: "dry-run", resourceVersion: "0" } };
}

function patch(objects: FakeObjects, request: FakeRequest, resource: Resource): unknown {
  const { contentType, query, subresource, body } = request;
  if (contentType === "application/apply-patch+yaml") {
    const manager = query.get("fieldManager");
    if (!manager) throw new Refusal(422, "Invalid", "fieldManager is required for apply patch");
    return objects.apply(resource, withPlace(request), manager, query.get("force") === "true", subresource);
  }
  return objects.modify(
    resource,
    refOf(request),
    (object) => {
      const patched = applied(contentType, object, body) as KubeObject;
      const { resourceVersion } = patched.metadata;
      if (resourceVersion !== undefined && resourceVersion !== object.metadata.resourceVersion) {
        throw new Refusal(409, "Conflict", `the object has been modified: ${keyOf(object)}`);
      }
      return patched;
    },
    subresource,
  );
}

function applied(contentType: string, object: KubeObject, body: unknown): unknown {
  switch (contentType) {
    case "application/merge-patch+json":
      return mergePatch(object, body);
    case "application/strategic-merge-patch+json":
      return strategicPatch(object, body);
    case "application/json-patch+json":
      try {
        return jsonPatch(object, body as Parameters<typeof jsonPatch>[1]);
      } catch (error) {
        throw new Refusal(422, "Invalid", (error as Error).message);
      }
    default:
      throw new Refusal(
        415,
        "UnsupportedMediaType",
        `the body of the request was in an unknown format: ${contentType}`,
      );
  }
}

function list(objects: FakeObjects, request: FakeRequest, resource: Resource, endless: boolean): unknown {
  const { query, namespace } = request;
  const token = parseContinue(query.get("continue"));
  if (token && token.version < objects.compactedAt) {
    throw new Refusal(410, "Expired", "The provided continue parameter is too old");
  }
  const selectors = { labels: query.get("labelSelector"), fields: query.get("fieldSelector") };
  const all = objects.list(resource, namespace).filter((object) => selects(object, selectors));
  const limit = Number(query.get("limit") ?? 0) || Number.POSITIVE_INFINITY;
  const from = endless ? 0 : (token?.from ?? 0);
  const page = all.slice(from, from + limit);
  const next = from + page.length;
  const version = token?.version ?? objects.version;
  const more = endless || next < all.length;
  const turn = endless ? (token?.from ?? 0) + 1 : next;
  return {
    kind: `${resource.kind}List`,
    apiVersion: apiVersion(resource),
    metadata: {
      resourceVersion: String(version),
      ...(more && { continue: Buffer.from(JSON.stringify({ from: turn, version })).toString("base64url") }),
    },
    // Lists leave out what all their items have in common.
    items: page.map(({ apiVersion: _version, kind: _kind, ...item }) => item),
  };
}

function parseContinue(text: string | null): { from: number; version: number } | undefined {
  return text ? JSON.parse(Buffer.from(text, "base64url").toString()) : undefined;
}

function refOf({ namespace, name }: FakeRequest): { namespace: string | undefined; name: string } {
  return { namespace, name: name ?? "" };
}

/** The object in the body, in the namespace of the path. */
function withPlace(request: FakeRequest): KubeObject {
  const object = request.body as KubeObject & Json;
  if (!object?.metadata?.name) throw new Refusal(422, "Invalid", "metadata.name: Required value");
  if (request.name !== undefined && object.metadata.name !== request.name) {
    throw new Refusal(400, "BadRequest", "the name of the object does not match the name on the URL");
  }
  const metadata = { ...object.metadata };
  if (request.namespace !== undefined) metadata.namespace = request.namespace;
  return { ...object, metadata };
}
