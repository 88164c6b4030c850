/** What is known of an object before it exists: its inputs, with what only the server can fill in marked as unknown. */
import { isObject, type Properties, UNKNOWN, type Value } from "../../wire.ts";

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
