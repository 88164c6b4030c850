import { X509Certificate } from "node:crypto";
import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import {
  GATEWAY_CERTIFICATE_SECRET,
  ISSUER_SECRET,
  MANAGED_BY_LABEL,
  TRUST_BUNDLE_CONFIG_MAP,
} from "../../contract/index.ts";
import { issuerName, parseBundle } from "../../controller/identity/issuer.ts";
import { runIdentity } from "../../controller/identity/main.ts";
import { KubeClient } from "../../controller/kube/client.ts";
import { type Clock, systemClock } from "../../controller/kube/clock.ts";
import { silentLog } from "../../controller/kube/log.ts";
import type { ConfigMap, Secret } from "../../controller/kube/objects.ts";
import { CONFIG_MAPS, SECRETS } from "../../controller/kube/resource.ts";
import { freePorts } from "../support/calls.ts";
import { type Authority, makeAnchor, makeIssuer } from "../support/certificates.ts";
import { FakeApi, type FakeRequest } from "../support/fake-api.ts";
import { NAMESPACE } from "../support/gateway-objects.ts";
import { eventually } from "../support/wait.ts";

const IDENTITY = "gateway.east.demo.mesh";
const HOUR = 60 * 60 * 1000;
const CERTIFICATE = { namespace: NAMESPACE, name: GATEWAY_CERTIFICATE_SECRET };
const ISSUER = { namespace: NAMESPACE, name: ISSUER_SECRET };
const BUNDLE = { namespace: NAMESPACE, name: TRUST_BUNDLE_CONFIG_MAP };

const encode = (text: string) => Buffer.from(text).toString("base64");

function tlsSecret(name: string, certificatePem: string, keyPem: string): Secret {
  return {
    apiVersion: "v1",
    kind: "Secret",
    metadata: { namespace: NAMESPACE, name },
    type: "kubernetes.io/tls",
    data: { "tls.crt": encode(certificatePem), "tls.key": encode(keyPem) },
  };
}

const issuerSecret = ({ pem, keyPem }: Authority) => tlsSecret(ISSUER_SECRET, pem, keyPem);

function bundle(...anchors: Authority[]): ConfigMap {
  return {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { ...BUNDLE },
    data: { "ca.crt": anchors.map(({ pem }) => pem).join("\n") },
  };
}

/** What docs/gateway.md gives to the role, and nothing else. */
function permitted({ method, resource, namespace, name, query }: FakeRequest): boolean {
  if (namespace !== NAMESPACE) return false;
  const field = /^metadata\.name=(.+)$/.exec(query.get("fieldSelector") ?? "")?.[1];
  switch (`${method} ${resource?.plural}`) {
    case "GET secrets":
      return [ISSUER_SECRET, GATEWAY_CERTIFICATE_SECRET].includes(name ?? field ?? "");
    case "GET configmaps":
      return (name ?? field) === TRUST_BUNDLE_CONFIG_MAP;
    case "POST secrets":
      return true;
    case "PUT secrets":
      return name === GATEWAY_CERTIFICATE_SECRET;
    default:
      return false;
  }
}

