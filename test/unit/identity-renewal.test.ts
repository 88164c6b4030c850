import { X509Certificate } from "node:crypto";
import { beforeAll, describe, expect, test } from "@jest/globals";
import {
  distrust,
  type Issuer,
  issuerName,
  parseBundle,
  parseIssuer,
} from "../../controller/identity/issuer.ts";
import { type CertificateAndKey, LEAF_LIFE_MS, signLeaf } from "../../controller/identity/leaf.ts";
import { judge } from "../../controller/identity/renewal.ts";
import { type Authority, makeAnchor, makeIssuer, makeLeaf } from "../support/certificates.ts";

const IDENTITY = "gateway.east.demo.mesh";
const HOUR = 60 * 60 * 1000;
const NOW = new Date("2026-11-20T12:00:00Z");
const at = (hours: number) => new Date(NOW.getTime() + hours * HOUR);
/** Long-lived enough for every test here. */
const LIFE = { notBefore: at(-1000), notAfter: at(1000) };

const issuerOf = ({ pem, keyPem }: Authority): Issuer => parseIssuer(pem, keyPem);

describe("a leaf", () => {
  let anchor: Authority;
  let east: Authority;

  beforeAll(async () => {
    anchor = await makeAnchor("root", LIFE);
    east = await makeIssuer(anchor, "east", LIFE);
  });

  test("is for the identity and for every name one label below it", async () => {
    const { certificatePem, privateKeyPem } = await signLeaf(issuerOf(east), IDENTITY, NOW);
    const leaf = new X509Certificate(certificatePem);
    expect(leaf.subjectAltName).toBe(`DNS:${IDENTITY}, DNS:*.${IDENTITY}`);
    expect(leaf.subject).toBe(`CN=${IDENTITY}`);
    expect(leaf.checkHost(`echo-abc.${IDENTITY}`)).toBeDefined();
    expect(leaf.checkHost(`a.b.${IDENTITY}`)).toBeUndefined();
    expect(leaf.ca).toBe(false);
    // Server and client authentication.
    expect(leaf.keyUsage).toEqual(["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"]);
    expect(judge({ certificatePem, privateKeyPem }, issuerOf(east), IDENTITY, NOW).renew).toBe(false);
  });

  test("is followed by its issuer, and verified by it", async () => {
    const { certificatePem } = await signLeaf(issuerOf(east), IDENTITY, NOW);
    const [leaf, issuer] = parseBundle(certificatePem);
    expect(leaf!.verify(issuer!.publicKey)).toBe(true);
    expect(issuer!.subject).toBe("CN=east");
  });

  test("begins five minutes ago and ends in a day", async () => {
    const leaf = new X509Certificate((await signLeaf(issuerOf(east), IDENTITY, NOW)).certificatePem);
    expect(leaf.validFromDate).toEqual(new Date(NOW.getTime() - 5 * 60 * 1000));
    expect(leaf.validToDate).toEqual(new Date(NOW.getTime() + LEAF_LIFE_MS));
  });

  test("never outlives its issuer", async () => {
    const brief = await makeIssuer(anchor, "east", { notBefore: at(-1), notAfter: at(2) });
    const leaf = new X509Certificate((await signLeaf(issuerOf(brief), IDENTITY, NOW)).certificatePem);
    expect(leaf.validToDate).toEqual(at(2));
  });

  test("bears the start of an identity that is too long for a common name", async () => {
    const long = `gateway.${"a".repeat(63)}.demo.mesh`;
    const leaf = new X509Certificate((await signLeaf(issuerOf(east), long, NOW)).certificatePem);
    expect(leaf.subject).toBe(`CN=${long.slice(0, 64)}`);
    expect(leaf.checkHost(long)).toBeDefined();
  });
});

