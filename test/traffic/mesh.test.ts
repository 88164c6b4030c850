import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "node:tls";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import {
  GATEWAY_CERTIFICATE_SECRET,
  gatewayIdentity,
  routeServerName,
  TRUST_BUNDLE_CONFIG_MAP,
  TRUST_BUNDLE_KEY,
} from "../../contract/index.ts";
import { startApiServer, stopApiServer } from "../../scripts/clusters/index.ts";
import { TestMesh, until, workload } from "../support/mesh.ts";

/** The whole way, as a user goes it: a mesh from `mesh.yaml`, exports, calls across, and nothing left in the end. */
describe("a mesh of east and west", () => {
  let folder: string;
  let mesh: TestMesh;
  let before: Map<string, string[]>;
  const westIdentity = gatewayIdentity("west", "test.mesh");
  const mirrors = ["payments-west", "orders-west"];
  const exports = ["payments", "orders"].map((service) => ({
    cluster: "west",
    namespace: "default",
    service,
  }));

  /** Straight to west's gateway, as the egress of east does it, with or without its certificate. */
  async function callWest(service: string, credentials: { cert?: string; key?: string }): Promise<string> {
    const { address, port } = await gatewayOf(mesh, "west");
    const servername = routeServerName({ namespace: "default", service, port: 8888 }, westIdentity);
    const ca = await trustBundle(mesh, "east");
    return httpOverTls({ host: address, port, servername, ca, ...credentials });
  }

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "isthmus-mesh-"));
    mesh = await TestMesh.at(folder);
    before = new Map(
      await Promise.all(["east", "west"].map(async (c) => [c, await everything(mesh, c)] as const)),
    );
    await mesh.apply("west", ...workload("payments", "west-payments"), ...workload("orders", "west-orders"));
    await mesh.apply("west", ...workload("internal", "west-internal"));
    await mesh.apply("east", ...workload("caller", "east-caller", "caller"));
    await mesh.declare({ exports });
  }, 120_000);

  afterAll(async () => {
    await startApiServer("west");
    await mesh.isthmus("destroy", "--yes");
    await rm(folder, { recursive: true, force: true });
  }, 300_000);

  test("comes up from mesh.yaml in one command", async () => {
    const up = await mesh.isthmus("up", "--yes");
    expect(`${up.stdout}${up.stderr}`).toContain("test-links-east");
    expect(up.exitCode).toBe(0);
  }, 400_000);

  test("has nothing more to do afterwards", async () => {
    const preview = await mesh.isthmus("preview", "--expect-no-changes");
    expect(preview.exitCode === 0 ? "no change" : preview.stdout + preview.stderr).toBe("no change");
  }, 120_000);

  test("answers a call to a mirror with the pod of the other cluster", async () => {
    await mesh.kubectl("east", "rollout", "status", "deployment/caller", "--timeout=120s");
    for (const [mirror, payload] of [
      ["payments-west", "west-payments"],
      ["orders-west", "west-orders"],
    ]) {
      const answer = await until(() => mesh.curl("east", `http://${mirror}:8888`), `an answer of ${mirror}`);
      expect(JSON.parse(answer).payload).toBe(payload);
    }
  }, 180_000);

  test("crosses by mutual TLS: west's gateway saw east's certificate", async () => {
    await mesh.curl("east", "http://payments-west:8888");
    const call = await until(async () => {
      const log = await mesh.ingressLog("west");
      return log.find(
        (entry) => entry.route === "default/payments:8888" || entry.sni?.startsWith("payments-8888-"),
      );
    }, "the call in the log of west's gateway");
    expect(call).toMatchObject({ source: "east", tls: "TLSv1.3" });
    expect(String(call.identity)).toContain("gateway.east");
  }, 60_000);

  test("lets no one in without a certificate, and with one only to what is exported", async () => {
    const certificate = await certificateOf(mesh, "east");
    expect(await callWest("payments", certificate)).toContain("west-payments");
    expect(await callWest("internal", certificate)).not.toContain("HTTP/");
    expect(await callWest("payments", {})).not.toContain("HTTP/");
  }, 60_000);

  test("reaches the other cluster by its gateway only: pod addresses overlap, and lead nowhere", async () => {
    const [pod] = (await mesh.get<{ items: Pod[] }>("west", "pods", "-l", "app=payments")).items;
    const [own] = (await mesh.get<{ items: Pod[] }>("east", "pods", "-l", "app=caller")).items;
    const network = (address = "") => address.split(".").slice(0, 3).join(".");
    expect(network(pod?.status.podIP)).toBe(network(own?.status.podIP));
    expect((await mesh.curl("east", `http://${pod?.status.podIP}:8888`)) ?? "").not.toContain("west-");
  }, 60_000);

  test("shows in a preview just what mesh.yaml was changed by", async () => {
    await mesh.declare({
      exports: [...exports, { cluster: "west", namespace: "default", service: "internal" }],
    });
    const preview = await mesh.isthmus("preview", "--json");
    await mesh.declare({ exports });
    expect(preview.exitCode).toBe(0);
    const stacks: { stack: string; resources: { op: string; type: string; name: string }[] }[] = JSON.parse(
      preview.stdout,
    ).stacks;
    const changed = stacks.filter((stack) => stack.resources.length > 0);
    expect(changed.map((stack) => stack.stack)).toEqual(["test-cluster-west"]);
    expect(changed[0]?.resources).toMatchObject([
      { op: "create", type: "kubernetes:core/v1:ServicePatch", name: "test-export-default-internal" },
    ]);
  }, 120_000);

  test("has a deleted mirror back, on the same egress port", async () => {
    const port = await egressPorts(mesh, "payments-west");
    await mesh.kubectl("east", "delete", "service", "payments-west", "--wait=false");
    await until(
      async () => (await mesh.tryKubectl("east", "get", "service", "payments-west")).exitCode === 0,
      "the mirror",
    );
    expect(await egressPorts(mesh, "payments-west")).toBe(port);
    await until(() => mesh.curl("east", "http://payments-west:8888"), "an answer of payments-west");
  }, 60_000);

  test("keeps mirrors and carries calls while the other API server is gone", async () => {
    await stopApiServer("west");
    try {
      const connected = "{.status.conditions[?(@.type=='Connected')].status}";
      await until(async () => {
        const status = await mesh.kubectl(
          "east",
          ..."get link west -n isthmus -o".split(" "),
          `jsonpath=${connected}`,
        );
        return status !== "True";
      }, "the Link to say that west is gone");
      for (const mirror of mirrors)
        expect(await mesh.curl("east", `http://${mirror}:8888`)).toContain("west-");
    } finally {
      await startApiServer("west");
    }
  }, 180_000);

  test("takes an export back: the mirror goes and the way in is closed", async () => {
    const unexport = await mesh.isthmus("unexport", "orders", "--cluster", "west", "--namespace", "default");
    expect(unexport.exitCode === 0 ? "" : unexport.stderr).toBe("");
    await until(
      async () => (await mesh.tryKubectl("east", "get", "service", "orders-west")).exitCode !== 0,
      "no mirror",
    );
    expect(await callWest("orders", await certificateOf(mesh, "east"))).not.toContain("HTTP/");
    expect(await mesh.curl("east", "http://payments-west:8888")).toContain("west-payments");
  }, 120_000);

  test("loses a target's mirrors with its Link, and has them back with the next up", async () => {
    await mesh.kubectl("east", "delete", "link", "west", "-n", "isthmus", "--timeout=60s");
    expect((await mesh.tryKubectl("east", "get", "service", "payments-west")).exitCode).not.toBe(0);
    const up = await mesh.isthmus("up", "--yes");
    expect(up.exitCode === 0 ? "" : up.stdout + up.stderr).toBe("");
    await until(() => mesh.curl("east", "http://payments-west:8888"), "an answer of payments-west");
  }, 180_000);

  test("leaves nothing behind when it is destroyed", async () => {
    const destroy = await mesh.isthmus("destroy", "--yes");
    expect(destroy.exitCode === 0 ? "" : destroy.stdout + destroy.stderr).toBe("");
    for (const cluster of ["east", "west"]) {
      const left = (await everything(mesh, cluster)).filter((name) => !before.get(cluster)?.includes(name));
      expect({ cluster, left: left.filter((name) => !ofTheTest.test(name)) }).toEqual({ cluster, left: [] });
    }
    const service = await mesh.get<{ metadata: { labels?: object } }>("west", "service", "payments");
    expect(service.metadata.labels ?? {}).toEqual({});
  }, 300_000);
});

