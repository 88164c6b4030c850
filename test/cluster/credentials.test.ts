import type { ServerResponse } from "node:http";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import { MIRROR } from "../../contract/index.ts";
import { KubeClient } from "../../controller/kube/client.ts";
import { systemClock } from "../../controller/kube/clock.ts";
import { isForbidden } from "../../controller/kube/errors.ts";
import type { Secret } from "../../controller/kube/objects.ts";
import { LINKS, SECRETS, SERVICE_ACCOUNTS } from "../../controller/kube/resource.ts";
import { makeAnchor } from "../support/certificates.ts";
import { pour } from "./hostile-server.ts";
import { LeastPrivilege } from "./least-privilege.ts";
import { RecordingProxy } from "./recording-proxy.ts";
import { until } from "./until.ts";
import { World } from "./world.ts";

const NAME = "cluster-credentials-remote";
const WEEK = 604_800;
const GB = 1024 ** 3;
/** For it, two thirds of the life of a token of ten minutes are over. */
const late = { ...systemClock, now: () => Date.now() + 450_000 };

let world: World;
let least: LeastPrivilege;

async function begin(): Promise<void> {
  world = await World.create();
  least = new LeastPrivilege(world);
}

async function end(): Promise<void> {
  await least.destroy();
  await world.destroy();
}

/** Export a service and wait for its mirror. */
async function mirrored(name: string): Promise<void> {
  await world.export(name);
  await until(() => world.slice(`${name}-remote`));
}

/** The mirrors, and that they are the same objects in the same version. */
async function mirrors(): Promise<[string, string][]> {
  return Object.entries(await world.fingerprint()).filter(([object]) =>
    /^(Service|EndpointSlice) /.test(object),
  );
}

async function secretText(): Promise<string> {
  const { data } = await world.source.get<Secret>(SECRETS, { namespace: world.isthmus, name: NAME });
  return Buffer.from(data!.kubeconfig!, "base64").toString();
}

function claimsIn(kubeconfig: string): { iat: number; exp: number; sub: string } {
  const [token = ""] = /eyJ[\w-]+\.[\w-]+\.[\w-]+/.exec(kubeconfig) ?? [];
  return JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString());
}

/** As an operator writes one, with a word of their own. */
async function kubeconfigWith(token: string): Promise<string> {
  const { clusters } = JSON.parse(await world.kubeconfig());
  return `# ask the people of west before you touch this
current-context: west
contexts:
  - {name: west, context: {cluster: west, user: reader}}
clusters:
  - name: west
    cluster: ${JSON.stringify(clusters[0].cluster)}
users:
  - name: reader
    user:
      token: ${token} # renewed by the controller
`;
}

