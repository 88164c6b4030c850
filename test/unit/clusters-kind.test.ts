import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { parse, stringify } from "yaml";
import { checkoutId, clusterKubeconfig } from "../../scripts/clusters/checkout.ts";
import { readKubeconfig } from "../../scripts/clusters/kubeconfig.ts";
import { ensurePki } from "../../scripts/clusters/pki.ts";

/*
 * The driver against a `kind` and a `docker` that only note what they are told: a file for each cluster, whose content is
 * `running` or `stopped`. The API server is real HTTPS, with real certificates, but answers everything alike.
 */

const KIND = `#!/bin/sh
echo "kind $*" >>"$FAKE/calls"
case "$1 $2" in
  "create cluster") cat >"$FAKE/config"; echo running >"$FAKE/clusters/$4" ;;
  "delete cluster") rm -f "$FAKE/clusters/$4" ;;
  "get clusters") ls "$FAKE/clusters" ;;
  "get kubeconfig") cat "$FAKE/kubeconfig" ;;
esac
`;
const DOCKER = `#!/bin/sh
echo "docker $*" >>"$FAKE/calls"
node() { echo "$FAKE/clusters/\${1%-control-plane}"; }
case "$1" in
  container)
    [ -e "$(node "$5")" ] || exit 1
    grep -q running "$(node "$5")" && running=true || running=false
    echo "{\\"running\\":$running,\\"address\\":\\"172.18.0.5\\"}" ;;
  start) echo running >"$(node "$2")" ;;
esac
`;

let folder: string;
let root: string;
let server: Server;
let path: string | undefined;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "isthmus-kind-"));
  root = join(folder, "checkout");
  await mkdir(join(folder, "clusters"), { recursive: true });
  for (const [name, script] of Object.entries({ kind: KIND, docker: DOCKER })) {
    await writeFile(join(folder, name), script);
    await chmod(join(folder, name), 0o755);
  }
  const pki = join(folder, "pki");
  await ensurePki(pki, "local", "127.0.0.1");
  const read = (file: string) => readFile(join(pki, file), "utf8");
  server = createServer(
    {
      key: await read("apiserver.key"),
      cert: await read("apiserver.crt"),
      ca: await read("ca.crt"),
      requestCert: true,
    },
    (_, response) => {
      response.setHeader("content-type", "application/json");
      response.end(JSON.stringify({ status: { availableReplicas: 1 } }));
    },
  );
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const encode = async (file: string) => Buffer.from(await read(file)).toString("base64");
  await writeFile(
    join(folder, "kubeconfig"),
    stringify({
      clusters: [
        {
          name: "kind-x",
          cluster: {
            server: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
            "certificate-authority-data": await encode("ca.crt"),
          },
        },
      ],
      users: [
        {
          name: "kind-x",
          user: {
            "client-certificate-data": await encode("admin.crt"),
            "client-key-data": await encode("admin.key"),
          },
        },
      ],
    }),
  );
  path = process.env.PATH;
  process.env.PATH = [folder, path].join(delimiter);
  process.env.FAKE = folder;
});

afterEach(async () => {
  process.env.PATH = path;
  delete process.env.FAKE;
  await new Promise((resolve) => server.close(resolve));
  await rm(folder, { recursive: true, force: true });
});

/** The driver, with the stand-ins on its PATH. */
async function driver() {
  const { KindDriver } = await import("../../scripts/clusters/kind.ts");
  return new KindDriver(root);
}
const id = () => `isthmus-${checkoutId(root)}-local`;
const quiet = () => () => undefined;
async function calls(): Promise<string[]> {
  const text = await readFile(join(folder, "calls"), "utf8").catch(() => "");
  await rm(join(folder, "calls"), { force: true });
  return text.trim().split("\n");
}
const changes = (lines: string[]) =>
  lines.filter((line) => /^(kind (create|delete|load)|docker (start|exec \S+ sh))/.test(line));

describe("clusters in kind", () => {
  test("are named after the checkout, and overlap in their pods and Services", async () => {
    const kind = await driver();
    await kind.up(["local"], {}, quiet);
    expect(await kind.list()).toEqual(["local"]);
    expect(changes(await calls())).toEqual([
      expect.stringMatching(`^kind create cluster --name ${id()} --config - --kubeconfig \\S+ --wait 180s$`),
    ]);
    expect(parse(await readFile(join(folder, "config"), "utf8"))).toMatchObject({
      networking: { podSubnet: "10.244.0.0/16", serviceSubnet: "10.96.0.0/16" },
    });
  });

  test("have a kubeconfig with both addresses: the one for this machine, and the one for other clusters", async () => {
    await (await driver()).up(["local"], {}, quiet);
    const config = await readKubeconfig(clusterKubeconfig(root, "local"));
    expect(config?.["current-context"]).toBe("local");
    expect(config?.clusters[0]?.cluster.server).toMatch(/^https:\/\/127\.0\.0\.1:/);
    expect(config?.clusters[0]?.cluster.extensions).toEqual([
      { name: "isthmus.dev/api-server", extension: { server: "https://172.18.0.5:6443" } },
    ]);
  });

  test("that are up are left as they are", async () => {
    const kind = await driver();
    await kind.up(["local"], {}, quiet);
    await calls();
    await kind.up(["local"], {}, quiet);
    expect(changes(await calls())).toEqual([]);
    expect(await kind.status("local")).toMatchObject({
      state: "running",
      apiServer: "https://172.18.0.5:6443",
      nodeAddress: "172.18.0.5",
      missing: [],
    });
  });

  test("that were stopped with the machine are started again", async () => {
    const kind = await driver();
    await kind.up(["local"], {}, quiet);
    await writeFile(join(folder, "clusters", id()), "stopped\n");
    expect(await kind.status("local")).toMatchObject({ state: "incomplete", missing: ["node"] });
    await calls();
    await kind.up(["local"], {}, quiet);
    expect(changes(await calls())).toEqual([`docker start ${id()}-control-plane`]);
  });

  test("that an `up` left half made are made anew", async () => {
    await writeFile(join(folder, "clusters", id()), "running\n");
    await (await driver()).up(["local"], {}, quiet);
    expect(changes(await calls()).map((call) => call.split(" ").slice(0, 3).join(" "))).toEqual([
      "kind delete cluster",
      "kind create cluster",
    ]);
  });

  test("of other checkouts are not this one's", async () => {
    await writeFile(join(folder, "clusters", "isthmus-000000-local"), "running\n");
    expect(await (await driver()).list()).toEqual([]);
  });

  test("go, with their files", async () => {
    const kind = await driver();
    await kind.up(["local"], {}, quiet);
    await kind.down(["local"], quiet);
    expect(await kind.list()).toEqual([]);
    await expect(readFile(clusterKubeconfig(root, "local"))).rejects.toThrow("ENOENT");
  });

  test("get images from a docker archive", async () => {
    await (await driver()).loadImage("local", "/tmp/image.tar");
    expect(await calls()).toEqual([`kind load image-archive /tmp/image.tar --name ${id()}`]);
  });

  test("with a name too long for a container's host name are refused", async () => {
    await expect((await driver()).up(["x".repeat(35)], {}, quiet)).rejects.toThrow(
      "with kind, a cluster's name has at most 34 characters",
    );
  });

  test("need the command kind", async () => {
    process.env.PATH = "/nowhere";
    await expect((await driver()).list()).rejects.toThrow("need the command kind on the PATH");
  });
});
