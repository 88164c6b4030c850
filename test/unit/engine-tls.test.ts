import { createPrivateKey, X509Certificate } from "node:crypto";
import { describe, expect, test } from "@jest/globals";
import type { Desired } from "../../stacks/engines/embedded/provider.ts";
import type { ResourceState } from "../../stacks/engines/embedded/state/state.ts";
import { TlsProvider } from "../../stacks/engines/embedded/tls/provider.ts";
import { isSecret, type Properties, plain, plainProperties, secret } from "../../stacks/engines/wire.ts";

const KEY = "tls:index/privateKey:PrivateKey";
const SELF_SIGNED = "tls:index/selfSignedCert:SelfSignedCert";
const REQUEST = "tls:index/certRequest:CertRequest";
const SIGNED = "tls:index/locallySignedCert:LocallySignedCert";
const HOUR = 3_600_000;
const start = new Date("2030-01-01T00:00:00.500Z");

const desired = (type: string, inputs: Properties): Desired => ({
  urn: `urn:pulumi:s::p::${type}::x`,
  type,
  name: "x",
  inputs,
  ignoreChanges: [],
  replaceOnChanges: [],
  timeouts: {},
  provider: {},
});

async function make(type: string, inputs: Properties, now = start): Promise<Properties> {
  const provider = new TlsProvider(() => now);
  const asked = desired(type, inputs);
  await provider.plan(asked, undefined);
  return (await provider.create(asked)).outputs;
}

const makeKey = () => make(KEY, { algorithm: "ECDSA", ecdsaCurve: "P256" });
const text = (outputs: Properties, name: string) => plain(outputs[name] ?? null) as string;

async function makeAnchor(): Promise<{ key: Properties; inputs: Properties; outputs: Properties }> {
  const key = await makeKey();
  const inputs: Properties = {
    privateKeyPem: key.privateKeyPem ?? null,
    subject: { commonName: "root", organization: "demo.mesh" },
    isCaCertificate: true,
    maxPathLength: 1,
    setSubjectKeyId: true,
    allowedUses: ["cert_signing", "crl_signing"],
    validityPeriodHours: 100,
    earlyRenewalHours: 0,
  };
  return { key, inputs, outputs: await make(SELF_SIGNED, inputs) };
}

describe("a private key", () => {
  test("is of the curve asked for, in both forms, and secret in both", async () => {
    const key = await makeKey();
    expect(text(key, "privateKeyPem")).toMatch(/^-----BEGIN EC PRIVATE KEY-----/);
    expect(text(key, "privateKeyPemPkcs8")).toMatch(/^-----BEGIN PRIVATE KEY-----/);
    expect(isSecret(key.privateKeyPem) && isSecret(key.privateKeyPemPkcs8)).toBe(true);
    const parsed = createPrivateKey(text(key, "privateKeyPem"));
    expect(parsed.asymmetricKeyDetails?.namedCurve).toBe("prime256v1");
    expect(createPrivateKey(text(key, "privateKeyPemPkcs8")).equals(parsed)).toBe(true);
  });

  test.each([
    [{ algorithm: "ED25519" }, "algorithm is ED25519; the embedded engine makes keys of ECDSA and RSA"],
    [{ algorithm: "ECDSA" }, "ecdsaCurve is not given; it must be one of P256, P384, P521"],
  ])("%j is refused by name", async (inputs, message) => {
    await expect(make(KEY, inputs)).rejects.toThrow(message);
  });
});

