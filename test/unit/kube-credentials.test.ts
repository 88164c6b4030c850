import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import { stringify } from "yaml";
import { CredentialsError } from "../../controller/kube/credentials.ts";
import { loadOwnCluster } from "../../controller/kube/own-cluster.ts";
import { parseRemoteKubeconfig } from "../../controller/kube/remote-credentials.ts";
import { makeAnchor, makeLeaf } from "../support/certificates.ts";
import { FakeClock } from "../support/fake-clock.ts";

const TOKEN = "eyJhbGciOiJSUzI1NiJ9.secret.signature";
const base64 = (text: string) => Buffer.from(text).toString("base64");

let ca: string;
let cert: string;
let key: string;
let otherKey: string;

beforeAll(async () => {
  const anchor = await makeAnchor();
  ca = anchor.pem;
  ({ certificatePem: cert, privateKeyPem: key } = await makeLeaf(anchor, {
    commonName: "admin",
    dns: ["admin"],
  }));
  otherKey = (await makeLeaf(anchor, { commonName: "other", dns: ["other"] })).privateKeyPem;
});

type Part = Record<string, unknown>;

/** A kubeconfig as `isthmus` writes it into a credentials Secret, with changes. */
function kubeconfig({
  cluster = {},
  user = {},
  more = {},
}: {
  cluster?: Part;
  user?: Part;
  more?: Part;
} = {}) {
  return {
    apiVersion: "v1",
    kind: "Config",
    clusters: [
      {
        name: "east",
        cluster: { server: "https://203.0.113.5:6443", "certificate-authority-data": base64(ca), ...cluster },
      },
    ],
    users: [{ name: "isthmus", user: { token: TOKEN, ...user } }],
    contexts: [{ name: "east", context: { cluster: "east", user: "isthmus" } }],
    "current-context": "east",
    ...more,
  };
}

/** What is wrong with a text. */
function complaint(text: string): string {
  try {
    parseRemoteKubeconfig(text);
  } catch (error) {
    if (error instanceof CredentialsError) return error.message;
    throw error;
  }
  throw new Error("nothing was wrong with it");
}

