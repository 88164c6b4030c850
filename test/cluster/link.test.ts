import { execFile } from "node:child_process";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { LINKS, SECRETS, SERVICES } from "../../controller/kube/resource.ts";
import { forAll } from "../../scripts/bench/bare-client.ts";
import { kubeconfigPath, kubectlPath } from "../../scripts/clusters/index.ts";
import { makeAnchor } from "../support/certificates.ts";
import { type RecordedCall, RecordingProxy } from "./recording-proxy.ts";
import { until } from "./until.ts";
import { Wire } from "./wire.ts";
import { World } from "./world.ts";

let world: World;
beforeEach(async () => {
  world = await World.create();
});
afterEach(() => world.destroy());

/** What `kubectl get links -o wide` says of the only Link, by the names of the columns. */
async function columns(): Promise<Record<string, string>> {
  const where = ["--kubeconfig", process.env.ISTHMUS_TEST_KUBECONFIG ?? (await kubeconfigPath())];
  const asked = [...where, "--context", "source", "get", "links", "-n", world.isthmus, "-o", "wide"];
  const { stdout } = await promisify(execFile)(await kubectlPath(), asked);
  const [head = "", row = ""] = stdout.split("\n");
  return Object.fromEntries(
    [...head.matchAll(/\S+\s*/g)].map(({ 0: name, index }) => [
      name.trim(),
      row.slice(index, name === "MESSAGE" ? undefined : index + name.length).trim(),
    ]),
  );
}

/** Export a service and wait for its mirror. */
async function mirrored(name: string): Promise<void> {
  await world.export(name);
  await until(() => world.slice(`${name}-remote`));
}

test("a Link in another namespace than Isthmus's is ignored", async () => {
  const { metadata, ...link } = world.makeLink({}, "stray");
  const stray = { namespace: world.namespace, name: metadata.name };
  await world.source.create(LINKS, { ...link, metadata: stray });
  // Credentials of its name are where those of Links are.
  await world.putCredentials(await world.kubeconfig(), "stray");
  await world.link();
  await world.start();
  await mirrored("web");
  await world.reason("Synced", "Synced");
  const { status, metadata: found } = await world.source.get(LINKS, stray);
  expect([status, found.finalizers]).toEqual([undefined, undefined]);
  expect((await world.names()).services).toEqual(["web-remote"]);
});

test("kubectl get links says what is to be mended first, and nothing where all is well", async () => {
  await world.start();
  await world.putCredentials(await world.kubeconfig({ token: "nonsense" }));
  await world.putLink();
  await world.reason("Connected", "Unauthorized");
  expect(await columns()).toMatchObject({
    TARGET: "remote",
    CONNECTED: "False",
    SYNCED: "Unknown",
    REASON: "Unauthorized",
    MESSAGE: expect.stringContaining("replace the Secret's kubeconfig"),
  });
  await world.putCredentials(await world.kubeconfig());
  await world.export("dns", {}, { ports: [{ name: "dns", port: 53, protocol: "UDP" }] });
  await world.reason("Synced", "ServicesFailed");
  expect(await columns()).toMatchObject({ CONNECTED: "True", FAILED: "1", REASON: "ServicesFailed" });
  await world.export("dns");
  await world.reason("Synced", "Synced");
  expect(await columns()).toMatchObject({
    SYNCED: "True",
    SERVICES: "1",
    FAILED: "0",
    REASON: "",
    MESSAGE: "",
  });
});