describe("certificates", () => {
  test("of an anchor and an issuer verify, with the path lengths asked for: zero is one of them", async () => {
    const anchor = await makeAnchor();
    const issuerKey = await makeKey();
    const request = await make(REQUEST, {
      privateKeyPem: issuerKey.privateKeyPem ?? null,
      subject: { commonName: "east" },
      dnsNames: ["east.demo.mesh"],
    });
    const issuer = await make(SIGNED, {
      certRequestPem: request.certRequestPem ?? null,
      caCertPem: anchor.outputs.certPem ?? null,
      caPrivateKeyPem: anchor.key.privateKeyPem ?? null,
      isCaCertificate: true,
      maxPathLength: 0,
      setSubjectKeyId: true,
      allowedUses: ["cert_signing", "crl_signing"],
      validityPeriodHours: 10,
    });
    const root = new X509Certificate(text(anchor.outputs, "certPem"));
    const leaf = new X509Certificate(text(issuer, "certPem"));
    expect(root.verify(root.publicKey)).toBe(true);
    expect(leaf.verify(root.publicKey)).toBe(true);
    expect(leaf.checkIssued(root)).toBe(true);
    expect(leaf.checkPrivateKey(createPrivateKey(text(issuerKey, "privateKeyPem")))).toBe(true);
    expect([root.ca, leaf.ca]).toEqual([true, true]);
    expect(root.subject).toBe("CN=root\nO=demo.mesh");
    expect(leaf.subject).toBe("CN=east");
    expect(leaf.subjectAltName).toBe("DNS:east.demo.mesh");
    expect(constraints(root)).toContain("020101");
    expect(constraints(leaf)).toContain("020100");
    expect(leaf.validFromDate.getTime()).toBe(Date.parse("2030-01-01T00:00:00Z"));
    expect(leaf.validToDate.getTime() - leaf.validFromDate.getTime()).toBe(10 * HOUR);
  });

  test("have serial numbers of their own", async () => {
    const { inputs, outputs } = await makeAnchor();
    const again = await make(SELF_SIGNED, inputs);
    const serials = [outputs, again].map((made) => new X509Certificate(text(made, "certPem")).serialNumber);
    expect(new Set(serials).size).toBe(2);
    expect(serials[0]).toMatch(/^[4-7][0-9A-F]{31}$/);
  });

  test("are not signed by a key that is not the authority's", async () => {
    const anchor = await makeAnchor();
    const other = await makeKey();
    const request = await make(REQUEST, { privateKeyPem: other.privateKeyPem ?? null, subject: {} });
    const inputs = {
      certRequestPem: request.certRequestPem ?? null,
      caCertPem: anchor.outputs.certPem ?? null,
      caPrivateKeyPem: other.privateKeyPem ?? null,
      allowedUses: [],
      validityPeriodHours: 1,
    };
    await expect(make(SIGNED, inputs)).rejects.toThrow("caPrivateKeyPem is not the key of caCertPem");
  });

  test("refuse uses, subject fields and write-only keys that are not known, by name", async () => {
    const { inputs } = await makeAnchor();
    await expect(make(SELF_SIGNED, { ...inputs, allowedUses: ["any_extended"] })).rejects.toThrow(
      /allowedUses has "any_extended"; the embedded engine knows digital_signature/,
    );
    await expect(make(SELF_SIGNED, { ...inputs, subject: { postalCode: "1" } })).rejects.toThrow(
      /subject has "postalCode"/,
    );
    await expect(make(SELF_SIGNED, { ...inputs, privateKeyPemWo: "k" })).rejects.toThrow(
      /no write-only arguments/,
    );
  });

  test("say nothing of the key that they could not be made with", async () => {
    const { inputs } = await makeAnchor();
    const bad = { ...inputs, privateKeyPem: secret("-----BEGIN PRIVATE KEY-----\nnonsense") };
    await expect(make(SELF_SIGNED, bad)).rejects.toThrow("privateKeyPem is not a private key in PEM form");
  });
});

describe("the plan for a certificate", () => {
  async function planned(change: Properties, hours = 0) {
    const { inputs, outputs } = await makeAnchor();
    const old = { inputs, outputs } as ResourceState;
    const now = new Date(start.getTime() + hours * HOUR);
    const { op, diff } = await new TlsProvider(() => now).plan(
      desired(SELF_SIGNED, { ...inputs, ...change }),
      old,
    );
    return { op, diff: diff.map((path) => path.join(".")) };
  }

  test("is to keep it when nothing changed", async () => {
    expect(await planned({})).toEqual({ op: "same", diff: [] });
  });

  test("is a new one when anything in it changed", async () => {
    expect(await planned({ subject: { commonName: "other", organization: "demo.mesh" } })).toEqual({
      op: "replace",
      diff: ["subject.commonName"],
    });
  });

  test("is to keep it when only the time of renewal moves", async () => {
    expect(await planned({ earlyRenewalHours: 5 })).toEqual({ op: "update", diff: ["earlyRenewalHours"] });
  });

  test.each([
    ["before its renewal is due: kept", 94, "update"],
    ["when its renewal is due: a new one", 95, "replace"],
  ])("%s", async (_, hours, op) => {
    expect((await planned({ earlyRenewalHours: 5 }, hours as number)).op).toBe(op);
  });

  test("is a new one at its very end, even if no renewal was asked for", async () => {
    expect(await planned({}, 101)).toEqual({ op: "replace", diff: ["readyForRenewal"] });
  });

  test("tells no outputs of one that is yet to be made but what went in", async () => {
    const { inputs } = await makeAnchor();
    const plan = await new TlsProvider().plan(desired(SELF_SIGNED, inputs), undefined);
    expect(plan.op).toBe("create");
    expect(Object.keys(plan.outputs).sort()).toEqual(Object.keys(inputs).sort());
    expect(plainProperties(plan.outputs).certPem).toBeUndefined();
  });
});

test("types and settings that the provider does not know are refused by name", async () => {
  const provider = new TlsProvider();
  await expect(provider.plan(desired("tls:index/foo:Foo", {}), undefined)).rejects.toThrow(
    /not tls:index\/foo:Foo/,
  );
  expect(() => provider.configure({ proxy: "x", version: "5" })).toThrow("takes no proxy");
});

/** The DER of the basic constraints, hex: its path length is an INTEGER at the end, `0201xx`. */
function constraints(certificate: X509Certificate): string {
  const hex = certificate.raw.toString("hex");
  const oid = hex.indexOf("0603551d13");
  return hex.slice(oid, oid + 44);
}
