import { readFile, stat } from "node:fs/promises";
import { afterEach, beforeEach, describe, expect, jest, test } from "@jest/globals";
import type { StackError, StackResult } from "../../stacks/engines/engine.ts";
import { secret, UNKNOWN } from "../../stacks/engines/wire.ts";
import { StackProgram } from "../support/stack-program.ts";

// Every test starts processes that load the Pulumi SDK.
jest.setTimeout(120_000);

let program: StackProgram;

beforeEach(async () => {
  program = await StackProgram.create();
});

afterEach(() => program.remove());

const KEY = `const key = new tls.PrivateKey("key", { algorithm: "ECDSA", ecdsaCurve: "P256" });`;
const CERTIFICATE = `
  ${KEY}
  const certificate = new tls.SelfSignedCert("certificate", {
    privateKeyPem: key.privateKeyPem,
    subject: { commonName: "root" },
    allowedUses: ["cert_signing"],
    validityPeriodHours: 24,
  });
  export const pem = certificate.certPem;
  export const secretKey = key.privateKeyPem;`;

/** \`create PrivateKey key\`, in the order in which it happened. */
const steps = (result: StackResult) =>
  result.resources.map(({ op, type, name }) => `${op} ${type.slice(type.lastIndexOf(":") + 1)} ${name}`);

const failure = (promise: Promise<StackResult>): Promise<StackError> =>
  promise.then(
    () => Promise.reject(new Error("it ended well")),
    (error: StackError) => error,
  );

describe("a stack's program under the embedded engine", () => {
  test("is previewed with what is not known yet as unknown, and brought up by an up", async () => {
    const planned = await program.preview(CERTIFICATE);
    expect(steps(planned)).toEqual(["create PrivateKey key", "create SelfSignedCert certificate"]);
    expect(planned.outputs).toEqual({ pem: UNKNOWN, secretKey: secret(UNKNOWN) });
    await expect(stat(program.stateFile)).rejects.toThrow(/ENOENT/);

    const result = await program.up(CERTIFICATE);
    expect(steps(result)).toEqual(["create PrivateKey key", "create SelfSignedCert certificate"]);
    expect(result.outputs.pem).toMatch(/^-----BEGIN CERTIFICATE-----/);
    expect(result.outputs.secretKey).toEqual(
      secret(expect.stringMatching(/^-----BEGIN EC PRIVATE KEY-----/) as never),
    );
  });

  test("changes nothing by a second up, and gives the same outputs", async () => {
    const first = await program.up(CERTIFICATE);
    const second = await program.up(CERTIFICATE);
    expect(second.changes).toMatchObject({ create: 0, update: 0, replace: 0, delete: 0, same: 2 });
    expect(second.outputs).toEqual(first.outputs);
  });

  test("never shows a secret in an event, though the program prints it", async () => {
    await program.up(`${CERTIFICATE}
      key.privateKeyPem.apply((pem) => console.log("made", JSON.stringify(pem), pem));`);
    const { outputs } = await program.up(CERTIFICATE);
    const pem = (outputs.secretKey as { value: string }).value;
    const lines = pem.split("\n").filter((line) => line.length > 20 && !line.startsWith("-----"));
    const told = JSON.stringify(program.events);
    for (const line of lines) expect(told).not.toContain(line);
  });

  test("deletes what it does not register any more, dependents first", async () => {
    await program.up(CERTIFICATE);
    const result = await program.up("");
    expect(steps(result)).toEqual(["delete SelfSignedCert certificate", "delete PrivateKey key"]);
  });

  test("is destroyed without being run, and then does not exist", async () => {
    await program.up(CERTIFICATE);
    const result = await program.destroy();
    expect(result.changes.delete).toBe(2);
    const engine = await program.engine("");
    expect([await engine.exists("demo-a"), await engine.stacks()]).toEqual([false, []]);
    await expect(stat(program.stateFile)).rejects.toThrow(/ENOENT/);
  });

  test("reads other stacks' outputs; secrets stay secret", async () => {
    await program.up(CERTIFICATE, {}, "demo-trust");
    const result = await program.up(
      `const trust = new pulumi.StackReference("organization/isthmus/demo-trust");
       export const pem = trust.getOutput("pem");
       export const length = trust.requireOutput("secretKey").apply((key) => key.length);`,
    );
    expect(result.outputs.pem).toMatch(/BEGIN CERTIFICATE/);
    expect(result.outputs.length).toEqual(secret(expect.any(Number) as never));
  });

  test("reads a stack that is not there as unknown in preview, and by name as an error in an up", async () => {
    const reader = `const other = new pulumi.StackReference("demo-none");
      export const value = other.getOutput("x");`;
    expect((await program.preview(reader)).outputs).toEqual({ value: UNKNOWN });
    expect((await failure(program.up(reader))).message).toMatch(
      /the stack "demo-none", whose outputs demo-a reads, has not been brought up yet.*isthmus up/,
    );
  });

  test("sees what the previews before it planned, each output for itself", async () => {
    const planned = new Map([
      ["demo-trust", { known: { a: [1] }, made: UNKNOWN, key: secret("s-e-c-r-e-t") }],
    ]);
    const { outputs } = await program.preview(
      `export const known = plannedOutput("demo-trust", "known");
       export const made = plannedOutput("demo-trust", "made");
       export const key = plannedOutput("demo-trust", "key");
       export const absent = plannedOutput("demo-trust", "absent");
       export const asked = plannedOutput("demo-other", "known") === undefined;`,
      { planned },
    );
    expect(outputs).toEqual({
      known: { a: [1] },
      made: UNKNOWN,
      key: secret("s-e-c-r-e-t"),
      absent: UNKNOWN,
      asked: true,
    });
  });

  test("keeps what was at a path that it ignores", async () => {
    const cert = (name: string, more: string) => `${KEY}
      new tls.SelfSignedCert("certificate", {
        privateKeyPem: key.privateKeyPem, subject: { commonName: "${name}" }, allowedUses: [], validityPeriodHours: 24,
      }, ${more});`;
    await program.up(cert("first", "{}"));
    const ignoring = await program.up(cert("second", `{ ignoreChanges: ["subject.commonName"] }`));
    expect(ignoring.changes).toMatchObject({ replace: 0, same: 2 });
    const result = await program.preview(cert("second", "{}"));
    expect(result.resources).toMatchObject([{ op: "replace", diff: ["subject.commonName"] }]);
  });

  test("renames a resource with an alias, without making it anew", async () => {
    await program.up(`${KEY} export const k = key.privateKeyPem;`);
    const renamed = await program.up(
      `const key = new tls.PrivateKey("renamed", { algorithm: "ECDSA", ecdsaCurve: "P256" }, { aliases: [{ name: "key" }] });
       export const k = key.privateKeyPem;`,
    );
    expect(renamed.changes).toMatchObject({ create: 0, delete: 0, same: 1 });
    expect(renamed.resources).toEqual([]);
  });

  test("does not delete what is protected, and deletes nothing else either", async () => {
    await program.up(
      `new tls.PrivateKey("kept", { algorithm: "ECDSA", ecdsaCurve: "P256" }, { protect: true });
       new tls.PrivateKey("other", { algorithm: "ECDSA", ecdsaCurve: "P256" });`,
    );
    expect((await failure(program.destroy())).message).toMatch(
      /PrivateKey::kept is protected and would be deleted/,
    );
    const engine = await program.engine("");
    const { resources } = await engine.previewDestroy("demo-a").catch((error: StackError) => error.result);
    expect(resources).toEqual([]);
    expect(await readFile(program.stateFile, "utf8")).toContain("PrivateKey::other");
  });

  test("does not replace what is protected, and says so in a preview already", async () => {
    const key = (curve: string) =>
      `new tls.PrivateKey("kept", { algorithm: "ECDSA", ecdsaCurve: "${curve}" }, { protect: true });`;
    await program.up(key("P256"));
    expect((await failure(program.preview(key("P384")))).message).toMatch(
      /it is protected and would have to be replaced, as ecdsaCurve changed/,
    );
  });

  test("keeps its state encrypted when there is a passphrase, and gives the passphrase to no program", async () => {
    const variables = `${CERTIFICATE}
      export const seen = process.env.ISTHMUS_PASSPHRASE ?? process.env.PULUMI_CONFIG_PASSPHRASE ?? "nothing";`;
    process.env.ISTHMUS_PASSPHRASE = "open sesame";
    try {
      const { outputs } = await program.up(variables);
      expect(outputs.seen).toBe("nothing");
      expect(await readFile(program.stateFile, "utf8")).not.toMatch(/PRIVATE KEY|PrivateKey/);
      expect((await program.up(variables)).changes.same).toBe(2);
    } finally {
      delete process.env.ISTHMUS_PASSPHRASE;
    }
  });
});