describe("a Link says why it has no connection", () => {
  beforeEach(async () => {
    await world.start();
  });

  test("when the Secret is missing, and connects once it is there", async () => {
    await world.putLink();
    expect(await world.reason("Connected", "CredentialsMissing")).toMatchObject({
      status: "False",
      message: expect.stringContaining(`${world.isthmus}/cluster-credentials-remote`),
    });
    await world.putCredentials(await world.kubeconfig());
    await world.reason("Connected", "Connected");
  });

  test("when the Secret is of another type", async () => {
    await world.source.create(SECRETS, {
      apiVersion: "v1",
      kind: "Secret",
      type: "Opaque",
      metadata: { namespace: world.isthmus, name: "cluster-credentials-remote" },
      data: {},
    });
    await world.putLink();
    await world.reason("Connected", "CredentialsMissing");
  });

  test.each([
    ["is no kubeconfig", "}{", "kubeconfig"],
    ["would run a program", exec(), "exec"],
  ])("when the Secret %s", async (_, kubeconfig, word) => {
    await world.putCredentials(kubeconfig);
    await world.putLink();
    const { message } = await world.reason("Connected", "CredentialsInvalid");
    expect(message).toContain(word);
  });

  test("when the token is not known", async () => {
    await world.putCredentials(await world.kubeconfig({ token: "nonsense" }));
    await world.putLink();
    expect(await world.reason("Connected", "Unauthorized")).toMatchObject({ status: "False" });
  });

  test("when the target is not the one that the credentials trust", async () => {
    const { pem } = await makeAnchor("stranger");
    await world.putCredentials(await world.kubeconfig({ ca: pem }));
    await world.putLink();
    const { message } = await world.reason("Connected", "TLSFailed");
    expect(message).toContain("not signed by a trusted authority");
  });

  test("when the credentials may not read Services, and connects once they may", async () => {
    await world.grant(false);
    await world.link();
    await world.reason("Connected", "Forbidden");
    await world.grant(true);
    await world.reason("Connected", "Connected");
  });

  test.each(["selector", "remoteDiscoverySelector", "federatedServiceSelector"] as const)(
    "when the target does not take its %s, and connects once that is corrected",
    async (field) => {
      await world.link({ [field]: { matchLabels: { "a..b/c": "d" } } });
      const { status, message } = await world.reason("Connected", "InvalidSpec");
      expect(status).toBe("False");
      expect(message).toContain(`exception to spec.${field}: `);
      await world.putLink();
      await world.reason("Connected", "Connected");
    },
  );

  test("when an older Link has the same target: that one mirrors, until it goes", async () => {
    await world.link({}, "remote");
    await mirrored("web");
    await world.putLink(
      { clusterCredentialsSecret: "cluster-credentials-remote", targetClusterName: "remote" },
      "twin",
    );
    const { message } = await world.reason("Connected", "DuplicateTarget", "twin");
    expect(message).toContain("Link remote is older");
    expect((await world.mirror("web-remote")).metadata.labels).toMatchObject({
      "isthmus.dev/link": `${world.isthmus}.remote`,
    });
    await world.source.delete(LINKS, { namespace: world.isthmus, name: "remote" });
    await until(async () =>
      expect((await world.mirror("web-remote")).metadata.labels).toMatchObject({
        "isthmus.dev/link": `${world.isthmus}.twin`,
      }),
    );
    await until(() => world.slice("web-remote"));
    await world.reason("Synced", "Synced", "twin");
  });

  test("when it takes over from an older one, keeping each mirror as it is, even if its target cannot be asked", async () => {
    await world.putEgressPod("10.1.0.9");
    await world.link();
    const controller = await world.start();
    await world.export("web");
    const before = await until(() => world.mirror("web-remote"));
    await until(() => world.slice("web-remote"));
    await world.putCredentials(await world.kubeconfig({ token: "wrong" }), "younger");
    await world.putLink(
      { targetClusterName: "remote", clusterCredentialsSecret: "cluster-credentials-younger" },
      "younger",
    );
    await world.reason("Connected", "DuplicateTarget", "younger");
    await world.deleteLink();
    await until(async () => await expect(world.getLink()).rejects.toMatchObject({ status: 404 }));
    const mirror = await world.mirror("web-remote");
    expect(mirror.metadata.uid).toBe(before.metadata.uid);
    expect(mirror.metadata.labels).toMatchObject({ "isthmus.dev/link": `${world.isthmus}.younger` });
    expect((await world.slice("web-remote")).metadata.labels).toMatchObject({
      "isthmus.dev/link": `${world.isthmus}.younger`,
    });
    expect(controller.writes.filter((write) => /^DELETE .*(services|endpointslices)\//.test(write))).toEqual(
      [],
    );
    await world.putCredentials(await world.kubeconfig(), "younger");
    await world.reason("Synced", "Synced", "younger");
  });

  test("by an Event when it breaks and one when it is well again", async () => {
    await world.link();
    await world.reason("Connected", "Connected");
    await world.wire.cut();
    await world.reason("Connected", "Unreachable");
    await world.wire.restore();
    await world.reason("Connected", "Connected");
    await until(async () => {
      const events = (await world.events()).map(({ type, reason }) => `${type} ${reason}`);
      expect(events).toEqual(expect.arrayContaining(["Normal Connected", "Warning Unreachable"]));
    });
  });
});

test("a Link without a gateway says so, and mirrors without endpoints, until it has one", async () => {
  await world.putEgressPod("10.1.0.9");
  await world.link({ gatewayAddresses: [] });
  await world.start();
  await mirrored("web");
  const { status, message } = await world.reason("GatewayAlive", "NoGateway");
  expect(status).toBe("Unknown");
  expect(message).toContain("names no gateway");
  expect((await world.slice("web-remote")).endpoints ?? []).toEqual([]);
  await world.putLink();
  await world.reason("GatewayAlive", "GatewayNotProbed");
  await until(async () => expect((await world.slice("web-remote")).endpoints).toHaveLength(1));
});

describe("credentials", () => {
  let other: Wire | undefined;
  afterEach(() => other?.cut());

  test("that are replaced are in use without a restart and without a write to a mirror", async () => {
    await world.link();
    const controller = await world.start();
    await mirrored("web");
    await world.reason("Synced", "Synced");
    const before = await world.fingerprint();
    // The old ones lead nowhere any more: what is mirrored from now on comes by the new ones.
    await world.wire.cut();
    await world.reason("Connected", "Unreachable");
    const { length } = controller.writes;
    other = new Wire(world.target.server);
    await other.restore();
    await world.putCredentials(await world.kubeconfig({ server: other.url }));
    await mirrored("more");
    await world.reason("Connected", "Connected");
    expect(controller.writes.slice(length).filter((write) => write.includes("web-remote"))).toEqual([]);
    const after = await world.fingerprint();
    for (const object of ["Service web-remote", "EndpointSlice web-remote-isthmus"]) {
      expect(after[object]).toBe(before[object]);
    }
  });

  test("for the same server are in use without a list of anything", async () => {
    const [{ user }] = JSON.parse(await world.kubeconfig()).users;
    const record: RecordedCall[] = [];
    const proxy = await RecordingProxy.open("target", record, world.credentialsOf("target", user.token));
    try {
      const lists = () => record.filter(({ path }) => !/[?&](watch=|limit=1(&|$))/.test(path));
      const questions = () => record.filter(({ path }) => /[?&]limit=1(&|$)/.test(path));
      await world.putCredentials(proxy.kubeconfig());
      await world.putLink();
      await world.start();
      await mirrored("web");
      await world.reason("Synced", "Synced");
      expect(lists()).not.toEqual([]);
      const [asked, listed] = [questions().length, lists().length];
      await world.putCredentials(proxy.kubeconfig().replace("of-no-importance", "another"));
      // Whether they are good is asked at once.
      await until(async () => expect(questions().length).toBeGreaterThan(asked));
      await mirrored("more");
      expect(lists().slice(listed)).toEqual([]);
    } finally {
      await proxy.close();
    }
  });

  test("that are taken away end the connection and leave the mirrors", async () => {
    await world.link();
    await world.start();
    await mirrored("web");
    await world.source.delete(SECRETS, { namespace: world.isthmus, name: "cluster-credentials-remote" });
    await world.reason("Connected", "CredentialsMissing");
    await world.target.delete(SERVICES, { namespace: world.namespace, name: "web" });
    expect((await world.names()).services).toEqual(["web-remote"]);
    await world.putCredentials(await world.kubeconfig());
    await until(async () => expect((await world.names()).services).toEqual([]));
  });

  test("for another cluster bring that cluster's services, and take the former's away only then", async () => {
    await world.link();
    await world.start();
    await mirrored("web");
    await world.putCredentials(await world.kubeconfigOfSource());
    await until(async () => expect((await world.names()).services).toEqual([]));
    await world.putCredentials(await world.kubeconfig());
    await until(() => world.slice("web-remote"));
  });
});

describe("law 7: one bad Link never slows another", () => {
  const sockets: Socket[] = [];
  const silent = createServer((socket) => {
    sockets.push(socket.on("error", () => socket.destroy()));
  });
  beforeEach(() => new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve)));
  afterEach(() => {
    for (const socket of sockets) socket.destroy();
    return new Promise((resolve) => silent.close(resolve));
  });

  test("a target that takes connections and says nothing does not keep the others' services waiting", async () => {
    const { port } = silent.address() as AddressInfo;
    for (let i = 0; i < 20; i++) {
      await world.putCredentials(
        await world.kubeconfig({ server: `https://127.0.0.1:${port}` }),
        `silent-${i}`,
      );
      await world.putLink({}, `silent-${i}`);
    }
    await world.start();
    // They are asked first: what one could take from all would be taken by now.
    await until(async () => expect(sockets.length).toBeGreaterThan(0));
    await until(async () =>
      expect(await world.condition("Connected", "silent-0")).toMatchObject({
        status: expect.stringMatching(/Unknown|False/),
      }),
    );
    await world.link();
    await mirrored("web");
    await world.reason("Synced", "Synced");
    expect(await world.condition("Connected", "silent-0")).not.toMatchObject({ status: "True" });
  });

  test("a target with many services lets those of others be mirrored between its own", async () => {
    const many = Array.from({ length: 200 }, (_, i) => `many-${i}`);
    const labels = { many: "true" };
    await world.link({ selector: { matchLabels: { ...labels, ...world.mark } } }, "many");
    await world.link();
    await forAll(many, 16, (name) => world.export(name, { labels }));
    await world.start({ workers: 1 });
    await until(async () => expect((await world.names()).services.length).toBeGreaterThan(0));
    await mirrored("web");
    await world.reason("Synced", "Synced", "many");
    const { items } = await world.source.list(SERVICES, { namespace: world.namespace });
    const order = items
      .sort((a, b) => Number(a.metadata.resourceVersion) - Number(b.metadata.resourceVersion))
      .map(({ metadata }) => metadata.name);
    expect(order).toHaveLength(201);
    expect(order.at(-1)).not.toBe("web-remote");
  });
});

describe("of two controllers", () => {
  test("one writes, and the other takes over when it stops", async () => {
    await world.link();
    const first = await world.start();
    await mirrored("web");
    const second = await world.start();
    await until(async () => expect(second.logs.join("\n")).toContain("listed"));
    await mirrored("api");
    expect(second.writes).toEqual([]);
    await first.stop();
    await mirrored("more");
    expect(second.writes.length).toBeGreaterThan(0);
    expect(second.writes.filter((write) => write.includes("web-remote"))).toEqual([]);
  });
});

function exec(): string {
  return JSON.stringify({
    apiVersion: "v1",
    kind: "Config",
    "current-context": "c",
    contexts: [{ name: "c", context: { cluster: "c", user: "u" } }],
    clusters: [{ name: "c", cluster: { server: "https://192.0.2.1" } }],
    users: [
      { name: "u", user: { exec: { apiVersion: "client.authentication.k8s.io/v1", command: "/bin/sh" } } },
    ],
  });
}
