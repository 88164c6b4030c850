import type { KubeObject } from "../../controller/kube/objects.ts";
import { runProgram, Secret } from "./pulumi.ts";

/** The Kubernetes objects that a program makes, in an order in which an API server takes them. */
export async function objectsOf<T = KubeObject>(program: () => void): Promise<T[]> {
  const { resources } = await runProgram(program);
  return resources
    .filter(({ type }) => type.startsWith("kubernetes:"))
    .map(({ type, inputs }) => {
      const [, groupVersion, kind] = type.split(":") as [string, string, string];
      return { apiVersion: groupVersion.replace(/^core\//, ""), kind, ...(revealed(inputs) as object) } as T;
    });
}

function revealed(value: unknown): unknown {
  if (value instanceof Secret) return revealed(value.value);
  if (Array.isArray(value)) return value.map(revealed);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, revealed(entry)]));
}
