/** What the program sees of an object. */
import { isObject, markSecretsLike, type Properties, secret, UNKNOWN, type Value } from "../../wire.ts";
import type { KubeObject } from "./client.ts";

/** What the program sees: the object without its managers' bookkeeping, secret where it has to be. */
export function outputsOf(live: KubeObject | undefined, inputs: Properties, kind: string): Properties {
  if (live === undefined) return expectedOutputs(inputs, kind);
  const { managedFields, ...metadata } = live.metadata ?? {};
  const outputs = markSecretsLike({ ...live, metadata } as Value, inputs) as Properties;
  if (kind === "Secret" && outputs.data !== undefined) outputs.data = secret(outputs.data);
  return outputs;
}

/** What is known of an object before it exists: its inputs, with what only the server can fill in marked as unknown. */
export function expectedOutputs(inputs: Properties, kind: string): Properties {
  const { spec } = inputs;
  if (kind !== "Service" || !isObject(spec)) return inputs;
  const exposed = spec.type === "NodePort" || spec.type === "LoadBalancer";
  const ports = Array.isArray(spec.ports) ? spec.ports : [];
  return {
    ...inputs,
    spec: {
      clusterIP: UNKNOWN,
      clusterIPs: UNKNOWN,
      ...spec,
      ports: ports.map((port): Value => (exposed && isObject(port) ? { nodePort: UNKNOWN, ...port } : port)),
    },
  };
}
