import { notAnApiServer } from "../kube/answer.ts";
import type { Service, ServicePort, ServiceSpec } from "../kube/objects.ts";

/**
 * A Service as a target sent it, reduced to what a mirror is made from: with many services the rest is most of the memory. A
 * target is not trusted: throws `UnreachableError` (of reason `answer`) where a field is not of the type that Kubernetes
 * gives it, which no API server sends. What the fields say may still be anything that their types allow.
 */
export function readRemoteService(sent: Service, cluster: string): Service {
  const { name, namespace, uid, resourceVersion, labels, annotations } = sent.metadata;
  const where = `${String(namespace)}/${String(name)}`.slice(0, 200);
  const check = (holds: boolean, field: string) => {
    if (holds) return;
    const site = { cluster, method: "GET", path: "/api/v1/services" };
    throw notAnApiServer(
      site,
      `the target sent a Service ${where} whose ${field} is of no type that it can be`,
    );
  };
  for (const [field, value] of Object.entries({ namespace, uid, resourceVersion })) {
    check(isText(value), `metadata.${field}`);
  }
  check(isTexts(labels), "metadata.labels");
  check(isTexts(annotations), "metadata.annotations");
  check(sent.spec === undefined || isRecord(sent.spec), "spec");
  const { type, clusterIP, ports } = sent.spec ?? {};
  check(isText(type), "spec.type");
  check(isText(clusterIP), "spec.clusterIP");
  check(ports === undefined || (Array.isArray(ports) && ports.every(isPort)), "spec.ports");
  const spec: ServiceSpec = {
    ...(type && { type }),
    ...(clusterIP && { clusterIP }),
    ...(ports && { ports }),
  };
  return {
    apiVersion: sent.apiVersion,
    kind: sent.kind,
    metadata: {
      name,
      ...(namespace && { namespace }),
      ...(uid && { uid }),
      ...(resourceVersion && { resourceVersion }),
      ...(labels && { labels }),
      ...(annotations && { annotations }),
    },
    spec,
  };
}

function isText(value: unknown): boolean {
  return value === undefined || value === null || typeof value === "string";
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isTexts(value: unknown): boolean {
  if (value === undefined || value === null) return true;
  return isRecord(value) && Object.values(value).every((each) => typeof each === "string");
}

function isPort(value: unknown): value is ServicePort {
  if (!isRecord(value)) return false;
  const { name, protocol, port, targetPort, appProtocol } = value;
  const number = Number.isInteger(port) && (port as number) > 0 && (port as number) < 65_536;
  return (
    number &&
    [name, protocol, appProtocol].every(isText) &&
    (isText(targetPort) || Number.isInteger(targetPort))
  );
}
