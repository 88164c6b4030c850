/** A port of a Service or of an EndpointSlice. */
interface Port {
  name?: string;
  protocol?: string;
  port?: number;
}

/** The ports that can be carried: TCP, which is what a port without a protocol is, and with a number. */
export function tcpPorts(ports: readonly Port[] = []): { name: string; port: number }[] {
  return ports.flatMap(({ name = "", protocol = "TCP", port }) =>
    protocol === "TCP" && typeof port === "number" ? [{ name, port }] : [],
  );
}
