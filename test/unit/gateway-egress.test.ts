import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { connect } from "node:net";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "@jest/globals";
import type { Link } from "../../contract/index.ts";
import { gatewayBackend } from "../../controller/gateway/egress-config.ts";
import { egressPicture } from "../../controller/gateway/egress-routes.ts";
import { configDigest } from "../../controller/gateway/haproxy/config.ts";
import { ReloadError } from "../../controller/gateway/haproxy/master.ts";
import { readMaterial } from "../../controller/gateway/material.ts";
import type { Picture } from "../../controller/gateway/picture.ts";
import { egressSettings } from "../../controller/gateway/settings.ts";
import type { CertificateAndKey } from "../../controller/identity/leaf.ts";
import { systemClock } from "../../controller/kube/clock.ts";
import type { Service } from "../../controller/kube/objects.ts";
import { callPlain, type OpenCall, startEcho } from "../support/calls.ts";
import { type Authority, makeAnchor, makeIssuer } from "../support/certificates.ts";
import { gatewayCertificate, TestGateway } from "../support/gateway.ts";
import {
  exportedService,
  federatedOf,
  headless,
  identityOf,
  linkTo,
  linkWith,
  mirrorOf,
  podMirrorOf,
  serverNameOf,
  sliceOf,
  throughGateway,
} from "../support/gateway-objects.ts";
import { haproxyMissing } from "../support/haproxy.ts";
import { eventually } from "../support/wait.ts";

if (haproxyMissing) process.stderr.write(`the tests of the egress are skipped: ${haproxyMissing}\n`);

