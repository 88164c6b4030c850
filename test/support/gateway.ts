import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import type { Link } from "../../contract/index.ts";
import { type Applied, Applier, type ApplierOptions } from "../../controller/gateway/apply.ts";
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
import type { EndpointSlice, Service } from "../../controller/kube/objects.ts";
import { freePorts } from "./calls.ts";
import type { Authority } from "./certificates.ts";
import { identityOf, remoteAccess } from "./gateway-objects.ts";
import { HaproxyProcess } from "./haproxy.ts";
import { mountFiles } from "./volume.ts";
import { eventually } from "./wait.ts";

/** Gateways with a real HAProxy and real certificates on loopback, told what to do by objects made by hand. */

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
    this.#applier = this.applier();
  }

  /** What applies pictures to this gateway's HAProxy, with other parts of the agent here and there. */
  applier(others: Partial<ApplierOptions> = {}): Applier {
    const { files, runtime, master } = this;
    return new Applier({ files, runtime, master, clock: systemClock, log: silentLog, ...others });
  }

  static async start(direction: "ingress" | "egress", setup: GatewaySetup): Promise<TestGateway> {
    const options = await prepareGateway(direction, setup);
    await writeFirstConfiguration(options);
    const gateway = new TestGateway(options);
    await eventually(() => gateway.runtime.digest());
    return gateway;
  }

  async ingress(services: Service[], sources: string[], slices: EndpointSlice[] = []): Promise<Applied> {
    const settings = ingressSettings(this.options);
    const serviceAccounts = sources.map(remoteAccess);
    return this.apply(ingressPicture({ settings, services, slices, serviceAccounts }));
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