describe("the kubeconfig in a credentials Secret", () => {
  test("gives a server, the authority of its certificate, and a token", async () => {
    const { credentials } = parseRemoteKubeconfig(stringify(kubeconfig()));
    expect(credentials.server).toBe("https://203.0.113.5:6443");
    expect(credentials.tls).toEqual({ ca });
    expect(await credentials.headers()).toEqual({ authorization: `Bearer ${TOKEN}` });
  });

  test("may be JSON, have a path in its server, and name the server's certificate", () => {
    const cluster = {
      server: "https://rancher.example/k8s/clusters/c-1/",
      "tls-server-name": "kubernetes.default",
    };
    const { credentials } = parseRemoteKubeconfig(JSON.stringify(kubeconfig({ cluster })));
    expect(credentials.server).toBe("https://rancher.example/k8s/clusters/c-1");
    expect(credentials.tls.servername).toBe("kubernetes.default");
  });

  test("may have a client certificate instead of a token", async () => {
    const user = { token: "", "client-certificate-data": base64(cert), "client-key-data": base64(key) };
    const { credentials } = parseRemoteKubeconfig(stringify(kubeconfig({ user })));
    expect(credentials.tls).toEqual({ ca, cert, key });
    expect(await credentials.headers()).toEqual({});
  });

  test("may carry fields that mean nothing, and defaults written out", () => {
    const cluster = { "insecure-skip-tls-verify": false, extensions: [{ name: "x" }] };
    const more = { preferences: {}, extensions: [] };
    expect(parseRemoteKubeconfig(stringify(kubeconfig({ cluster, more }))).credentials.server).toContain(
      "203.0.113.5",
    );
  });

  test.each<[string, { cluster?: Part; user?: Part }, string]>([
    [
      "a program",
      { user: { exec: { command: "/bin/sh", args: ["-c", "id"] } } },
      "user.exec is refused: it would run a program of the Secret's choice",
    ],
    ["an auth provider", { user: { "auth-provider": { name: "gcp" } } }, "user.auth-provider is refused"],
    [
      "a token file",
      { user: { tokenFile: "/etc/shadow" } },
      "user.tokenFile is refused: it names a file of this pod",
    ],
    ["a certificate file", { user: { "client-certificate": "a.pem" } }, "user.client-certificate is refused"],
    ["a key file", { user: { "client-key": "a.pem" } }, "user.client-key is refused"],
    [
      "an authority's file",
      { cluster: { "certificate-authority": "ca.pem" } },
      "cluster.certificate-authority is refused",
    ],
    [
      "no check of the server",
      { cluster: { "insecure-skip-tls-verify": true } },
      "the token would go to whoever answers",
    ],
    [
      "a proxy",
      { cluster: { "proxy-url": "http://evil.example" } },
      "cluster.proxy-url is refused: proxies are not supported",
    ],
    ["a password", { user: { username: "a", password: "b" } }, "user.username is refused"],
    ["another identity", { user: { as: "system:admin" } }, "user.as is refused: it is not supported"],
    ["http", { cluster: { server: "http://203.0.113.5" } }, "is not https: tokens need TLS"],
    ["no URL", { cluster: { server: "203.0.113.5:6443" } }, 'server "203.0.113.5:6443" is no'],
    ["no server", { cluster: { server: "" } }, "the cluster has no server"],
    ["a number for a server", { cluster: { server: 5 } }, "server is no text"],
    [
      "a user in the URL",
      { cluster: { server: "https://a:b@203.0.113.5" } },
      "may only have a host, a port and a path",
    ],
    [
      "a query in the URL",
      { cluster: { server: "https://203.0.113.5/?x" } },
      "may only have a host, a port and a path",
    ],
    [
      "an authority that is no PEM",
      { cluster: { "certificate-authority-data": "AAAA" } },
      "is no PEM in base64",
    ],
    [
      "an authority that is no certificate",
      {
        cluster: {
          "certificate-authority-data": base64(
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
          ),
        },
      },
      "the certificates or the key cannot be used",
    ],
    ["neither token nor certificate", { user: { token: "" } }, "neither a token nor a client certificate"],
    [
      "a header's end in the token",
      { user: { token: "abc\r\nx-evil: 1" } },
      "the token has characters that no token has",
    ],
  ])("is refused with %s, saying so", (_what, changes, message) => {
    expect(complaint(stringify(kubeconfig(changes)))).toContain(`kubeconfig, context "east": `);
    expect(complaint(stringify(kubeconfig(changes)))).toContain(message);
  });

  test("is refused with a certificate without its key, or with another's key", () => {
    const alone = { "client-certificate-data": base64(cert) };
    expect(complaint(stringify(kubeconfig({ user: alone })))).toContain("go together, one is missing");
    const mixed = { ...alone, "client-key-data": base64(otherKey) };
    expect(complaint(stringify(kubeconfig({ user: mixed })))).toContain("cannot be used");
  });

  test.each<[string, string, string]>([
    ["empty", "", "no kubeconfig: it is not a mapping"],
    ["a list", "- a", "no kubeconfig: it is not a mapping"],
    ["no YAML", `users:\n  - user: {token: ${TOKEN}\n`, "not YAML (line "],
    ["a bomb of aliases", aliasBomb(), "its YAML aliases cannot be resolved"],
    ["without a context", stringify({ contexts: [] }), "no current-context"],
    ["with clusters that are no list", stringify({ clusters: { a: 1 } }), "clusters is no list"],
    [
      "with a nameless cluster",
      stringify({ clusters: [{ cluster: {} }] }),
      "an entry of clusters has no name",
    ],
    [
      "with a context that is not there",
      stringify({ "current-context": "west", contexts: [{ name: "east", context: {} }] }),
      'no context "west"; there are: "east"',
    ],
    [
      "with a cluster that is not there",
      stringify({ "current-context": "east", contexts: [{ name: "east", context: { cluster: "east" } }] }),
      'no cluster "east"',
    ],
  ])("is refused when it is %s", (_what, text, message) => {
    expect(complaint(text)).toContain(message);
  });

  test("never shows its secrets in what is wrong with it", () => {
    const broken = stringify(kubeconfig()).replace("contexts:", "contexts: [");
    const wrong = [
      complaint(broken),
      complaint(`${stringify(kubeconfig())}\n  ${TOKEN}: {`),
      complaint(stringify(kubeconfig({ user: { token: `${TOKEN} ${TOKEN}` } }))),
      complaint(stringify(kubeconfig({ user: { exec: { env: TOKEN } } }))),
    ];
    expect(wrong.join("\n")).not.toContain("secret");
  });
});

