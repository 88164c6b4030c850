import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { connect as connectTls } from "node:tls";
import {
  ALLOWED_CLUSTERS_ANNOTATION,
  EGRESS_PORTS_ANNOTATION,
  EXPORTED_LABEL,
  gatewayIdentity,
  LINK_LABEL,
  type Link,
  linkLabelValue,
  MANAGED_BY_LABEL,
  MANAGER,
  MIRRORED_LABEL,
  REMOTE_SERVICE_ANNOTATION,
  routeServerName,
  SOURCE_LABEL,
} from "../../contract/index.ts";
import { type Applied, Applier } from "../../controller/gateway/apply.ts";
import { egressPicture } from "../../controller/gateway/egress-routes.ts";
import { type GatewayFiles, gatewayFiles } from "../../controller/gateway/files.ts";
import { writeFirstConfiguration } from "../../controller/gateway/first-configuration.ts";
import { HaproxyMaster } from "../../controller/gateway/haproxy/master.ts";
import { HaproxyRuntime } from "../../controller/gateway/haproxy/runtime.ts";
import { ingressPicture } from "../../controller/gateway/ingress-routes.ts";
import { readMaterial } from "../../controller/gateway/material.ts";
import { type ResolvedGatewayOptions, resolveOptions } from "../../controller/gateway/options.ts";
import type { Picture } from "../../controller/gateway/picture.ts";
import { egressSettings, ingressSettings } from "../../controller/gateway/settings.ts";
import { parseIssuer } from "../../controller/identity/issuer.ts";
import { type CertificateAndKey, signLeaf } from "../../controller/identity/leaf.ts";
import { systemClock } from "../../controller/kube/clock.ts";
import { silentLog } from "../../controller/kube/log.ts";
import type { Service, ServiceAccount } from "../../controller/kube/objects.ts";
import type { Authority } from "./certificates.ts";
import { HaproxyProcess } from "./haproxy.ts";
import { mountFiles } from "./volume.ts";
import { eventually } from "./wait.ts";

/** Gateways with a real HAProxy and real certificates on loopback, told what to do by objects made by hand. */

export const TRUST_DOMAIN = "demo.mesh";
export const NAMESPACE = "isthmus";

/** The identity of a cluster's gateway in these tests. */
export const identityOf = (cluster: string) => gatewayIdentity(cluster, TRUST_DOMAIN);

/** The certificate that the identity role of `cluster` would write. */
export function gatewayCertificate(issuer: Authority, cluster: string): Promise<CertificateAndKey> {
  return signLeaf(parseIssuer(issuer.pem, issuer.keyPem), identityOf(cluster), new Date());
}

export interface GatewaySetup {
  cluster: string;
  certificate: CertificateAndKey;
  /** PEM of the trust bundle. */
  trust: string;
}

/** One HAProxy with the pieces of its agent, which the test moves by hand. */
export class TestGateway {
  readonly options: ResolvedGatewayOptions;
  readonly files: GatewayFiles;
  readonly runtime: HaproxyRuntime;
  readonly master: HaproxyMaster;
  readonly haproxy: HaproxyProcess;
  readonly #applier: Applier;

  private constructor(options: ResolvedGatewayOptions) {
    this.options = options;
    this.files = gatewayFiles(options.haproxyDirectory);
    this.runtime = new HaproxyRuntime(this.files.runtimeSocket);
    this.master = new HaproxyMaster(this.files.masterSocket, { clock: systemClock });
    this.haproxy = new HaproxyProcess(options.haproxyDirectory);
    this.#applier = new Applier({
      files: this.files,
      runtime: this.runtime,
      master: this.master,
      clock: systemClock,
      log: silentLog,
    });
  }

  static async start(direction: "ingress" | "egress", setup: GatewaySetup): Promise<TestGateway> {
    const options = await prepareGateway(direction, setup);
    await writeFirstConfiguration(options);
    const gateway = new TestGateway(options);
    await eventually(() => gateway.runtime.digest());
    return gateway;
  }

  async ingress(services: Service[], sources: string[]): Promise<Applied> {
    const settings = ingressSettings(this.options);
    return this.apply(ingressPicture({ settings, services, serviceAccounts: sources.map(remoteAccess) }));
  }

  async egress(services: Service[], links: Link[]): Promise<Applied> {
    return this.apply(egressPicture({ settings: egressSettings(this.options), services, links }));
  }

  async apply(picture: Picture): Promise<Applied> {
    return this.#applier.apply(picture, await readMaterial(this.options), true);
  }

  /** What the kubelet does when the mounted Secret changes. */
  setCertificate(certificate: CertificateAndKey): Promise<void> {
    return mountCertificate(this.options, certificate);
  }

  setTrust(pem: string): Promise<void> {
    return mountTrust(this.options, pem);
  }

  async stop(): Promise<void> {
    await this.haproxy.stop();
    await rm(join(this.options.haproxyDirectory, ".."), { recursive: true });
  }
}

