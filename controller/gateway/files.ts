import { join } from "node:path";

/** The files that the agent writes and HAProxy reads, all in one directory that the two containers share. */
export interface GatewayFiles {
  /** What HAProxy is started with. */
  config: string;
  /** The gateway's certificate, its issuer and its key. */
  certificate: string;
  /** The trust bundle. */
  trust: string;
  /** Ingress: name of a source -> its backend. */
  sources: string;
  /** Ingress: `<source or *>|<SNI>` -> ClusterIP and port. Egress: local port -> backend and SNI. */
  routes: string;
  /** `ready` stands in it while this gateway serves. */
  status: string;
  /** State of the servers, so that a new worker knows which are down. */
  servers: string;
  /** Socket of the worker's runtime commands. */
  runtimeSocket: string;
  /** Socket of the master process (`haproxy -S`). */
  masterSocket: string;
}

export function gatewayFiles(directory: string): GatewayFiles {
  return {
    config: join(directory, "haproxy.cfg"),
    certificate: join(directory, "gateway.pem"),
    trust: join(directory, "trust.pem"),
    sources: join(directory, "sources.map"),
    routes: join(directory, "routes.map"),
    status: join(directory, "status.map"),
    servers: join(directory, "servers.state"),
    runtimeSocket: join(directory, "runtime.sock"),
    masterSocket: join(directory, "master.sock"),
  };
}