describe("the identity role", () => {
  let api: FakeApi;
  let anchor: Authority;
  let east: Authority;
  let admin: string;
  let aheadMs = 0;
  const stops: (() => Promise<void>)[] = [];
  const clock: Clock = { ...systemClock, now: () => Date.now() + aheadMs };

  beforeEach(async () => {
    aheadMs = 0;
    api = await FakeApi.start();
    api.forbids = (request) => !permitted(request);
    anchor = await makeAnchor();
    east = await makeIssuer(anchor, "east");
  });

  afterEach(async () => {
    for (const stop of stops.splice(0)) await stop();
    await api.close();
  });

  async function start(identity = IDENTITY): Promise<() => Promise<void>> {
    const stop = new AbortController();
    const client = new KubeClient({ cluster: "east", credentials: api.credentials() });
    const adminAddress = `127.0.0.1:${await freePorts(1)}`;
    admin = `http://${adminAddress}`;
    const options = { client, namespace: NAMESPACE, identity, adminAddress, clock, log: silentLog };
    const running = runIdentity(options, stop.signal);
    const end = async () => {
      stop.abort();
      await running;
      await client.close();
    };
    stops.push(end);
    return end;
  }

  const present = () => api.objects.find(SECRETS, CERTIFICATE);
  const pem = (secret: Secret | undefined) =>
    Buffer.from(secret?.data?.["tls.crt"] ?? "", "base64").toString();
  const leaf = () => new X509Certificate(pem(present()));
  const ready = async () => (await fetch(`${admin}/ready`)).text();
  const isReady = () => eventually(async () => (await ready()) === "ready\n");
  /** Resolves with the certificate that stands there instead of `before`. */
  const replaced = (before: string) => eventually(() => pem(present()) !== before && leaf());

  test("writes a certificate for the gateway once issuer and trust bundle are there", async () => {
    await start();
    await eventually(async () => (await ready()).includes("Secret isthmus/isthmus-issuer is missing"));
    api.objects.create(SECRETS, issuerSecret(east));
    await eventually(async () => (await ready()).includes("ConfigMap isthmus/isthmus-trust-bundle"));
    expect(present()).toBeUndefined();
    api.objects.create(CONFIG_MAPS, bundle(anchor));
    await isReady();
    expect(present()).toMatchObject({
      type: "kubernetes.io/tls",
      metadata: { labels: { [MANAGED_BY_LABEL]: "isthmus" } },
    });
    expect(leaf().subjectAltName).toBe(`DNS:${IDENTITY}, DNS:*.${IDENTITY}`);
    expect(parseBundle(pem(present())).map(({ subject }) => subject)).toEqual([`CN=${IDENTITY}`, "CN=east"]);
    expect(await (await fetch(`${admin}/metrics`)).text()).toContain(
      `isthmus_identity_certificate_expiry_timestamp_seconds ${leaf().validToDate.getTime() / 1000}`,
    );
  });

  describe("with a certificate in place", () => {
    let first: string;
    let end: () => Promise<void>;

    beforeEach(async () => {
      api.objects.create(SECRETS, issuerSecret(east));
      api.objects.create(CONFIG_MAPS, bundle(anchor));
      end = await start();
      await isReady();
      first = pem(present());
    });

    test("writes nothing when it starts anew, nor while nothing changes", async () => {
      const writes = api.writes().length;
      await end();
      await start();
      await isReady();
      aheadMs = 15 * HOUR;
      const touched = api.objects.modify(CONFIG_MAPS, BUNDLE, (object) => {
        object.metadata.annotations = { touched: "yes" };
        return object;
      });
      await eventually(async () => {
        const { watches } = (await (await fetch(`${admin}/state`)).json()) as {
          watches: { resourceVersion: string }[];
        };
        return watches.some(({ resourceVersion }) => resourceVersion === touched.metadata.resourceVersion);
      });
      await isReady();
      expect(api.writes()).toHaveLength(writes);
      expect(pem(present())).toBe(first);
    });

    test("renews it when two thirds of its life are over", async () => {
      aheadMs = 17 * HOUR;
      await end();
      await start();
      expect((await replaced(first)).validToDate.getTime()).toBeGreaterThan(Date.now() + 40 * HOUR);
    });

    test("writes it again when it is deleted or spoilt", async () => {
      api.objects.delete(SECRETS, CERTIFICATE);
      const second = await eventually(() => present() && pem(present()));
      api.objects.modify(SECRETS, CERTIFICATE, (secret) => {
        secret.data = { "tls.crt": encode("spoilt"), "tls.key": "" };
        return secret;
      });
      await eventually(() => pem(present()).startsWith("-----BEGIN CERTIFICATE"));
      expect(pem(present())).not.toBe(second);
      await isReady();
    });

    test("signs anew when the issuer changes, through a rotation of the anchor", async () => {
      const next = await makeAnchor("next");
      api.objects.modify(CONFIG_MAPS, BUNDLE, () => bundle(anchor, next));
      const reissued = await makeIssuer(next, "east", { keys: east.keys });
      api.objects.modify(SECRETS, ISSUER, () => issuerSecret(reissued));
      await replaced(first);
      const [, issuer] = parseBundle(pem(present()));
      expect(issuer!.verify(parseBundle(next.pem)[0]!.publicKey)).toBe(true);
      api.objects.modify(CONFIG_MAPS, BUNDLE, () => bundle(next));
      await isReady();
      expect(issuerName(parseBundle(pem(present()))[1]!)).toBe("east");
    });

    test("does not sign with an issuer that the bundle does not vouch for, and says so", async () => {
      const stranger = await makeIssuer(await makeAnchor("stranger"), "east");
      api.objects.modify(SECRETS, ISSUER, () => issuerSecret(stranger));
      await eventually(async () => (await ready()).includes("no anchor of the trust bundle signed it"));
      expect(pem(present())).toBe(first);
      const state = await (await fetch(`${admin}/state`)).json();
      expect(state).toMatchObject({
        identity: {
          problem:
            "the issuer east is not trusted: no anchor of the trust bundle signed it; add its anchor to the trust bundle, or reissue the issuer",
        },
      });
      expect(await (await fetch(`${admin}/metrics`)).text()).toContain("isthmus_identity_problem 1");
      api.objects.modify(SECRETS, ISSUER, () => issuerSecret(east));
      await isReady();
    });

    test("settles on one certificate when two processes run at a time", async () => {
      await start();
      api.objects.delete(SECRETS, CERTIFICATE);
      await eventually(() => present());
      const second = pem(present());
      await isReady();
      expect(pem(present())).toBe(second);
    });

    test("replaces a certificate that is for another identity", async () => {
      await end();
      await start("gateway.renamed.demo.mesh");
      expect((await replaced(first)).subject).toBe("CN=gateway.renamed.demo.mesh");
    });
  });

  test("leaves a Secret of that name alone that somebody else made", async () => {
    api.objects.create(SECRETS, tlsSecret(GATEWAY_CERTIFICATE_SECRET, east.pem, east.keyPem));
    api.objects.create(SECRETS, issuerSecret(east));
    api.objects.create(CONFIG_MAPS, bundle(anchor));
    await start();
    await eventually(async () =>
      (await ready()).includes("Secret isthmus/isthmus-gateway-certificate is not ours"),
    );
    expect(api.writes()).toEqual([]);
  });

  test("refuses an identity that is no DNS name", async () => {
    const client = new KubeClient({ cluster: "east", credentials: api.credentials() });
    await expect(
      runIdentity({ client, identity: "not a name", log: silentLog }, AbortSignal.timeout(1)),
    ).rejects.toThrow('--identity "not a name" is no DNS name');
    await client.close();
  });
});