describe("a program that fails", () => {
  test.each([
    ["by throwing", `throw new Error("clusters[0].name is missing");`, "clusters[0].name is missing"],
    ["inside apply", `${KEY} key.id.apply(() => { throw new Error("no such thing"); });`, "no such thing"],
    ["by saying so", `pulumi.log.error("this cannot be");`, "this cannot be"],
  ])("%s is told by its message alone", async (_, body, message) => {
    expect((await failure(program.up(body))).message).toBe(message);
  });

  test("deletes nothing of what it has not come to", async () => {
    await program.up(KEY);
    await failure(program.up(`throw new Error("early");`));
    expect((await program.up(KEY)).changes).toMatchObject({ create: 0, same: 1 });
  });
});

describe("what the engine does not know is refused by name:", () => {
  test.each([
    [
      "a resource of another package",
      `new pulumi.CustomResource("aws:s3/bucket:Bucket", "b", {});`,
      /not aws:s3\/bucket:Bucket/,
    ],
    ["import", `${KEY.replace("});", `}, { import: "x" });`)}`, /PrivateKey "key" uses import/],
    [
      "replacementTrigger",
      `${KEY.replace("});", `}, { replacementTrigger: 1 });`)}`,
      /uses replacementTrigger/,
    ],
    [
      "a function",
      `await tls.getPublicKey({ privateKeyPem: "x" });`,
      /the function tls:index\/getPublicKey:getPublicKey/,
    ],
    ["the same name twice", `${KEY} { ${KEY} }`, /registers .*PrivateKey::key twice/],
    [
      "a setting of a provider",
      `new k8s.Provider("p", { renderYamlToDirectory: "x" });`,
      /provider setting renderYamlToDirectory/,
    ],
  ])("%s", async (_, body, message) => {
    expect((await failure(program.preview(body))).message).toMatch(message);
  });
});