describe("a controller with exactly the permissions of its components", () => {
  /** What stands between the controller and its target. */
  let target: RecordingProxy | undefined;
  beforeEach(begin);
  afterEach(async () => {
    await end();
    await target?.close();
    target = undefined;
  });

  test("does its work, and reads neither another Secret of its namespace nor a list of them", async () => {
    const credentials = await least.controller();
    const account = await least.remoteAccess();
    const kubeconfig = await kubeconfigWith(await least.accessToken(account, WEEK));
    await least.link({ kubeconfig });
    const controller = await world.start({ credentials });
    await mirrored("web");
    await world.reason("Synced", "Synced");
    const { message } = await world.reason("CredentialsFresh", "CredentialsFresh");
    const { exp } = claimsIn(kubeconfig);
    expect(message).toContain(`ends at ${new Date(exp * 1000).toISOString().slice(0, 19)}Z`);
    const series = 'isthmus_link_credentials_expiry_timestamp_seconds{target_cluster_name="remote"}';
    await until(async () => expect(await controller.metric(series)).toBe(exp));
    expect(controller.logs.filter((line) => /forbidden/i.test(line))).toEqual([]);

    const itself = new KubeClient({ cluster: "source", credentials });
    const namespace = world.isthmus;
    const asked = [
      itself.get(SECRETS, { namespace, name: "isthmus-issuer" }),
      itself.list(SECRETS, { namespace }),
      itself.list(SECRETS),
    ];
    for (const result of await Promise.allSettled(asked)) {
      expect(result).toMatchObject({ status: "rejected" });
      expect(isForbidden((result as PromiseRejectedResult).reason)).toBe(true);
    }
    await itself.close();

    await world.source.delete(LINKS, { namespace, name: "remote" });
    await until(async () => expect((await world.names()).services).toEqual([]));
    await until(() => expect(world.getLink()).rejects.toThrow("not found"));
  });

  test("says which Role is missing where it may not read a Link's Secret, and needs nothing but that", async () => {
    const credentials = await least.controller();
    await least.remoteAccess();
    const kubeconfig = await world.kubeconfig();
    await least.link({ kubeconfig }, ["Secret", "Link"]);
    await world.start({ credentials });
    const { message, status } = await world.reason("Connected", "CredentialsForbidden");
    expect(status).toBe("False");
    expect(message).toContain(`Role isthmus-credentials-remote in namespace ${world.isthmus}`);
    await world.reason("CredentialsFresh", "CredentialsForbidden");
    await least.link({ kubeconfig }, ["Role", "RoleBinding"]);
    await world.reason("Connected", "Connected");
    await mirrored("web");
  });

  test.each([
    ["a week where the target's policy allows it", {}, WEEK],
    [
      "as much as the target's policy allows, found by halving",
      { maxRenewedTokenLifetimeSeconds: 3600 },
      2362,
    ],
  ])("renews a token for %s, without a write to a mirror", async (_, access, life) => {
    const credentials = await least.controller();
    const account = await least.remoteAccess(access);
    const before = await kubeconfigWith(await least.accessToken(account, 600));
    await least.link({ kubeconfig: before });
    await mirroredBy({ credentials });
    const were = await mirrors();
    const controller = await world.start({ credentials, clock: late });
    const after = await until(async () => {
      const text = await secretText();
      if (text === before) throw new Error("the token was not renewed");
      return text;
    });
    const claims = claimsIn(after);
    expect(claims.exp - claims.iat).toBe(life);
    expect(claims.sub).toBe(claimsIn(before).sub);
    // All but the token is as it was.
    const cut = (text: string) => text.replace(/eyJ[\w-]+\.[\w-]+\.[\w-]+/, "…");
    expect(cut(after)).toBe(cut(before));
    const renewals = 'isthmus_credentials_renewals_total{target_cluster_name="remote",outcome="success"}';
    await until(async () => expect(await controller.metric(renewals)).toBe(1));
    // It is in use: what comes now comes by it.
    await mirrored("more");
    await world.reason("Connected", "Connected");
    const now = new Map(await mirrors());
    for (const [object, version] of were) expect([object, now.get(object)]).toEqual([object, version]);
  });

  /** Mirror a service by a controller that is stopped again. */
  async function mirroredBy(options: Parameters<World["start"]>[0]): Promise<void> {
    const first = await world.start(options);
    await mirrored("web");
    await world.reason("Synced", "Synced");
    await first.stop();
  }

  test.each<[string, string, (answer: ServerResponse) => void]>([
    ["HTML", "no JSON", (answer) => void answer.end("<html>It works!</html>")],
    ["a body without end", "longer than", (answer) => void pour(answer, "x".repeat(65_536), 10 * GB)],
    ["nothing at all", "no answer from", () => undefined],
  ])(
    "says that a TokenRequest is answered by %s, and goes on by the token it has",
    async (_, why, answer) => {
      const credentials = await least.controller();
      const token = await least.accessToken(await least.remoteAccess(), 600);
      target = await RecordingProxy.open("target", [], world.credentialsOf("target", token));
      target.instead = ({ path }) => (path.endsWith("/token") ? answer : undefined);
      const config = JSON.parse(target.kubeconfig());
      config.users[0].user.token = token;
      const kubeconfig = JSON.stringify(config);
      await least.link({ kubeconfig });
      await mirroredBy({ credentials });
      const were = await mirrors();
      await world.start({ credentials, clock: late });
      const { status, message } = await until(
        () => world.reason("CredentialsFresh", "RenewalFailed"),
        90_000,
      );
      expect(status).toBe("False");
      expect(message).toContain(why);
      expect(message).toContain("the token ends at");
      await mirrored("more");
      await world.reason("Connected", "Connected");
      expect((await mirrors()).filter(([object]) => object.includes("web-remote"))).toEqual(were);
      expect(await secretText()).toBe(kubeconfig);
      target.instead = () => undefined;
      await until(async () => expect(await secretText()).not.toBe(kubeconfig), 90_000);
      await world.reason("CredentialsFresh", "CredentialsFresh");
    },
  );

  test("keeps the mirrors of a revoked token, says why, and needs nothing but a new Secret", async () => {
    const credentials = await least.controller();
    const account = await least.remoteAccess();
    const token = await least.accessToken(account, 600);
    await least.link({ kubeconfig: await kubeconfigWith(token) });
    const controller = await world.start({ credentials });
    await mirrored("web");
    await world.reason("Synced", "Synced");
    const were = await mirrors();
    await world.target.delete(SERVICE_ACCOUNTS, { namespace: world.isthmus, name: account });
    // Its watches stay open, and an API server remembers for some seconds whom it has let in.
    const condition = await world.reason("Connected", "Unauthorized");
    expect(condition).toMatchObject({
      status: "False",
      message: expect.stringContaining("replace the Secret's kubeconfig"),
    });
    await until(async () =>
      expect(await controller.metric('isthmus_link_connected{target_cluster_name="remote"}')).toBe(0),
    );
    const why = 'type="Connected",status="False",reason="Unauthorized"';
    await until(async () =>
      expect(await controller.metric(`isthmus_link_condition{target_cluster_name="remote",${why}}`)).toBe(1),
    );
    expect(await mirrors()).toEqual(were);
    await least.remoteAccess();
    await world.putCredentials(await kubeconfigWith(await least.accessToken(account, 600)));
    await world.reason("Connected", "Connected");
    await mirrored("more");
    expect((await mirrors()).filter(([object]) => object.includes("web-remote"))).toEqual(were);
  });
});