/** Calls go from `west`, through its egress and the ingress of `east`, to an echo server. */
(haproxyMissing ? describe.skip : describe)("an egress", () => {
  let anchor: Authority;
  let certificates: { east: CertificateAndKey; west: CertificateAndKey; other: CertificateAndKey };
  let ingress: TestGateway;
  let egress: TestGateway;
  let echo: Awaited<ReturnType<typeof startEcho>>;
  let service: Service;
  /** Port of the egress that the mirror of `service` has. */
  let port: number;
  const calls: OpenCall[] = [];

  const call = (to = port) => {
    const opened = callPlain(to);
    calls.push(opened);
    return opened;
  };
  const usual = () =>
    egress.egress([mirrorOf(service, "east", port)], [linkTo("east", ingress.options.port)]);

  beforeAll(async () => {
    anchor = await makeAnchor();
    certificates = {
      east: await gatewayCertificate(await makeIssuer(anchor, "east"), "east"),
      west: await gatewayCertificate(await makeIssuer(anchor, "west"), "west"),
      other: await gatewayCertificate(await makeIssuer(anchor, "other"), "other"),
    };
    echo = await startEcho();
    service = exportedService({ port: echo.port });
    const trust = anchor.pem;
    ingress = await TestGateway.start("ingress", { cluster: "east", certificate: certificates.east, trust });
    egress = await TestGateway.start("egress", { cluster: "west", certificate: certificates.west, trust });
    port = egress.options.egressPorts.first;
    await ingress.ingress([service], ["west"]);
    await usual();
  });

  afterEach(async () => {
    for (const opened of calls.splice(0)) opened.close();
    for (const gateway of [ingress, egress]) await gateway.setTrust(anchor.pem);
    await ingress.setCertificate(certificates.east);
    await egress.setCertificate(certificates.west);
    await ingress.ingress([service], ["west"]);
    await usual();
  });

  afterAll(async () => {
    await egress?.stop();
    await ingress?.stop();
    await echo?.stop();
  });

  const serverStates = async (link: string) =>
    (await egress.runtime.stat())
      .filter(({ proxy, service: name }) => proxy === gatewayBackend(`isthmus.${link}`) && name !== "BACKEND")
      .map(({ status }) => status);

  test("carries a call to the exported service of the other cluster", async () => {
    expect(await call().echo("hello")).toBe("hello");
    calls.at(-1)!.close();
    expect(
      await eventually(() => ingress.haproxy.calls().find(({ bytesIn }) => bytesIn === 5)),
    ).toMatchObject({
      source: "west",
      identity: identityOf("west"),
      sni: serverNameOf(service, "east"),
    });
  });

  test("carries 16 MB there and back, and the end of one direction before the other's", async () => {
    const sent = randomBytes(16 * 1024 * 1024);
    const socket = connect({ host: "127.0.0.1", port, allowHalfOpen: true });
    const received: Buffer[] = [];
    socket.on("data", (chunk) => received.push(chunk));
    const ended = new Promise((resolve, reject) => socket.on("end", resolve).on("error", reject));
    socket.end(sent);
    await ended;
    expect(Buffer.concat(received).equals(sent)).toBe(true);
  });

  test("carries many calls at a time", async () => {
    const texts = Array.from({ length: 100 }, (_, index) => `call ${index}`);
    expect(await Promise.all(texts.map((text) => call().echo(text)))).toEqual(texts);
  });

  test("holds a call to a port that it does not know yet until the mirror is there", async () => {
    const second = exportedService({ name: "second", port: echo.port });
    await ingress.ingress([service, second], ["west"]);
    const links = [linkTo("east", ingress.options.port)];
    // On a machine that is busy enough the second may be over before the mirror is there: then once more.
    await eventually(async () => {
      await egress.egress([], links);
      const early = call(port + 1);
      await early.connected;
      await egress.egress([mirrorOf(second, "east", port + 1)], links);
      return (await early.echo("early")) === "early";
    });
  });

  test("closes a call to a port that stays unknown", async () => {
    expect(await call(port + 2).echo("hello")).toBe("closed");
  });

  test("adds and removes mirrors without a reload, and leaves open calls open", async () => {
    const before = await egress.master.processes();
    const open = call();
    expect(await open.echo("one")).toBe("one");
    const link = linkTo("east", ingress.options.port);
    expect(await egress.egress([], [link])).toMatchObject({ reloaded: false, changes: 1 });
    expect(await call().echo("hello")).toBe("closed");
    expect(await usual()).toMatchObject({ reloaded: false, changes: 1 });
    expect(await call().echo("hello")).toBe("hello");
    expect(await open.echo("two")).toBe("two");
    expect(await egress.master.processes()).toEqual(before);
  });

  test("loses no call when a link comes, changes and goes", async () => {
    let stop = false;
    const outcomes: string[] = [];
    const caller = async () => {
      while (!stop) outcomes.push(await call().echo("hello"));
    };
    const callers = [caller(), caller()];
    const mirror = mirrorOf(service, "east", port);
    const east = linkTo("east", ingress.options.port);
    for (const links of [
      [east, linkTo("south", 4143)],
      [east, linkTo("south", 4144)],
      [linkTo("east", ingress.options.port, ["127.0.0.1", "127.0.0.2"])],
      [east],
    ]) {
      expect(await egress.egress([mirror], links)).toMatchObject({ reloaded: true });
      const soFar = outcomes.length;
      await eventually(() => outcomes.length > soFar + 4);
    }
    stop = true;
    await Promise.all(callers);
    expect(outcomes.filter((outcome) => outcome !== "hello")).toEqual([]);
  });

  test("follows a link to another port of the gateway", async () => {
    const mirrors = [mirrorOf(service, "east", port)];
    await egress.egress(mirrors, [linkTo("east", 1)]);
    await eventually(async () => (await serverStates("east")).every((status) => status.startsWith("DOWN")));
    expect(await call().echo("hello")).toBe("closed");
    await egress.egress(mirrors, [linkTo("east", ingress.options.port)]);
    expect(await call().echo("hello")).toBe("hello");
  });

  test("tries another address of the gateway when one is dead", async () => {
    // The ingress listens on IPv4 alone.
    const link = linkTo("east", ingress.options.port, ["127.0.0.1", "::1"]);
    expect(await egress.egress([mirrorOf(service, "east", port)], [link])).toMatchObject({ reloaded: true });
    const texts = ["a", "b", "c", "d"];
    expect(await Promise.all(texts.map((text) => call().echo(text)))).toEqual(texts);
    await eventually(async () => (await serverStates("east")).some((status) => status.startsWith("DOWN")));
    expect(await Promise.all(texts.map((text) => call().echo(text)))).toEqual(texts);
  });

  test("does not carry a call to a gateway that proves another identity", async () => {
    const { certificatePem, privateKeyPem } = certificates.other;
    await ingress.runtime.syncCertificate(ingress.files.certificate, certificatePem + privateKeyPem);
    expect(await call().echo("hello")).toBe("closed");
  });

  test("refuses a gateway from under another trust anchor", async () => {
    const stranger = await makeAnchor("stranger");
    await egress.setTrust(stranger.pem);
    expect(await usual()).toMatchObject({ trust: "narrowed" });
    expect(await call().echo("hello")).toBe("closed");
    await eventually(async () => (await serverStates("east")).every((status) => status.startsWith("DOWN")));
  });

  test("notices by its health checks that it is no longer let in, and that it is again", async () => {
    await eventually(async () => (await serverStates("east")).every((status) => status === "UP"));
    await ingress.ingress([service], []);
    await eventually(async () => (await serverStates("east")).every((status) => status.startsWith("DOWN")));
    await ingress.ingress([service], ["west"]);
    await eventually(async () => (await serverStates("east")).every((status) => status === "UP"));
    expect(await call().echo("hello")).toBe("hello");
  });

  test("finds out soon that a dead gateway lives, however seldom it looks at those that do", async () => {
    const link = linkTo("east", ingress.options.port);
    link.spec.probe = { period: "1h", failureThreshold: 1 };
    await ingress.ingress([service], []);
    await egress.egress([mirrorOf(service, "east", port)], [link]);
    await eventually(async () => (await serverStates("east")).every((status) => status.startsWith("DOWN")));
    await ingress.ingress([service], ["west"]);
    await eventually(async () => (await serverStates("east")).every((status) => status === "UP"));
    expect(await call().echo("hello")).toBe("hello");
  });

  test("calls the pod that a mirror of one pod of a headless service is for", async () => {
    const db = headless(exportedService({ name: "db", port: 5432 }));
    const slice = sliceOf(db, echo.port, { endpoints: [{ addresses: ["127.0.0.1"], hostname: "db-0" }] });
    await ingress.ingress([service, db], ["west"], [slice]);
    const mirrors = [podMirrorOf(db, "db-0", "east", port), podMirrorOf(db, "db-1", "east", port + 1)];
    await egress.egress(mirrors, [linkTo("east", ingress.options.port)]);
    expect(await call().echo("zero")).toBe("zero");
    expect(await call(port + 1).echo("one")).toBe("closed");
  });

  test("calls each member of a federated service, and the others when one's gateway is gone", async () => {
    const links = [linkTo("east", ingress.options.port), linkTo("south", 1)];
    const federated = federatedOf(service, { east: port, south: port + 1 });
    expect(await egress.egress([federated], links)).toMatchObject({ reloaded: true, changes: 1 });
    expect(await call().echo("east")).toBe("east");
    expect(await call(port + 1).echo("south")).toBe("closed");
    expect(await call().echo("east")).toBe("east");
  });

  test("calls by way of the gateway that a service chooses, under its identity", async () => {
    const trust = anchor.pem;
    const chosen = { namespace: "n".repeat(63), name: "g".repeat(63) };
    const name = `${chosen.namespace}/${chosen.name}`;
    // A gateway of the same target with a certificate and an address of its own.
    const second = await TestGateway.start("ingress", {
      cluster: "other",
      certificate: certificates.other,
      trust,
    });
    try {
      await second.ingress([service], ["west"]);
      const own = { addresses: [{ address: "127.0.0.1", alive: false }], port: ingress.options.port };
      const at = { ...own, ...chosen, port: second.options.port, identity: identityOf("other") };
      const mirror = throughGateway(mirrorOf(service, "east", port), name);
      // The Link itself says another port: what was found goes before it.
      const link = linkWith(linkTo("east", 1), own, at);
      const plain = mirrorOf(exportedService({ name: "plain", port: echo.port }), "east", port + 1);
      await ingress.ingress([exportedService({ name: "plain", port: echo.port })], ["west"]);
      expect(await egress.egress([mirror, plain], [link])).toMatchObject({ reloaded: true, changes: 1 });
      expect(await call().echo("chosen")).toBe("chosen");
      expect(await call(port + 1).echo("own")).toBe("own");
      calls[0]!.close();
      expect(
        await eventually(() =>
          egress.haproxy
            .calls()
            .find(({ link }) => link === `isthmus.east:${chosen.namespace}.${chosen.name}`),
        ),
      ).toMatchObject({
        sni: serverNameOf(service, "other"),
        to: `127.0.0.1:${second.options.port}`,
      });
      expect(await egress.egress([mirror, plain], [linkWith(linkTo("east", 1), own)])).toMatchObject({
        reloaded: true,
        changes: 1,
      });
      expect(await call().echo("chosen")).toBe("closed");
      expect(await call(port + 1).echo("own")).toBe("own");
    } finally {
      await second.stop();
    }
  });

  test("takes a configuration with whatever addresses a target can give to its gateways", async () => {
    const addresses = [
      "gateway.example.com",
      "1.2.3",
      "999.1.1.1",
      "::ffff:10.0.0.1",
      "2001:db8::1",
      "0.0.0.0",
    ];
    const link = linkWith(linkTo("south", 1), {
      addresses: [
        ...addresses,
        `${"a".repeat(63)}.${"b".repeat(63)}.${"c".repeat(63)}.${"d".repeat(61)}`,
      ].map((address) => ({ address, alive: true })),
      port: 65_535,
    });
    const applied = await egress.egress([], [linkTo("east", ingress.options.port), link]);
    expect(applied.refused).toBeUndefined();
    expect(applied.reloaded).toBe(true);
  });

  test("uses a renewed certificate without a reload", async () => {
    const open = call();
    await open.echo("one");
    await egress.setCertificate(await gatewayCertificate(await makeIssuer(anchor, "west"), "west"));
    expect(await usual()).toMatchObject({ reloaded: false, certificateReplaced: true });
    expect(await open.echo("two")).toBe("two");
    expect(await call().echo("hello")).toBe("hello");
  });

  test("serves on as before when a configuration is refused, and finds the good one after a restart", async () => {
    const good = await egress.runtime.digest();
    const broken: Picture = {
      config: "global\n  description 0123456789abcdef\n  no such keyword\n",
      maps: [],
      problems: [],
    };
    const { refused, reloaded } = await egress.apply(broken);
    expect(reloaded).toBe(false);
    expect(refused?.message).toBe(
      "HAProxy refused the new configuration and serves on with the one before; its container's log says why",
    );
    expect(await call().echo("hello")).toBe("hello");
    await egress.master.reload();
    expect(await egress.runtime.digest()).toBe(good);
    expect(await call().echo("hello")).toBe("hello");
  });

  test("keeps the way to a service until there is a worker that has the new one, and to no other service", async () => {
    const gateway = { namespace: "gateways", name: "second", port: 1, identity: identityOf("east") };
    const link = linkWith(linkTo("east", ingress.options.port), {
      ...gateway,
      addresses: [{ address: "127.0.0.1", alive: true }],
    });
    const without = (mirrored: Service): Picture => ({
      ...egressPicture({
        settings: egressSettings(egress.options),
        services: [throughGateway(mirrorOf(mirrored, "east", port), "gateways/second")],
        links: [link],
      }),
      config: "global\n  description 0123456789abcdef\n  no such keyword\n",
    });
    expect((await egress.apply(without(service))).refused).toBeDefined();
    expect(await call().echo("hello")).toBe("hello");
    for (let again = 0; again < 2; again++) {
      await egress.master.reload();
      await egress.apply(without(service));
      expect(await call().echo("hello")).toBe("hello");
    }
    await egress.apply(without(exportedService({ name: "other", port: echo.port })));
    expect(await call().echo("hello")).toBe("closed");
  });

  test("waits for a worker that is late, starts no other meanwhile, and leaves its configuration on disk", async () => {
    let reloads = 0;
    let refusal: ReloadError | undefined;
    const applier = egress.applier({
      master: Object.assign(Object.create(egress.master), {
        // The master has taken the configuration, and the worker is still to come.
        reload: async () => {
          reloads++;
          if (refusal !== undefined) throw refusal;
        },
      }),
      clock: { ...systemClock, monotonic: () => performance.now() * 20 },
    });
    const material = await readMaterial(egress.options);
    const late = egressPicture({
      settings: egressSettings(egress.options),
      services: [mirrorOf(service, "east", port)],
      links: [linkTo("east", ingress.options.port), linkTo("south", 1)],
    });
    const onDisk = () => readFile(egress.files.config, "utf8");
    const inForce = { ...late, config: await onDisk() };
    const apply = async (picture: Picture) => {
      const { refused, inForce, reloaded } = await applier.apply(picture, material, true);
      expect({ inForce, reloaded }).toEqual({ inForce: true, reloaded: false });
      return refused?.message;
    };
    expect(await apply(inForce)).toBeUndefined();
    for (let round = 0; round < 3; round++)
      expect(await apply(late)).toBe("HAProxy's new worker did not answer within 10000 ms");
    expect(reloads).toBe(1);
    expect(await onDisk()).toBe(late.config);

    refusal = new ReloadError("no such keyword");
    const broken = { ...late, config: "global\n  description 0123456789abcdef\n  no such keyword\n" };
    expect(await apply(broken)).toBe("no such keyword");
    expect(await onDisk()).toBe(late.config);
    expect(await apply(inForce)).toBeUndefined();
    expect(await onDisk()).toBe(inForce.config);
    expect(await call().echo("hello")).toBe("hello");

    refusal = undefined;
    expect(await apply(late)).toBe("HAProxy's new worker did not answer within 10000 ms");
    await egress.master.reload();
    await eventually(async () => (await egress.runtime.digest()) === configDigest(late.config));
    expect(await apply(late)).toBeUndefined();
    expect(await call().echo("hello")).toBe("hello");
    expect(reloads).toBe(3);
  });

  test("keeps the way to a service until HAProxy is told of the gateway that it chooses, over a reload too", async () => {
    const second = { namespace: "gateways", name: "second", port: 1, identity: identityOf("east") };
    const link = linkTo("east", ingress.options.port);
    const known = linkWith(link, { ...second, addresses: [{ address: "127.0.0.1", alive: true }] });
    const apply = (followed: Link[], ...others: Link[]) =>
      egress.apply(
        egressPicture({
          settings: egressSettings(egress.options),
          services: [throughGateway(mirrorOf(service, "east", port), "gateways/second")],
          links: [known, ...others],
          followed: [...followed, ...others],
        }),
      );
    expect(await apply([link])).toMatchObject({ reloaded: false, changes: 0 });
    expect(await call().echo("hello")).toBe("hello");
    expect(await apply([link], linkTo("south", 1))).toMatchObject({ reloaded: true });
    expect(await call().echo("hello")).toBe("hello");
    expect(await apply([link], linkTo("south", 1))).toMatchObject({ reloaded: false, changes: 0 });
    expect(await call().echo("hello")).toBe("hello");
    expect(await apply([known])).toMatchObject({ reloaded: true });
    expect(await call().echo("hello")).toBe("closed");
  });

  test("writes a line for each call that says where it went", async () => {
    expect(await call().echo("hello")).toBe("hello");
    calls.at(-1)!.close();
    expect(await eventually(() => egress.haproxy.calls().find(({ bytesIn }) => bytesIn === 5))).toMatchObject(
      {
        gateway: "egress",
        link: "isthmus.east",
        sni: serverNameOf(service, "east"),
        route: `default/echo-east:${echo.port}`,
        port,
        to: `127.0.0.1:${ingress.options.port}`,
        bytesOut: 5,
      },
    );
  });
});