/** Directories as in a pod, and ports that are free. */
export async function prepareGateway(
  direction: "ingress" | "egress",
  { cluster, certificate, trust }: GatewaySetup,
): Promise<ResolvedGatewayOptions> {
  const root = await mkdtemp(join(tmpdir(), "isthmus-gateway-"));
  const [port, probePort, first] = [await freePorts(1), await freePorts(1), await freePorts(8)];
  const options = resolveOptions({
    direction,
    identity: identityOf(cluster),
    haproxyDirectory: join(root, "run"),
    certificateDirectory: join(root, "certificates"),
    trustBundle: join(root, "trust", "ca.crt"),
    podIps: ["127.0.0.1"],
    adminAddress: "127.0.0.1:0",
    port,
    probePort,
    egressPorts: { first, last: first + 7 },
    log: silentLog,
  });
  await mkdir(options.haproxyDirectory);
  await mountCertificate(options, certificate);
  await mountTrust(options, trust);
  return options;
}

export function mountCertificate(
  { certificateDirectory }: Pick<ResolvedGatewayOptions, "certificateDirectory">,
  { certificatePem, privateKeyPem }: CertificateAndKey,
): Promise<void> {
  return mountFiles(certificateDirectory, { "tls.crt": certificatePem, "tls.key": privateKeyPem });
}

export function mountTrust(
  { trustBundle }: Pick<ResolvedGatewayOptions, "trustBundle">,
  pem: string,
): Promise<void> {
  return mountFiles(dirname(trustBundle), { [basename(trustBundle)]: pem });
}

export interface ExportOptions {
  name?: string;
  port: number;
  allowed?: string;
  exported?: boolean;
  address?: string;
}

/** An exported Service whose cluster IP is on loopback. */
export function exportedService({
  name = "echo",
  port,
  allowed,
  exported = true,
  address,
}: ExportOptions): Service {
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: {
      namespace: "default",
      name,
      labels: exported ? { [EXPORTED_LABEL]: "true" } : {},
      ...(allowed !== undefined && { annotations: { [ALLOWED_CLUSTERS_ANNOTATION]: allowed } }),
    },
    spec: { type: "ClusterIP", clusterIP: address ?? "127.0.0.1", ports: [{ name: "tcp", port }] },
  };
}

export function remoteAccess(source: string): ServiceAccount {
  return {
    apiVersion: "v1",
    kind: "ServiceAccount",
    metadata: {
      namespace: NAMESPACE,
      name: `isthmus-remote-access-${source}`,
      labels: { [SOURCE_LABEL]: source },
    },
  };
}

/** A Link to the gateway of `cluster` on loopback. */
export function linkTo(cluster: string, port: number, addresses = ["127.0.0.1"]): Link {
  return {
    apiVersion: "isthmus.dev/v1alpha1",
    kind: "Link",
    metadata: { namespace: NAMESPACE, name: cluster },
    spec: {
      targetClusterName: cluster,
      clusterCredentialsSecret: `cluster-credentials-${cluster}`,
      gatewayAddresses: addresses,
      gatewayPort: port,
      gatewayIdentity: identityOf(cluster),
      probe: { period: "500ms", timeout: "2s", failureThreshold: 2 },
    },
  };
}