/** The workloads that the test itself put there. */
const ofTheTest = /\b(payments|orders|internal|caller)\b/;

/** Names of all objects of the kinds that Isthmus could leave behind. */
async function everything(mesh: TestMesh, cluster: string): Promise<string[]> {
  const kinds = (await mesh.kubectl(cluster, "api-resources", "--verbs=list,delete", "-o", "name"))
    .trim()
    .split("\n");
  const passing = /^(ipaddresses|events|leases\.coordination|componentstatuses|pods\.metrics)/;
  const chosen = kinds.filter((kind) => !passing.test(kind)).join(",");
  const names = await mesh.kubectl(cluster, "get", chosen, "-A", "--ignore-not-found", "-o", namesOf);
  return names.trim().split("\n");
}

const namesOf = 'jsonpath={range .items[*]}{.kind}/{.metadata.namespace}/{.metadata.name}{"\\n"}{end}';

async function gatewayOf(mesh: TestMesh, cluster: string): Promise<{ address: string; port: number }> {
  const node = await mesh.kubectl(
    cluster,
    "get",
    "nodes",
    "-o",
    "jsonpath={.items[0].status.addresses[0].address}",
  );
  const port = await mesh.kubectl(
    cluster,
    ..."get service isthmus-gateway -n isthmus -o".split(" "),
    "jsonpath={.spec.ports[?(@.name=='mc-gateway')].nodePort}",
  );
  return { address: node, port: Number(port) };
}