describe("a hundred Links", () => {
  beforeEach(begin);
  afterEach(end);

  test("have a watch each on their Secret, and each hears of its own", async () => {
    const good = await world.kubeconfig();
    const names = Array.from({ length: 110 }, (_, number) => `link-${number}`);
    for (const name of names) {
      await world.putCredentials("}{", name);
      await world.putLink({}, name);
    }
    await world.start();
    for (const name of names) await world.reason("Connected", "CredentialsInvalid", name);
    await world.export("web");
    await world.putCredentials(good, "link-0");
    await world.putCredentials(good, "link-109");
    for (const name of ["link-0", "link-109"]) {
      await world.reason("Connected", "Connected", name);
      await until(() => world.slice(`web-${name}`));
    }
    expect((await world.condition("Connected", "link-50"))?.reason).toBe("CredentialsInvalid");
  });
});

describe("credentials of every wrong kind: a reason, mirrors that stay, and a good Secret is all it takes", () => {
  let good: string;
  beforeAll(async () => {
    await begin();
    good = await world.kubeconfig();
    await world.link();
    await world.start();
    await mirrored("web");
    await world.reason("Synced", "Synced");
  });
  afterAll(end);

  type Change = (config: Kubeconfig) => void;
  interface Kubeconfig {
    "current-context"?: string;
    clusters: { cluster: Record<string, unknown> }[];
    users: { user: Record<string, unknown> }[];
  }
  const text = (change: Change) => () => {
    const config = JSON.parse(good) as Kubeconfig;
    change(config);
    return JSON.stringify(config);
  };
  const user = (more: Record<string, unknown>, token?: string) =>
    text(({ users }) => {
      users[0]!.user = token === undefined ? more : { token, ...more };
    });
  const cluster = (more: Record<string, unknown>) =>
    text(({ clusters }) => Object.assign(clusters[0]!.cluster, more));

  test.each<[string, () => Record<string, string>, string, string | RegExp]>([
    ["no key", () => ({}), "CredentialsInvalid", "has no key kubeconfig"],
    ["another key", () => ({ config: "x" }), "CredentialsInvalid", "has no key kubeconfig"],
    ["nothing in it", () => ({ kubeconfig: "" }), "CredentialsInvalid", "no kubeconfig"],
    ["no YAML", () => ({ kubeconfig: "}{" }), "CredentialsInvalid", "not YAML"],
    ["a list", () => ({ kubeconfig: "[]" }), "CredentialsInvalid", "not a mapping"],
    ["an empty mapping", () => ({ kubeconfig: "{}" }), "CredentialsInvalid", "no current-context"],
    [
      "binary rubbish",
      () => ({ kubeconfig: "\u0000\u0001\ufffd\u0007{{{" }),
      "CredentialsInvalid",
      "kubeconfig",
    ],
    [
      "a million bytes of YAML",
      () => ({ kubeconfig: `a:\n${"- b\n".repeat(250_000)}` }),
      "CredentialsInvalid",
      "longer than",
    ],
    ["brackets without end", () => ({ kubeconfig: "[".repeat(60_000) }), "CredentialsInvalid", "not YAML"],
    [
      "aliases that multiply",
      () => ({
        kubeconfig: `a: &a [x,x,x]\nb: &b [*a,*a,*a]\nc: &c [*b,*b,*b]\nd: &d [*c,*c,*c]\ne: [*d,*d,*d]\n`,
      }),
      "CredentialsInvalid",
      "aliases",
    ],
    [
      "no current context",
      () => ({ kubeconfig: text((config) => delete config["current-context"])() }),
      "CredentialsInvalid",
      "no current-context",
    ],
    [
      "a context that is not there",
      () => ({
        kubeconfig: text((config) => {
          config["current-context"] = "other";
        })(),
      }),
      "CredentialsInvalid",
      'no context "other"',
    ],
    [
      "no server",
      () => ({ kubeconfig: cluster({ server: undefined })() }),
      "CredentialsInvalid",
      "no server",
    ],
    [
      "a server without TLS",
      () => ({ kubeconfig: cluster({ server: "http://127.0.0.1:1" })() }),
      "CredentialsInvalid",
      "not https",
    ],
    [
      "a server that is no URL",
      () => ({ kubeconfig: cluster({ server: "west" })() }),
      "CredentialsInvalid",
      "no URL",
    ],
    [
      "a server name that is none",
      () => ({ kubeconfig: cluster({ "tls-server-name": "a b\n" })() }),
      "CredentialsInvalid",
      "tls-server-name",
    ],
    [
      "a wish not to check certificates",
      () => ({ kubeconfig: cluster({ "insecure-skip-tls-verify": true })() }),
      "CredentialsInvalid",
      "insecure-skip-tls-verify",
    ],
    [
      "a proxy",
      () => ({ kubeconfig: cluster({ "proxy-url": "http://a" })() }),
      "CredentialsInvalid",
      "proxy-url",
    ],
    [
      "an authority in a file",
      () => ({ kubeconfig: cluster({ "certificate-authority": "/etc/ca.crt" })() }),
      "CredentialsInvalid",
      "certificate-authority",
    ],
    [
      "an authority that is none",
      () => ({ kubeconfig: cluster({ "certificate-authority-data": "bm9uZQ==" })() }),
      "CredentialsInvalid",
      "certificate-authority-data",
    ],
    [
      "a program to run",
      () => ({ kubeconfig: user({ exec: { command: "/bin/sh" } })() }),
      "CredentialsInvalid",
      "user.exec is refused",
    ],
    [
      "an auth provider",
      () => ({ kubeconfig: user({ "auth-provider": { name: "gcp" } })() }),
      "CredentialsInvalid",
      "auth-provider",
    ],
    [
      "a token in a file",
      () => ({ kubeconfig: user({ tokenFile: "/var/run/token" })() }),
      "CredentialsInvalid",
      "tokenFile",
    ],
    [
      "a certificate in a file",
      () => ({ kubeconfig: user({ "client-certificate": "/a", "client-key": "/b" })() }),
      "CredentialsInvalid",
      "client-certificate",
    ],
    [
      "a password",
      () => ({ kubeconfig: user({ username: "a", password: "b" })() }),
      "CredentialsInvalid",
      "username",
    ],
    ["nobody", () => ({ kubeconfig: user({})() }), "CredentialsInvalid", "neither a token nor"],
    ["a token of two lines", () => ({ kubeconfig: user({}, "a\nb")() }), "CredentialsInvalid", "characters"],
    ["a token of nobody", () => ({ kubeconfig: user({}, "a")() }), "Unauthorized", "refuses the credentials"],
    [
      "a server that is not there",
      () => ({ kubeconfig: cluster({ server: "https://127.0.0.1:1" })() }),
      "Unreachable",
      "refused",
    ],
  ])("%s", async (_, data, reason, word) => {
    const { length } = (await world.names()).services;
    await put(data());
    const condition = await world.reason("Connected", reason);
    expect(condition).toMatchObject({ status: "False", message: expect.stringMatching(word) });
    expect(condition.message).not.toContain(claimsIn(good).sub);
    expect((await world.names()).services).toHaveLength(length);
    await recover();
  });

  test("the authority of somebody else", async () => {
    const { pem } = await makeAnchor("stranger");
    await put({ kubeconfig: await world.kubeconfig({ ca: pem }) });
    await world.reason("Connected", "TLSFailed");
    await recover();
  });

  test("a token with a line break at its end is a good one", async () => {
    const { users } = JSON.parse(good);
    await put({ kubeconfig: "}{" });
    await world.reason("Connected", "CredentialsInvalid");
    await put({ kubeconfig: user({}, `${users[0].user.token}\n`)() });
    await world.reason("Connected", "Connected");
  });

  async function put(data: Record<string, string>): Promise<void> {
    const encoded = Object.entries(data).map(([key, value]) => [key, Buffer.from(value).toString("base64")]);
    // Another type cannot become one in place, and a key that is left out must go.
    const secret = await world.source.get<Secret>(SECRETS, { namespace: world.isthmus, name: NAME });
    await world.source.update(SECRETS, { ...secret, data: Object.fromEntries(encoded) });
  }

  /** That it works again, shows in something that comes by it. */
  async function recover(): Promise<void> {
    await put({ kubeconfig: good });
    await world.reason("Connected", "Connected");
    expect(await world.mirror("web-remote")).toBeDefined();
  }
});

