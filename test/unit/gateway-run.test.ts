import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { dirname } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import {
  ALLOWED_CLUSTERS_ANNOTATION,
  EXPORTED_LABEL,
  FEDERATED_LABEL,
  type LinkGatewayStatus,
  routeServerName,
  SLICE_MANAGED_BY_LABEL,
  SLICE_MANAGER,
} from "../../contract/index.ts";
import { gatewayFiles } from "../../controller/gateway/files.ts";
import { runGateway } from "../../controller/gateway/index.ts";
import type { GatewayOptions, ResolvedGatewayOptions } from "../../controller/gateway/options.ts";
import type { CertificateAndKey } from "../../controller/identity/leaf.ts";
import { KubeClient } from "../../controller/kube/client.ts";
import { silentLog } from "../../controller/kube/log.ts";
import type { EndpointSlice, Service } from "../../controller/kube/objects.ts";
import { ENDPOINT_SLICES, LINKS, SERVICE_ACCOUNTS, SERVICES } from "../../controller/kube/resource.ts";
import { callIngress, callPlain, freePorts, type OpenCall, startEcho } from "../support/calls.ts";
import { type Authority, makeAnchor, makeIssuer } from "../support/certificates.ts";
import { FakeApi, type FakeRequest } from "../support/fake-api.ts";
import { gatewayCertificate, mountCertificate, mountTrust, prepareGateway } from "../support/gateway.ts";
import {
  exportedService,
  headless,
  identityOf,
  linkTo,
  linkWith,
  mirrorOf,
  remoteAccess,
  serverNameOf,
  sliceOf,
  throughGateway,
} from "../support/gateway-objects.ts";
import { HaproxyProcess, haproxyMissing } from "../support/haproxy.ts";
import { eventually } from "../support/wait.ts";

if (haproxyMissing) process.stderr.write(`the tests of the gateway's agent are skipped: ${haproxyMissing}\n`);

/** What docs/gateway.md gives to the two accounts, and nothing else. */
const PERMITTED = {
  ingress: [/^services \*$/, /^endpointslices \*$/, /^serviceaccounts isthmus$/],
  egress: [/^services \*$/, /^endpointslices \*$/, /^links isthmus$/],
};

/** A mirror's slice that names the pod. */
const slice: EndpointSlice = {
  apiVersion: "discovery.k8s.io/v1",
  kind: "EndpointSlice",
  metadata: {
    namespace: "default",
    name: "echo-east-isthmus",
    labels: { [SLICE_MANAGED_BY_LABEL]: SLICE_MANAGER },
  },
  addressType: "IPv4",
  endpoints: [{ addresses: ["127.0.0.1"] }],
};

/** One pod: its HAProxy, its agent, and the API server it listens to. */
class Pod {
  readonly options: ResolvedGatewayOptions;
  readonly admin: string;
  readonly haproxy: HaproxyProcess;
  readonly #client: KubeClient;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;

  constructor(options: ResolvedGatewayOptions, api: FakeApi, more: Partial<GatewayOptions>) {
    this.options = options;
    this.admin = `http://${options.adminAddress}`;
    this.haproxy = new HaproxyProcess(options.haproxyDirectory);
    this.#client = new KubeClient({ cluster: "east", credentials: api.credentials() });
    this.#running = runGateway({ ...options, ...more, client: this.#client }, this.#stop.signal);
  }

  async ask(path: string): Promise<{ status: number; text: string }> {
    const response = await fetch(`${this.admin}${path}`);
    return { status: response.status, text: await response.text() };
  }

  async reloads(): Promise<number> {
    const { text } = await this.ask("/metrics");
    return Number(/^isthmus_gateway_reloads_total\{outcome="success"\} (\d+)$/m.exec(text)?.[1] ?? 0);
  }

  async problems(): Promise<string[]> {
    return JSON.parse((await this.ask("/state")).text).gateway.problems;
  }

  ready(): Promise<unknown> {
    return eventually(async () => (await this.ask("/ready")).status === 200);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
    await this.#client.close();
    await this.haproxy.stop();
    await rm(dirname(this.options.haproxyDirectory), { recursive: true });
  }
}

