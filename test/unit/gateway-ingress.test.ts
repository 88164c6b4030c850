import { afterAll, afterEach, beforeAll, describe, expect, test } from "@jest/globals";
import { routeServerName } from "../../contract/index.ts";
import type { CertificateAndKey } from "../../controller/identity/leaf.ts";
import type { Service } from "../../controller/kube/objects.ts";
import { callIngress, type OpenCall, startEcho } from "../support/calls.ts";
import { type Authority, makeAnchor, makeIssuer, makeLeaf } from "../support/certificates.ts";
import { gatewayCertificate, TestGateway } from "../support/gateway.ts";
import { exportedService, headless, identityOf, serverNameOf, sliceOf } from "../support/gateway-objects.ts";
import { haproxyMissing } from "../support/haproxy.ts";
import { eventually } from "../support/wait.ts";

if (haproxyMissing) process.stderr.write(`the tests of the ingress are skipped: ${haproxyMissing}\n`);

/** `east` is the ingress' own cluster; `west` and `north` call. */
(haproxyMissing ? describe.skip : describe)("an ingress", () => {
  let anchor: Authority;
  let west: Authority;
  let gateway: TestGateway;
  let certificates: { east: CertificateAndKey; west: CertificateAndKey; north: CertificateAndKey };
  let echo: Awaited<ReturnType<typeof startEcho>>;
  let service: Service;
  let serverName: string;
  const calls: OpenCall[] = [];

  const call = (name: string, certificate?: CertificateAndKey) => {
    const opened = callIngress(gateway.options.port, {
      serverName: name,
      ...(certificate && { certificate }),
    });
    calls.push(opened);
    return opened;
  };

  beforeAll(async () => {
    anchor = await makeAnchor();
    const [east, north] = [await makeIssuer(anchor, "east"), await makeIssuer(anchor, "north")];
    west = await makeIssuer(anchor, "west");
    certificates = {
      east: await gatewayCertificate(east, "east"),
      west: await gatewayCertificate(west, "west"),
      north: await gatewayCertificate(north, "north"),
    };
    echo = await startEcho();
    service = exportedService({ port: echo.port });
    serverName = serverNameOf(service, "east");
    gateway = await TestGateway.start("ingress", {
      cluster: "east",
      certificate: certificates.east,
      trust: anchor.pem,
    });
    await gateway.ingress([service], ["west", "north"]);
  });

  afterEach(async () => {
    for (const opened of calls.splice(0)) opened.close();
    await gateway.setTrust(anchor.pem);
    await gateway.setCertificate(certificates.east);
    await gateway.ingress([service], ["west", "north"]);
  });

  afterAll(async () => {
    await gateway?.stop();
    await echo?.stop();
  });

  test("carries a call of a source with access to the exported service", async () => {
    expect(await call(serverName, certificates.west).echo("hello")).toBe("hello");
  });

  test("refuses a client without a certificate", async () => {
    expect(await call(serverName).echo("hello")).toBe("refused: certificate required");
  });

  test("refuses a certificate from under another trust anchor", async () => {
    const stranger = await gatewayCertificate(await makeIssuer(await makeAnchor("stranger"), "west"), "west");
    expect(await call(serverName, stranger).echo("hello")).toBe("refused: unknown ca");
  });

  test("refuses an expired certificate", async () => {
    const expired = await makeLeaf(
      west,
      { commonName: "x", dns: [identityOf("west")] },
      { notBefore: new Date(Date.now() - 7200_000), notAfter: new Date(Date.now() - 3600_000) },
    );
    expect(await call(serverName, expired).echo("hello")).toBe("refused: certificate expired");
  });

  test("takes the caller for the issuer of its certificate, whatever names the leaf bears", async () => {
    const names = { commonName: identityOf("west"), dns: [identityOf("west")] };
    const forged = await makeLeaf(await makeIssuer(anchor, "mallory"), names);
    expect(await call(serverName, forged).echo("hello")).toBe("closed");
    expect(
      await eventually(() => gateway.haproxy.calls().find(({ source }) => source === "mallory")),
    ).toMatchObject({
      identity: identityOf("west"),
      end: "PR",
    });
  });

  test("does not let an issuer make another issuer", async () => {
    const authority = await makeIssuer(await makeIssuer(anchor, "mallory"), "west");
    const mallory = await makeIssuer(anchor, "mallory");
    const inner = await makeIssuer(mallory, "west");
    const leaf = await makeLeaf(
      inner,
      { commonName: "x", dns: [identityOf("west")] },
      { chain: [inner, mallory] },
    );
    expect(authority.certificate.issuer).toBe("CN=mallory");
    expect(await call(serverName, leaf).echo("hello")).toMatch(/^refused: /);
  });

  test("does not let an issuer call with its own certificate", async () => {
    const own = { certificatePem: west.pem, privateKeyPem: west.keyPem };
    expect(await call(serverName, own).echo("hello")).not.toBe("hello");
  });

  test("closes calls to a service that is not exported", async () => {
    await gateway.ingress([exportedService({ port: echo.port, exported: false })], ["west", "north"]);
    expect(await call(serverName, certificates.west).echo("hello")).toBe("closed");
  });

  test.each([
    ["an unknown name", "nothing-aaaa.gateway.east.demo.mesh"],
    ["the name of another gateway", "gateway.west.demo.mesh"],
    ["another source's entry", "*|x"],
  ])("closes calls to %s", async (_, name) => {
    expect(await call(name, certificates.west).echo("hello")).toBe("closed");
  });

  test("takes the server name in whatever case", async () => {
    expect(await call(serverName.toUpperCase(), certificates.west).echo("hello")).toBe("hello");
  });

  test("lets only the clusters call that an export is narrowed to", async () => {
    await gateway.ingress([exportedService({ port: echo.port, allowed: "north" })], ["west", "north"]);
    expect(await call(serverName, certificates.north).echo("hello")).toBe("hello");
    expect(await call(serverName, certificates.west).echo("hello")).toBe("closed");
    expect(await call(`north|${serverName}`, certificates.west).echo("hello")).toBe("closed");
  });

  test("narrows, widens and withdraws an export without a reload, and leaves open calls open", async () => {
    const before = await gateway.master.processes();
    const open = call(serverName, certificates.west);
    expect(await open.echo("one")).toBe("one");
    for (const services of [[exportedService({ port: echo.port, allowed: "north" })], [], [service]]) {
      expect(await gateway.ingress(services, ["west", "north"])).toMatchObject({ reloaded: false });
    }
    expect(await open.echo("two")).toBe("two");
    expect(await call(serverName, certificates.west).echo("hello")).toBe("hello");
    expect(await gateway.master.processes()).toEqual(before);
  });

  test("cuts the open connections of a source whose access is withdrawn, and no others", async () => {
    const [revoked, other] = [call(serverName, certificates.west), call(serverName, certificates.north)];
    expect(await revoked.echo("one")).toBe("one");
    expect(await other.echo("one")).toBe("one");
    await gateway.ingress([service], ["north"]);
    await eventually(() => revoked.isClosed);
    expect(await other.echo("two")).toBe("two");
    expect(await call(serverName, certificates.west).echo("hello")).toBe("closed");
  });

  test("cuts connections from before a reload too when access is withdrawn", async () => {
    const revoked = call(serverName, certificates.west);
    expect(await revoked.echo("one")).toBe("one");
    expect(await gateway.ingress([service], ["west", "north", "south"])).toMatchObject({ reloaded: true });
    expect(await revoked.echo("two")).toBe("two");
    await gateway.ingress([service], ["north"]);
    await eventually(() => revoked.isClosed);
  });

  test("loses no call when a new source makes it reload", async () => {
    let stop = false;
    const outcomes: string[] = [];
    const callers = [certificates.west, certificates.north].map(async (certificate) => {
      while (!stop) outcomes.push(await call(serverName, certificate).echo("hello"));
    });
    for (const sources of [
      ["west", "north", "a"],
      ["west", "north", "b"],
      ["west", "north"],
    ]) {
      expect(await gateway.ingress([service], sources)).toMatchObject({ reloaded: true });
      const soFar = outcomes.length;
      await eventually(() => outcomes.length > soFar + 4);
    }
    stop = true;
    await Promise.all(callers);
    expect(outcomes.filter((outcome) => outcome !== "hello")).toEqual([]);
  });

  test("leads to the host of a headless service that is named, and follows hosts without a reload", async () => {
    const db = headless(exportedService({ name: "db", port: 5432 }));
    const host = (name: string, address: string) => ({ addresses: [address], hostname: name });
    const door = (hostname: string) =>
      routeServerName({ namespace: "default", service: "db", port: 5432, hostname }, identityOf("east"));
    const other = await startEcho();
    try {
      const slices = [
        sliceOf(db, echo.port, { endpoints: [host("db-0", "127.0.0.1")] }),
        sliceOf(db, other.port, { endpoints: [host("db-1", "127.0.0.1")] }),
      ];
      await gateway.ingress([service, db], ["west", "north"], slices);
      expect(await call(door("db-0"), certificates.west).echo("zero")).toBe("zero");
      const open = call(door("db-1"), certificates.west);
      expect(await open.echo("one")).toBe("one");
      expect(await call(door("db-2"), certificates.west).echo("two")).toBe("closed");
      calls[0]!.close();
      const whole = routeServerName({ namespace: "default", service: "db", port: 5432 }, identityOf("east"));
      expect(await call(whole, certificates.west).echo("any")).toBe("closed");
      expect(
        await eventually(() => gateway.haproxy.calls().find(({ route }) => route === "default/db-0.db:5432")),
      ).toMatchObject({ to: `127.0.0.1:${echo.port}` });

      const before = await gateway.master.processes();
      expect(await gateway.ingress([service, db], ["west", "north"], slices.slice(0, 1))).toMatchObject({
        reloaded: false,
        changes: 1,
      });
      expect(await call(door("db-1"), certificates.west).echo("one")).toBe("closed");
      expect(await open.echo("still")).toBe("still");
      expect(await gateway.master.processes()).toEqual(before);
    } finally {
      await other.stop();
    }
  });

  test("serves a new certificate without a reload", async () => {
    const open = call(serverName, certificates.west);
    await open.echo("one");
    const renewed = await gatewayCertificate(await makeIssuer(anchor, "east"), "east");
    await gateway.setCertificate(renewed);
    expect(await gateway.ingress([service], ["west", "north"])).toMatchObject({
      reloaded: false,
      certificateReplaced: true,
    });
    expect(await open.echo("two")).toBe("two");
    expect(await call(serverName, certificates.west).echo("hello")).toBe("hello");
    expect(await gateway.ingress([service], ["west", "north"])).toMatchObject({ certificateReplaced: false });
  });

  test("trusts a second anchor without a reload, then drops the first", async () => {
    const second = await makeAnchor("second");
    const reissued = await gatewayCertificate(await makeIssuer(second, "west"), "west");
    const sources = ["west", "north"];
    await gateway.setTrust(anchor.pem + second.pem);
    expect(await gateway.ingress([service], sources)).toMatchObject({ reloaded: false, trust: "widened" });
    expect(await call(serverName, reissued).echo("hello")).toBe("hello");
    expect(await call(serverName, certificates.west).echo("hello")).toBe("hello");
    await gateway.setTrust(second.pem);
    expect(await gateway.ingress([service], sources)).toMatchObject({ trust: "narrowed" });
    expect(await call(serverName, reissued).echo("hello")).toBe("hello");
    expect(await call(serverName, certificates.west).echo("hello")).toBe("refused: unknown ca");
  });

  test("does not take up TLS sessions from before an anchor was dropped", async () => {
    const sessions: Buffer[] = [];
    const options = { serverName, certificate: certificates.west };
    const first = callIngress(gateway.options.port, { ...options, onSession: (each) => sessions.push(each) });
    calls.push(first);
    expect(await first.echo("hello")).toBe("hello");
    const session = await eventually(() => sessions.at(-1));
    const again = () => {
      calls.push(callIngress(gateway.options.port, { ...options, session }));
      return calls.at(-1)!.echo("hello");
    };
    expect(await again()).toBe("hello");
    await gateway.setTrust((await makeAnchor("second")).pem);
    await gateway.ingress([service], ["west", "north"]);
    expect(await again()).toBe("refused: unknown ca");
  });

  test("answers probes with 200 only while it serves", async () => {
    const probe = async (path: string) =>
      (await fetch(`http://127.0.0.1:${gateway.options.probePort}${path}`)).status;
    expect([await probe("/live"), await probe("/ready"), await probe("/metrics")]).toEqual([200, 200, 404]);
    await gateway.runtime.syncMap(gateway.files.status, new Map());
    expect([await probe("/live"), await probe("/ready")]).toEqual([200, 503]);
  });

  test("keeps what it was told over a restart of HAProxy's worker", async () => {
    await gateway.master.reload();
    expect(await call(serverName, certificates.west).echo("hello")).toBe("hello");
  });

  test("writes a line for each call that says who called what", async () => {
    expect(await call(serverName, certificates.north).echo("hello")).toBe("hello");
    calls.at(-1)!.close();
    expect(await eventually(() => gateway.haproxy.calls().find(({ source }) => source === "north"))).toEqual(
      expect.objectContaining({
        gateway: "ingress",
        source: "north",
        identity: identityOf("north"),
        tls: "TLSv1.3",
        sni: serverName,
        route: `default/echo:${echo.port}`,
        to: `127.0.0.1:${echo.port}`,
      }),
    );
  });
});