describe("the credentials for the own cluster", () => {
  let directory: string;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "isthmus-credentials-"));
  });

  afterEach(async () => {
    await rm(directory, { recursive: true, force: true });
  });

  async function write(name: string, text: string): Promise<string> {
    const path = join(directory, name);
    await writeFile(path, text);
    return path;
  }

  test("are the ServiceAccount's in a pod, its token read again as it is renewed", async () => {
    const clock = new FakeClock();
    await write("ca.crt", ca);
    await write("token", "first\n");
    const env = { KUBERNETES_SERVICE_HOST: "fd00::1", KUBERNETES_SERVICE_PORT: "443" };
    const credentials = await loadOwnCluster({ env, serviceAccountDirectory: directory, clock });
    expect(credentials.server).toBe("https://[fd00::1]:443");
    expect(credentials.tls).toEqual({ ca });
    expect(await credentials.headers()).toEqual({ authorization: "Bearer first" });

    await write("token", "second");
    expect(await credentials.headers()).toEqual({ authorization: "Bearer first" });
    await clock.advance(10_000);
    expect(await credentials.headers()).toEqual({ authorization: "Bearer second" });
  });

  test("say which file of the ServiceAccount is missing", async () => {
    const env = { KUBERNETES_SERVICE_HOST: "10.0.0.1" };
    await expect(loadOwnCluster({ env, serviceAccountDirectory: directory })).rejects.toThrow(
      `cannot read the ServiceAccount's CA, ${directory}/ca.crt: no such file`,
    );
  });

  test("are those of the kubeconfig's current context, or of the one asked for", async () => {
    const two = kubeconfig({
      more: {
        contexts: [
          { name: "east", context: { cluster: "east", user: "isthmus" } },
          { name: "west", context: { cluster: "west", user: "isthmus" } },
        ],
      },
    });
    two.clusters.push({
      name: "west",
      cluster: { ...two.clusters[0]!.cluster, server: "https://west.example" },
    });
    const path = await write("config", stringify(two));
    expect((await loadOwnCluster({ kubeconfig: path })).server).toBe("https://203.0.113.5:6443");
    expect((await loadOwnCluster({ kubeconfig: path, context: "west" })).server).toBe("https://west.example");
    await expect(loadOwnCluster({ kubeconfig: path, context: "north" })).rejects.toThrow(
      `${path}: no context "north"; there are: "east", "west"`,
    );
  });

  test("may be in files beside the kubeconfig", async () => {
    await write("ca.pem", ca);
    await write("cert.pem", cert);
    await write("key.pem", key);
    await write("token.txt", TOKEN);
    const cluster = { "certificate-authority-data": "", "certificate-authority": "ca.pem" };
    const user = {
      token: "",
      tokenFile: "token.txt",
      "client-certificate": "cert.pem",
      "client-key": join(directory, "key.pem"),
    };
    const path = await write("config", stringify(kubeconfig({ cluster, user })));
    const credentials = await loadOwnCluster({ kubeconfig: path });
    expect(credentials.tls).toEqual({ ca, cert, key });
    expect(await credentials.headers()).toEqual({ authorization: `Bearer ${TOKEN}` });
  });

  test("are put together from the files of KUBECONFIG, the first that defines a name winning", async () => {
    const { users, ...rest } = kubeconfig();
    const first = await write("first", stringify(rest));
    const second = await write(
      "second",
      stringify({ users, clusters: [{ name: "east", cluster: { server: "https://x" } }] }),
    );
    const credentials = await loadOwnCluster({ env: { KUBECONFIG: `${first}:${second}` } });
    expect(credentials.server).toBe("https://203.0.113.5:6443");
    expect(await credentials.headers()).toEqual({ authorization: `Bearer ${TOKEN}` });
  });

  test("may come from a login program, asked again when they have expired", async () => {
    const log = join(directory, "asked");
    const program = await write(
      "login.sh",
      `echo asked >> ${log}
       echo '{"kind":"ExecCredential","status":{"token":"from-a-program","expirationTimestamp":"2020-01-01T00:00:00Z"}}'`,
    );
    const exec = {
      apiVersion: "client.authentication.k8s.io/v1",
      command: "sh",
      args: [program],
      interactiveMode: "Never",
    };
    const path = await write("config", stringify(kubeconfig({ user: { token: "", exec } })));
    const credentials = await loadOwnCluster({ kubeconfig: path });
    expect(credentials).toMatchObject({ server: "https://203.0.113.5:6443", tls: { ca } });
    expect(await credentials.headers()).toEqual({ Authorization: "Bearer from-a-program" });
    await credentials.headers();
    expect(await readFile(log, "utf8")).toBe("asked\n".repeat(3));
  });

  test.each<[string, { cluster?: Part; user?: Part }, string]>([
    ["a proxy", { cluster: { "proxy-url": "http://proxy.example" } }, "proxy-url is not supported"],
    ["impersonation", { user: { as: "admin" } }, "impersonation (as) is not supported"],
    ["http", { cluster: { server: "http://localhost:8080" } }, "is not https"],
  ])("are refused with %s rather than used without it", async (_what, changes, message) => {
    const path = await write("config", stringify(kubeconfig(changes)));
    await expect(loadOwnCluster({ kubeconfig: path })).rejects.toThrow(message);
  });

  test("say which kubeconfig cannot be read", async () => {
    await expect(loadOwnCluster({ kubeconfig: "/does/not/exist" })).rejects.toThrow(
      "cannot read the kubeconfig, /does/not/exist: no such file",
    );
  });
});

/** A few lines of YAML that would unfold to a billion entries. */
function aliasBomb(): string {
  const lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"];
  for (let n = 1; n < 10; n++) lines.push(`a${n}: &a${n} [${`*a${n - 1}, `.repeat(9)}]`);
  return lines.join("\n");
}