interface Pod {
  status: { podIP: string };
}

/** The certificate that the gateway of `cluster` shows to others. */
async function certificateOf(mesh: TestMesh, cluster: string): Promise<{ cert: string; key: string }> {
  const name = ["-n", "isthmus", "secret", GATEWAY_CERTIFICATE_SECRET];
  const { data } = await mesh.get<{ data: Record<string, string> }>(cluster, ...name);
  const decode = (key: string) => Buffer.from(data[key] ?? "", "base64").toString();
  return { cert: decode("tls.crt"), key: decode("tls.key") };
}

async function trustBundle(mesh: TestMesh, cluster: string): Promise<string> {
  const name = ["-n", "isthmus", "configmap", TRUST_BUNDLE_CONFIG_MAP];
  const { data } = await mesh.get<{ data: Record<string, string> }>(cluster, ...name);
  return data[TRUST_BUNDLE_KEY] ?? "";
}

async function egressPorts(mesh: TestMesh, mirror: string): Promise<string> {
  const path = "jsonpath={.metadata.annotations.isthmus\\.dev/egress-ports}";
  return mesh.kubectl("east", "get", "service", mirror, "-o", path);
}

/** One HTTP request over TLS: the answer, or "" when the other side closes without one. */
function httpOverTls(options: {
  host: string;
  port: number;
  servername: string;
  ca: string;
  cert?: string;
  key?: string;
}): Promise<string> {
  return new Promise((resolve) => {
    let answer = "";
    const socket = connect(options, () =>
      socket.write("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
    );
    socket.on("data", (chunk) => {
      answer += chunk;
    });
    socket.on("error", (error) => resolve(`refused: ${error.message}`));
    socket.on("close", () => resolve(answer));
  });
}