/** The mirror of an exported Service, as the mirror role writes it. */
export function mirrorOf(service: Service, cluster: string, egressPort: number): Service {
  const { namespace, name } = service.metadata;
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: {
      namespace: namespace!,
      name: `${name}-${cluster}`,
      creationTimestamp: "2026-11-20T00:00:00Z",
      labels: {
        [MIRRORED_LABEL]: "true",
        [MANAGED_BY_LABEL]: MANAGER,
        [LINK_LABEL]: linkLabelValue({ namespace: NAMESPACE, name: cluster }),
      },
      annotations: {
        [REMOTE_SERVICE_ANNOTATION]: `${namespace}/${name}`,
        [EGRESS_PORTS_ANNOTATION]: `${service.spec!.ports![0]!.port}=${egressPort}`,
      },
    },
    spec: { type: "ClusterIP", clusterIP: "10.0.0.1", ports: service.spec!.ports! },
  };
}

/** The server name of the first port of an exported Service. */
export function serverNameOf(service: Service, cluster: string): string {
  const { namespace, name } = service.metadata;
  const route = { namespace: namespace!, service: name, port: service.spec!.ports![0]!.port };
  return routeServerName(route, identityOf(cluster));
}

/** Sends back what it gets, and ends when the other side does. */
export async function startEcho(): Promise<{ port: number; server: Server; stop: () => Promise<void> }> {
  const open = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    open.add(socket);
    socket.on("close", () => open.delete(socket));
    socket.on("error", () => socket.destroy());
    socket.pipe(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const stop = () =>
    new Promise<void>((resolve) => {
      for (const socket of open) socket.destroy();
      server.close(() => resolve());
    });
  return { port: (server.address() as { port: number }).port, server, stop };
}

/** A connection that is kept, so that a test can see what becomes of it. */
export class OpenCall {
  readonly #socket: Socket;
  #received = "";
  #ended = false;
  #error: NodeJS.ErrnoException | undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.setEncoding("utf8");
    socket.on("data", (chunk) => {
      this.#received += chunk;
    });
    socket.on("error", (error) => {
      this.#error = error;
    });
    socket.on("end", () => {
      this.#ended = true;
    });
    socket.on("close", () => {
      this.#ended = true;
    });
  }

  /** Send `text` and wait for it to come back. `closed` when the connection ends instead, and the reason where one came. */
  async echo(text: string): Promise<string> {
    const before = this.#received.length;
    this.#socket.write(text);
    await eventually(() => this.#ended || this.#received.length >= before + text.length);
    return this.#received.length >= before + text.length ? this.#received.slice(before) : this.outcome;
  }

  /** `open`, `closed`, or `refused: …` when the other side refused our certificate or we refused theirs. */
  get outcome(): string {
    if (this.#error?.message.includes("alert"))
      return `refused: ${/alert ([a-z ]+)/.exec(this.#error.message)?.[1]}`;
    return this.#ended ? "closed" : "open";
  }

  get isClosed(): boolean {
    return this.#ended;
  }

  close(): void {
    this.#socket.destroy();
  }
}

/** A client of an ingress that may lie about anything. */
export function callIngress(
  port: number,
  client: {
    certificate?: CertificateAndKey;
    serverName: string;
    /** Take up this TLS session instead of a full handshake. */
    session?: Buffer;
    /** Called with every session that the ingress offers to take up again. */
    onSession?: (session: Buffer) => void;
  },
): OpenCall {
  const { certificate, serverName, session, onSession } = client;
  const socket = connectTls({
    host: "127.0.0.1",
    port,
    servername: serverName,
    // What the server proves is the matter of other tests.
    rejectUnauthorized: false,
    ...(certificate && { cert: certificate.certificatePem, key: certificate.privateKeyPem }),
    ...(session && { session }),
  });
  if (onSession) socket.on("session", onSession);
  return new OpenCall(socket);
}

/** A plain client, of an egress' port for instance. */
export function callPlain(port: number): OpenCall {
  return new OpenCall(connect({ host: "127.0.0.1", port }));
}

const taken = new Set<number>();

/** First of `count` neighbouring ports, below the ephemeral range, that nobody listens on. */
export async function freePorts(count: number): Promise<number> {
  for (;;) {
    const first = 20_000 + Math.floor(Math.random() * 8_000);
    const ports = Array.from({ length: count }, (_, index) => first + index);
    if (ports.some((port) => taken.has(port))) continue;
    if ((await Promise.all(ports.map(isFree))).every(Boolean)) {
      for (const port of ports) taken.add(port);
      return first;
    }
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "0.0.0.0", () => server.close(() => resolve(true)));
  });
}