(haproxyMissing ? describe.skip : describe)("the gateway's agent", () => {
  let api: FakeApi;
  let anchor: Authority;
  let west: CertificateAndKey;
  let echo: Awaited<ReturnType<typeof startEcho>>;
  let service: Service;
  const calls: OpenCall[] = [];
  const pods: Pod[] = [];

  beforeEach(async () => {
    api = await FakeApi.start();
    anchor = await makeAnchor();
    west = await gatewayCertificate(await makeIssuer(anchor, "west"), "west");
    echo = await startEcho();
    service = exportedService({ port: echo.port });
  });

  afterEach(async () => {
    for (const call of calls.splice(0)) call.close();
    for (const pod of pods.splice(0)) await pod.stop();
    await echo.stop();
    await api.close();
  });

  async function start(direction: "ingress" | "egress", more: Partial<GatewayOptions> = {}): Promise<Pod> {
    const cluster = direction === "ingress" ? "east" : "west";
    const issuer = await makeIssuer(anchor, cluster);
    const options = await prepareGateway(direction, {
      cluster,
      certificate: await gatewayCertificate(issuer, cluster),
      trust: anchor.pem,
    });
    options.adminAddress = `127.0.0.1:${await freePorts(1)}`;
    await runGateway({ ...options, init: true, log: silentLog }, AbortSignal.abort());
    if (direction === "ingress" || pods.length === 0) {
      api.forbids = (request) => !permitted(direction, request);
    } else {
      api.forbids = (request) => !permitted("ingress", request) && !permitted("egress", request);
    }
    const pod = new Pod(options, api, more);
    pods.push(pod);
    return pod;
  }

  function permitted(
    direction: "ingress" | "egress",
    { method, resource, namespace, name }: FakeRequest,
  ): boolean {
    const asked = `${resource?.plural} ${namespace ?? "*"}`;
    return (
      method === "GET" && name === undefined && PERMITTED[direction].some((allowed) => allowed.test(asked))
    );
  }

  function open(call: OpenCall): OpenCall {
    calls.push(call);
    return call;
  }

  const callIn = (pod: Pod) =>
    open(callIngress(pod.options.port, { serverName: serverNameOf(service, "east"), certificate: west }));

  test("lets nothing in before the first full picture, then serves", async () => {
    await api.unreachable();
    api.objects.create(SERVICES, service);
    api.objects.create(SERVICE_ACCOUNTS, remoteAccess("west"));
    const pod = await start("ingress");
    await eventually(async () =>
      (await pod.ask("/ready")).text.includes("the first full picture is not in yet"),
    );
    const probe = `http://127.0.0.1:${pod.options.probePort}/ready`;
    await eventually(async () => (await fetch(probe)).status === 503);
    expect(await callIn(pod).echo("hello")).toBe("closed");
    await api.listen();
    await pod.ready();
    expect((await fetch(probe)).status).toBe(200);
  });

  test("follows exports, narrowings and remote accesses as they come and go", async () => {
    const pod = await start("ingress");
    await pod.ready();
    expect(await callIn(pod).echo("hello")).toBe("closed");
    api.objects.create(SERVICE_ACCOUNTS, remoteAccess("west"));
    // The API server gives a Service an address of its own; these calls are to go to loopback.
    const created = api.objects.create(SERVICES, service);
    expect(created.spec?.clusterIP).toBe("127.0.0.1");
    await eventually(async () => (await callIn(pod).echo("hello")) === "hello");
    const kept = callIn(pod);
    expect(await kept.echo("one")).toBe("one");

    const annotate = (allowed: string) =>
      api.objects.modify(SERVICES, service.metadata, (object) => {
        object.metadata.annotations = { [ALLOWED_CLUSTERS_ANNOTATION]: allowed };
        return object;
      });
    annotate("north");
    await eventually(async () => (await callIn(pod).echo("hello")) === "closed");
    annotate("north, west");
    await eventually(async () => (await callIn(pod).echo("hello")) === "hello");
    api.objects.modify(SERVICES, service.metadata, (object) => {
      object.metadata.labels = { [EXPORTED_LABEL]: "false" };
      return object;
    });
    await eventually(async () => (await callIn(pod).echo("hello")) === "closed");
    expect(await kept.echo("two")).toBe("two");
    api.objects.delete(SERVICE_ACCOUNTS, remoteAccess("west").metadata);
    await eventually(() => kept.isClosed);
  });

  test("follows the hosts of a headless service, and passes over what does not move them", async () => {
    const db = headless(exportedService({ name: "db", port: 5432 }));
    const host = (hostname: string, ready = true) => ({
      addresses: ["127.0.0.1"],
      hostname,
      conditions: { ready },
    });
    const door = (hostname: string) =>
      routeServerName({ namespace: "default", service: "db", port: 5432, hostname }, identityOf("east"));
    const callHost = (name: string) =>
      open(callIngress(pod.options.port, { serverName: door(name), certificate: west })).echo("hello");
    api.objects.create(SERVICE_ACCOUNTS, remoteAccess("west"));
    // A slice may come before its Service, and with a Service that has an address it means nothing here.
    api.objects.create(ENDPOINT_SLICES, sliceOf(db, echo.port, { endpoints: [host("db-0")] }));
    const pod = await start("ingress");
    await pod.ready();
    expect(await callHost("db-0")).toBe("closed");
    api.objects.create(SERVICES, db);
    await eventually(async () => (await callHost("db-0")) === "hello");

    const endpoints = (...hosts: ReturnType<typeof host>[]) =>
      api.objects.modify(ENDPOINT_SLICES, sliceOf(db, 0, {}).metadata, (slice) => ({
        ...slice,
        endpoints: hosts,
      }));
    endpoints(host("db-0"), host("db-1"));
    await eventually(async () => (await callHost("db-1")) === "hello");
    const before = await pod.reloads();
    endpoints(host("db-0", false), host("db-1"));
    expect(await callHost("db-0")).toBe("hello");
    endpoints(host("db-1"));
    await eventually(async () => (await callHost("db-0")) === "closed");
    expect(await callHost("db-1")).toBe("hello");
    api.objects.delete(ENDPOINT_SLICES, sliceOf(db, 0, {}).metadata);
    await eventually(async () => (await callHost("db-1")) === "closed");
    expect(await pod.reloads()).toBe(before);
  });

  test("lets in what is exported, and what is a member of a federated service, whichever it was first", async () => {
    api.objects.create(SERVICE_ACCOUNTS, remoteAccess("west"));
    api.objects.create(SERVICES, service);
    const pod = await start("ingress");
    await pod.ready();
    const label = (labels: Record<string, string>) =>
      api.objects.modify(SERVICES, service.metadata, (object) => {
        object.metadata.labels = labels;
        return object;
      });
    expect(await callIn(pod).echo("hello")).toBe("hello");
    label({ [FEDERATED_LABEL]: "member" });
    await eventually(async () => (await callIn(pod).echo("hello")) === "hello");
    label({});
    await eventually(async () => (await callIn(pod).echo("hello")) === "closed");
    label({ [FEDERATED_LABEL]: "member" });
    await eventually(async () => (await callIn(pod).echo("hello")) === "hello");
    label({ [FEDERATED_LABEL]: "member", [EXPORTED_LABEL]: "true" });
    label({ [EXPORTED_LABEL]: "true" });
    expect(await callIn(pod).echo("hello")).toBe("hello");
    api.objects.delete(SERVICES, service.metadata);
    await eventually(async () => (await callIn(pod).echo("hello")) === "closed");
  });

  test("serves on, and after a restart again, while the API server is away", async () => {
    api.objects.create(SERVICE_ACCOUNTS, remoteAccess("west"));
    api.objects.create(SERVICES, service);
    const pod = await start("ingress");
    await pod.ready();
    await api.unreachable();
    expect(await callIn(pod).echo("hello")).toBe("hello");
    await pod.haproxy.stop();
    await eventually(async () => (await pod.ask("/ready")).status === 503);
    const again = new HaproxyProcess(pod.options.haproxyDirectory);
    await eventually(async () => (await callIn(pod).echo("hello")) === "hello");
    await pod.ready();
    await again.stop();
    await api.listen();
  });

  test("puts a renewed certificate and a new trust bundle in force when the mounted files change", async () => {
    api.objects.create(SERVICE_ACCOUNTS, remoteAccess("west"));
    api.objects.create(SERVICES, service);
    const pod = await start("ingress");
    await pod.ready();
    const next = await makeAnchor("next");
    const reissued = await gatewayCertificate(await makeIssuer(next, "east"), "east");
    await mountTrust(pod.options, next.pem);
    await mountCertificate(pod.options, reissued);
    const expiry = Math.floor(Date.now() / 1000);
    await eventually(async () => (await callIn(pod).echo("hello")) === "refused: unknown ca");
    west = await gatewayCertificate(await makeIssuer(next, "west"), "west");
    expect(await callIn(pod).echo("hello")).toBe("hello");
    await eventually(async () => {
      const { text } = await pod.ask("/metrics");
      const seconds = /^isthmus_gateway_certificate_expiry_timestamp_seconds (\d+)/m.exec(text)?.[1];
      return Number(seconds) >= expiry + 23 * 3600;
    });
  });

  test("keeps the certificate in force when the mounted one is spoilt, and says so", async () => {
    api.objects.create(SERVICE_ACCOUNTS, remoteAccess("west"));
    api.objects.create(SERVICES, service);
    const pod = await start("ingress");
    await pod.ready();
    await mountCertificate(pod.options, { ...west, certificatePem: "spoilt" });
    const state = await eventually(async () => {
      const { gateway } = JSON.parse((await pod.ask("/state")).text) as { gateway: { problems: string[] } };
      return gateway.problems[0] !== undefined && gateway.problems;
    });
    expect(state[0]).toMatch(/tls\.crt cannot be read: /);
    expect(await callIn(pod).echo("hello")).toBe("hello");
  });

  test("counts what it carries, for each caller", async () => {
    api.objects.create(SERVICE_ACCOUNTS, remoteAccess("west"));
    api.objects.create(SERVICES, service);
    const pod = await start("ingress");
    await pod.ready();
    expect(await callIn(pod).echo("hello")).toBe("hello");
    calls.at(-1)!.close();
    await eventually(async () => {
      const { text } = await pod.ask("/metrics");
      return (
        text.includes('isthmus_gateway_connections_total{direction="ingress",peer="west"} 1') &&
        text.includes('isthmus_gateway_bytes_total{direction="ingress",peer="west",to="callee"} 5')
      );
    });
  });

  test("carries calls of mirrors, whose links come and go", async () => {
    api.objects.create(SERVICE_ACCOUNTS, remoteAccess("west"));
    api.objects.create(SERVICES, service);
    const ingress = await start("ingress");
    const egress = await start("egress");
    await Promise.all([ingress.ready(), egress.ready()]);
    const port = egress.options.egressPorts.first;
    api.objects.create(LINKS, linkTo("east", ingress.options.port));
    await eventually(async () =>
      (await egress.ask("/metrics")).text.includes(
        `isthmus_gateway_target_up{peer="isthmus.east",gateway="127.0.0.1:${ingress.options.port}"} 1`,
      ),
    );
    api.objects.create(SERVICES, mirrorOf(service, "east", port));
    await eventually(async () => (await open(callPlain(port)).echo("hello")) === "hello");
    api.objects.delete(LINKS, linkTo("east", 1).metadata);
    await eventually(async () => (await open(callPlain(port)).echo("hello")) === "closed");
    expect(await egress.problems()).toEqual([
      "mirror default/echo-east cannot be called: its link is not there",
    ]);
  });

  test("follows the gateways that the status of a Link gives", async () => {
    api.objects.create(SERVICE_ACCOUNTS, remoteAccess("west"));
    api.objects.create(SERVICES, service);
    const ingress = await start("ingress");
    const egress = await start("egress");
    await Promise.all([ingress.ready(), egress.ready()]);
    const port = egress.options.egressPorts.first;
    const link = linkTo("east", 1);
    api.objects.create(LINKS, link);
    api.objects.create(SERVICES, throughGateway(mirrorOf(service, "east", port), "gateways/eu"));
    await eventually(async () => (await egress.problems()).some((text) => text.includes('"gateways/eu"')));
    const tell = (...gateways: LinkGatewayStatus[]) =>
      api.objects.modify(LINKS, link.metadata, (object) => linkWith(object, ...gateways), "status");
    const found = (alive: boolean) => ({
      namespace: "gateways",
      name: "eu",
      addresses: [{ address: "127.0.0.1", alive }],
      port: ingress.options.port,
      identity: identityOf("east"),
    });
    tell(found(true));
    await eventually(async () => (await open(callPlain(port)).echo("hello")) === "hello");
    expect(await egress.problems()).toEqual([]);
    const before = await egress.reloads();
    tell(found(false));
    api.objects.create(SERVICES, mirrorOf(exportedService({ name: "last", port: 1 }), "east", port + 1));
    await eventually(async () => (await egress.ask("/metrics")).text.includes("isthmus_gateway_routes 2"));
    expect(await egress.reloads()).toBe(before);
    // As long as a service may choose it again soon, it stays as it is.
    for (const gateways of [[], [found(true)], [], [found(true)]]) {
      tell(...gateways);
      for (let call = 0; call < 20; call++) expect(await open(callPlain(port)).echo("hello")).toBe("hello");
    }
    expect(await egress.problems()).toEqual([]);
    expect(await egress.reloads()).toBe(before);
  });

  test("holds an ending egress pod until no slice names it and its calls have ended", async () => {
    api.objects.create(SERVICE_ACCOUNTS, remoteAccess("west"));
    api.objects.create(SERVICES, service);
    api.objects.create(ENDPOINT_SLICES, slice);
    const ingress = await start("ingress");
    const egress = await start("egress");
    const port = egress.options.egressPorts.first;
    api.objects.create(LINKS, linkTo("east", ingress.options.port));
    api.objects.create(SERVICES, mirrorOf(service, "east", port));
    await egress.ready();
    await eventually(async () => (await open(callPlain(port)).echo("one")) === "one");
    const last = calls.pop()!;
    for (const call of calls.splice(0, calls.length, last)) call.close();

    let answered: string | undefined;
    const draining = egress.ask("/drain").then(({ text }) => {
      answered = text;
    });
    await eventually(() => api.requests.some(({ resource, watch }) => resource === ENDPOINT_SLICES && watch));
    expect(answered).toBeUndefined();
    api.objects.modify(ENDPOINT_SLICES, slice.metadata, (object) => ({ ...object, endpoints: [] }));
    expect(await last.echo("two")).toBe("two");
    expect(answered).toBeUndefined();
    last.close();
    await draining;
    expect(answered).toBe("no connection is open\n");
  });

  test("lets an ending pod go when the time to wait is over", async () => {
    api.objects.create(ENDPOINT_SLICES, slice);
    const pod = await start("egress", { drainTimeoutMs: 200 });
    await pod.ready();
    expect((await pod.ask("/drain")).text).toBe("calls may still come: the time to wait for that is over\n");
  });

  test("writes a first configuration only from a sound certificate", async () => {
    const options = await prepareGateway("ingress", {
      cluster: "west",
      certificate: west,
      trust: anchor.pem,
    });
    await mountCertificate(options, { ...west, privateKeyPem: "spoilt" });
    const init = () => runGateway({ ...options, init: true }, AbortSignal.abort());
    await expect(init()).rejects.toThrow(/tls\.key cannot be read/);
    expect(existsSync(gatewayFiles(options.haproxyDirectory).config)).toBe(false);
    await mountCertificate(options, west);
    await init();
    expect(existsSync(gatewayFiles(options.haproxyDirectory).config)).toBe(true);
    await rm(dirname(options.haproxyDirectory), { recursive: true });
  });
});