describe("with Linkerd's data plane", () => {
  let linkerd: string;
  let options: Parameters<World["start"]>[0];
  const copy = () => world.source.get<Secret>(SECRETS, { namespace: linkerd, name: NAME });

  beforeEach(async () => {
    await begin();
    linkerd = `linkerd-${world.id}`;
    await world.createNamespace(world.source, linkerd);
    options = {
      credentials: await least.controller(),
      dataPlane: "linkerd" as const,
      linkerdNamespace: linkerd,
    };
    await least.link({
      kubeconfig: await world.kubeconfig(),
      dataPlane: "linkerd",
      linkerdNamespace: linkerd,
      targetClusterDomain: "west.local",
    });
  });
  afterEach(end);

  test("Linkerd has a copy of the credentials, with what it needs beside them, and it is not written again", async () => {
    const controller = await world.start(options);
    const made = await until(copy);
    const original = await world.source.get<Secret>(SECRETS, { namespace: world.isthmus, name: NAME });
    expect(made).toMatchObject({
      type: "mirror.linkerd.io/remote-kubeconfig",
      data: original.data,
      metadata: {
        labels: {
          "multicluster.linkerd.io/cluster-name": "remote",
          "app.kubernetes.io/managed-by": "isthmus",
          "isthmus.dev/link": `${world.isthmus}.remote`,
        },
        annotations: {
          "multicluster.linkerd.io/trust-domain": "cluster.local",
          "multicluster.linkerd.io/cluster-domain": "west.local",
        },
      },
    });
    await world.reason("CredentialsCopied", "CredentialsCopied");
    await world.reason("Connected", "Connected");
    await controller.stop();
    const second = await world.start({ ...options, resyncMs: 100 });
    const reads = 'isthmus_reconcile_duration_seconds_count{queue="links",outcome="success"}';
    await until(async () => expect(await second.metric(reads)).toBeGreaterThan(5));
    expect(second.writes.filter((write) => write.includes("/secrets"))).toEqual([]);
    expect((await copy()).metadata.resourceVersion).toBe(made.metadata.resourceVersion);
  });

  test("it is another object once the credentials are new, since Linkerd overlooks a changed one", async () => {
    await world.start(options);
    const first = await until(copy);
    await world.putCredentials(await world.kubeconfig());
    const original = await world.source.get<Secret>(SECRETS, { namespace: world.isthmus, name: NAME });
    await until(async () => expect((await copy()).data).toEqual(original.data));
    expect((await copy()).metadata.uid).not.toBe(first.metadata.uid);
  });

  test("it is made again when the Link says another domain of the target", async () => {
    await world.start(options);
    const first = await until(copy);
    const ref = { namespace: world.isthmus, name: "remote" };
    await world.source.patch(LINKS, ref, { spec: { targetTrustDomain: "west.mesh" } }, { type: "merge" });
    await until(async () =>
      expect((await copy()).metadata).toMatchObject({
        annotations: { "multicluster.linkerd.io/trust-domain": "west.mesh" },
      }),
    );
    expect((await copy()).metadata.uid).not.toBe(first.metadata.uid);
  });

  test("it goes with the Link", async () => {
    await world.start(options);
    await until(copy);
    await world.source.delete(LINKS, { namespace: world.isthmus, name: "remote" });
    await until(() => expect(world.getLink()).rejects.toThrow("not found"));
    await expect(copy()).rejects.toThrow("not found");
  });

  test("a Secret of that name that is not ours is left alone, and people are told", async () => {
    const theirs: Secret = {
      apiVersion: "v1",
      kind: "Secret",
      type: "mirror.linkerd.io/remote-kubeconfig",
      metadata: {
        namespace: linkerd,
        name: NAME,
        labels: { "multicluster.linkerd.io/cluster-name": "remote" },
      },
      data: { kubeconfig: "dGhlaXJz" },
    };
    const { metadata } = await world.source.create(SECRETS, theirs);
    await world.start(options);
    const { message } = await world.reason("CredentialsCopied", "CopyConflict");
    expect(message).toContain(`Secret ${linkerd}/${NAME}`);
    await until(async () =>
      expect((await world.events()).map(({ reason }) => reason)).toContain("CopyConflict"),
    );
    await world.reason("Connected", "Connected");
    expect((await copy()).metadata.resourceVersion).toBe(metadata.resourceVersion);
    await world.source.delete(LINKS, { namespace: world.isthmus, name: "remote" });
    await until(() => expect(world.getLink()).rejects.toThrow("not found"));
    expect((await copy()).metadata.resourceVersion).toBe(metadata.resourceVersion);
  });

  test("a permission that is missing is told, and the Link mirrors and goes all the same", async () => {
    for (const plural of ["rolebindings", "roles"]) {
      const url = `/apis/rbac.authorization.k8s.io/v1/namespaces/${linkerd}/${plural}/isthmus-credentials-remote`;
      await world.source.request("DELETE", url);
    }
    const permission = { verb: "get", resource: "secrets", namespace: linkerd, name: NAME };
    await world.permitted(world.source, MIRROR, permission, false);
    await world.start(options);
    const { message } = await world.reason("CredentialsCopied", "CopyFailed");
    expect(message).toContain(`Role isthmus-credentials-remote in namespace ${linkerd}`);
    await world.reason("Connected", "Connected");
    await world.source.delete(LINKS, { namespace: world.isthmus, name: "remote" });
    await until(() => expect(world.getLink()).rejects.toThrow("not found"));
  });
});
