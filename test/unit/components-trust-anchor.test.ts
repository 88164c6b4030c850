import { describe, expect, test } from "@jest/globals";
import { TrustAnchor, type TrustAnchorArgs } from "../../components/index.ts";
import { runProgram, Secret, UNKNOWN } from "../support/pulumi.ts";

const anchor = (args: Partial<TrustAnchorArgs>, preview = false) =>
  runProgram(
    () => {
      const made = new TrustAnchor("demo", {
        trustDomain: "demo.mesh",
        clusters: ["east", "west"],
        ...args,
      });
      return { trustDomain: made.trustDomain, trustBundle: made.trustBundle, issuers: made.issuers };
    },
    { preview },
  );

const SELF_SIGNED = "tls:index/selfSignedCert:SelfSignedCert";
const SIGNED = "tls:index/locallySignedCert:LocallySignedCert";

describe("a trust anchor", () => {
  test("is a root that allows one step below it, and issuers that allow none", async () => {
    const run = await anchor({});
    expect(run.find(SELF_SIGNED).inputs).toMatchObject({
      isCaCertificate: true,
      maxPathLength: 1,
      subject: { commonName: "trust-anchor-root", organization: "demo.mesh" },
      validityPeriodHours: 87_600,
      earlyRenewalHours: 0,
    });
    for (const cluster of ["east", "west"]) {
      expect(run.find(SIGNED, `demo-issuer-${cluster}`).inputs).toMatchObject({
        isCaCertificate: true,
        maxPathLength: 0,
        caCertPem: expect.stringContaining("demo-anchor-root"),
        validityPeriodHours: 17_520,
        earlyRenewalHours: 4_380,
      });
    }
  });

  test("names each issuer after its cluster, which is how an ingress tells callers apart", async () => {
    const run = await anchor({});
    const requests = run.all("tls:index/certRequest:CertRequest");
    expect(requests.map(({ inputs }) => inputs.subject.commonName)).toEqual(["east", "west"]);
  });

  test("makes every key on P-256, one each", async () => {
    const keys = (await anchor({})).all("tls:index/privateKey:PrivateKey");
    expect(keys.map(({ name }) => name)).toEqual([
      "demo-anchor-root",
      "demo-issuer-east",
      "demo-issuer-west",
    ]);
    for (const key of keys) expect(key.inputs).toEqual({ algorithm: "ECDSA", ecdsaCurve: "P256" });
  });

  test("gives out the issuers as a secret, the bundle in the open, and the root's key not at all", async () => {
    const { outputs } = await anchor({});
    expect(outputs.issuers).toMatchObject({ secret: true });
    expect(outputs.issuers?.value.east).toEqual({
      certificatePem: "-----BEGIN CERTIFICATE-----\ndemo-issuer-east\n-----END CERTIFICATE-----\n",
      privateKeyPem: "-----BEGIN PRIVATE KEY-----\ndemo-issuer-east\n-----END PRIVATE KEY-----\n",
    });
    expect(outputs.trustBundle).toEqual({
      known: true,
      secret: false,
      value: "-----BEGIN CERTIFICATE-----\ndemo-anchor-root\n-----END CERTIFICATE-----\n",
    });
    expect(JSON.stringify(outputs)).not.toMatch(/PRIVATE KEY-----\\ndemo-anchor/);
  });

  test("hands every private key over as a secret", async () => {
    const run = await anchor({});
    for (const { inputs } of run.resources) {
      for (const key of ["privateKeyPem", "caPrivateKeyPem"]) {
        if (inputs[key] !== undefined) expect(inputs[key]).toBeInstanceOf(Secret);
      }
    }
  });

  test("during a rotation has both anchors in the bundle, and signs with the one chosen", async () => {
    const run = await anchor({ anchors: ["old", "new"], signer: "new" });
    expect(run.outputs.trustBundle?.value).toMatch(/demo-anchor-old[\s\S]*demo-anchor-new/);
    expect(run.find(SIGNED, "demo-issuer-east").inputs.caCertPem).toContain("demo-anchor-new");
  });

  test("keeps the first anchor as signer when a second is added", async () => {
    const run = await anchor({ anchors: ["old", "new"] });
    expect(run.find(SIGNED, "demo-issuer-east").inputs.caCertPem).toContain("demo-anchor-old");
  });

  test("in a preview registers the same resources, with certificates yet unknown", async () => {
    const [preview, up] = [await anchor({}, true), await anchor({})];
    expect(preview.resources.map(({ type, name }) => `${type} ${name}`).sort()).toEqual(
      up.resources.map(({ type, name }) => `${type} ${name}`).sort(),
    );
    expect(preview.find(SIGNED, "demo-issuer-east").inputs.caCertPem).toBe(UNKNOWN);
    expect(preview.outputs.issuers).toEqual({ known: false, secret: true, value: UNKNOWN });
  });

  test.each<[string, Partial<TrustAnchorArgs>, string]>([
    [
      "a trust domain that is none",
      { trustDomain: "Demo Mesh" },
      'TrustAnchor "demo": trustDomain is "Demo Mesh"; it must be a DNS name: labels of a-z, 0-9 and - joined by dots, such as demo.mesh',
    ],
    [
      "two clusters of one name",
      { clusters: ["east", "east"] },
      'TrustAnchor "demo": clusters is ["east","east"]; it must be a list of different DNS labels, each 1 to 63 of a-z, 0-9 and -, with no - at its ends; and none of them federated, in which the names of federated services end',
    ],
    [
      "a cluster that is called as federated services are",
      { clusters: ["east", "federated"] },
      'TrustAnchor "demo": clusters is ["east","federated"]; it must be a list of different DNS labels, each 1 to 63 of a-z, 0-9 and -, with no - at its ends; and none of them federated, in which the names of federated services end',
    ],
    [
      "a signer that is no anchor",
      { anchors: ["a", "b"], signer: "c" },
      'TrustAnchor "demo": signer is "c"; it must be one of anchors: a, b',
    ],
    [
      "a life of no hours",
      { validityHours: 0 },
      'TrustAnchor "demo": validityHours is 0; it must be a whole number above 0',
    ],
  ])("refuses %s before it registers anything", async (_, args, message) => {
    const run = runProgram(() => {
      expect(
        () => new TrustAnchor("demo", { trustDomain: "demo.mesh", clusters: ["east"], ...args }),
      ).toThrow(message);
    });
    expect((await run).resources).toEqual([]);
  });
});