describe("an issuer", () => {
  let anchor: Authority;
  let east: Authority;

  beforeAll(async () => {
    anchor = await makeAnchor("root", LIFE);
    east = await makeIssuer(anchor, "east", LIFE);
  });

  test("is named after its cluster", () => {
    expect(issuerName(issuerOf(east).certificate)).toBe("east");
  });

  test("is read with a SEC1 key as well", () => {
    const sec1 = issuerOf(east).key.export({ type: "sec1", format: "pem" }).toString();
    expect(sec1).toMatch(/^-----BEGIN EC PRIVATE KEY-----/);
    expect(issuerName(parseIssuer(east.pem, sec1).certificate)).toBe("east");
  });

  test("is refused with a key that is not its own", async () => {
    const other = await makeIssuer(anchor, "other", LIFE);
    expect(() => parseIssuer(east.pem, other.keyPem)).toThrow(
      "tls.key is not the key of the certificate in tls.crt",
    );
  });

  test("is refused when it is no authority", async () => {
    const leaf = await makeLeaf(anchor, { commonName: "east", dns: ["x"] }, LIFE);
    expect(() => parseIssuer(leaf.certificatePem, leaf.privateKeyPem)).toThrow(
      "is not the certificate of an authority",
    );
  });

  test("is trusted only if an anchor of the bundle signed it that is valid", async () => {
    const impostor = await makeAnchor("root", LIFE);
    const expired = await makeAnchor("root", { notBefore: at(-10), notAfter: at(-1) });
    const of = (...anchors: Authority[]) => parseBundle(anchors.map(({ pem }) => pem).join("\n"));
    const { certificate } = issuerOf(east);
    expect(distrust(certificate, of(impostor, anchor), NOW)).toBeUndefined();
    expect(distrust(certificate, of(impostor), NOW)).toBe("no anchor of the trust bundle signed it");
    const late = await makeIssuer(expired, "east", LIFE);
    expect(distrust(issuerOf(late).certificate, of(expired), NOW)).toBe(
      "the trust anchor that signed it has expired",
    );
  });
});

describe("the present certificate", () => {
  let anchor: Authority;
  let issuer: Issuer;
  let present: CertificateAndKey;

  beforeAll(async () => {
    anchor = await makeAnchor("root", LIFE);
    issuer = issuerOf(await makeIssuer(anchor, "east", LIFE));
    present = await signLeaf(issuer, IDENTITY, NOW);
  });

  const because = (certificate: Partial<CertificateAndKey>, by = issuer, identity = IDENTITY, now = NOW) => {
    const { certificatePem, privateKeyPem } = { ...present, ...certificate };
    const verdict = judge({ certificatePem, privateKeyPem }, by, identity, now);
    return verdict.renew ? verdict.because : undefined;
  };

  test("is kept until two thirds of its life are over", () => {
    expect(because({}, issuer, IDENTITY, at(15.99))).toBeUndefined();
    expect(because({}, issuer, IDENTITY, at(16))).toBe("two thirds of its life are over");
    expect(judge(present, issuer, IDENTITY, NOW)).toEqual({ renew: false, expires: at(24), renewAt: at(16) });
  });

  test("is replaced when it is missing, broken or not of one piece", async () => {
    const other = await signLeaf(issuer, IDENTITY, NOW);
    expect(judge({ certificatePem: undefined, privateKeyPem: undefined }, issuer, IDENTITY, NOW)).toEqual({
      renew: true,
      because: "there is no certificate",
    });
    expect(because({ certificatePem: "nonsense" })).toBe("the certificate or its key cannot be read");
    expect(because({ privateKeyPem: other.privateKeyPem })).toBe("the key is not that of the certificate");
  });

  test("is replaced when it is for another identity, or for more names than it should be", async () => {
    expect(because({}, issuer, "gateway.west.demo.mesh")).toBe("it is not for gateway.west.demo.mesh");
    const signer = await makeIssuer(anchor, "east", LIFE);
    const names = [IDENTITY, `*.${IDENTITY}`, "gateway.west.demo.mesh"];
    const broad = await makeLeaf(signer, { commonName: "x", dns: names }, LIFE);
    expect(because(broad, issuerOf(signer))).toBe(`it is not for ${IDENTITY}`);
  });

  test("is replaced when the issuer is another, or has a new certificate for the same key", async () => {
    expect(because({}, issuerOf(await makeIssuer(anchor, "east", LIFE)))).toBe(
      "the issuer east did not sign it",
    );
    const first = await makeIssuer(anchor, "east", LIFE);
    const reissued = await makeIssuer(await makeAnchor("second", LIFE), "east", {
      ...LIFE,
      keys: first.keys,
    });
    const signed = await signLeaf(issuerOf(first), IDENTITY, NOW);
    expect(because(signed, issuerOf(first))).toBeUndefined();
    expect(because(signed, issuerOf(reissued))).toBe("the issuer has a new certificate");
  });

  test("is replaced when it has expired or is not valid yet", () => {
    expect(because({}, issuer, IDENTITY, at(25))).toBe("it has expired");
    expect(because({}, issuer, IDENTITY, at(-1))).toBe("it is not valid yet");
  });

  test("is not replaced over and over when its issuer is about to expire", async () => {
    const brief = issuerOf(await makeIssuer(anchor, "east", { notBefore: at(-1), notAfter: at(2) }));
    const signed = await signLeaf(brief, IDENTITY, NOW);
    expect(judge(signed, brief, IDENTITY, at(1.9))).toEqual({
      renew: false,
      expires: at(2),
      renewAt: undefined,
    });
  });
});
