/** The resources of the `tls` package: keys and certificates that live in the state alone. */
import { randomBytes } from "node:crypto";
import {
  markSecretProperties,
  type Properties,
  plainProperties,
  secret,
  UNKNOWN,
  type Value,
} from "../../wire.ts";
import { diffProperties } from "../diff.ts";
import type { Path } from "../paths.ts";
import type { Created, Desired, Plan, Provider } from "../provider.ts";
import type { ResourceState } from "../state/state.ts";
import { certificateRequest, locallySigned, type MadeCertificate, selfSigned } from "./certificates.ts";
import { makeKey } from "./keys.ts";

const HOUR = 3_600_000;
/** The one argument that says nothing about the certificate itself. */
const EARLY_RENEWAL = "earlyRenewalHours";

interface Kind {
  make(inputs: Properties, now: Date): Promise<Properties>;
  /** Arguments and outputs that are secret by nature. */
  secrets: string[];
}

const KINDS: Record<string, Kind> = {
  "tls:index/privateKey:PrivateKey": {
    secrets: ["privateKeyPem", "privateKeyPemPkcs8"],
    async make(inputs) {
      const curve = typeof inputs.ecdsaCurve === "string" ? inputs.ecdsaCurve : undefined;
      const bits = typeof inputs.rsaBits === "number" ? inputs.rsaBits : undefined;
      const key = await makeKey(String(inputs.algorithm), curve, bits);
      return { privateKeyPem: key.pem, privateKeyPemPkcs8: key.pkcs8, publicKeyPem: key.publicPem };
    },
  },
  "tls:index/selfSignedCert:SelfSignedCert": {
    secrets: ["privateKeyPem"],
    async make(inputs, now) {
      const certificate = await selfSigned(inputs, now);
      return { ...certificateOutputs(certificate), keyAlgorithm: certificate.algorithm };
    },
  },
  "tls:index/certRequest:CertRequest": {
    secrets: ["privateKeyPem"],
    async make(inputs) {
      const request = await certificateRequest(inputs);
      return { certRequestPem: request.pem, keyAlgorithm: request.algorithm };
    },
  },
  "tls:index/locallySignedCert:LocallySignedCert": {
    secrets: ["caPrivateKeyPem"],
    async make(inputs, now) {
      const certificate = await locallySigned(inputs, now);
      return { ...certificateOutputs(certificate), caKeyAlgorithm: certificate.algorithm };
    },
  },
};

const WRITE_ONLY = ["privateKeyPemWo", "caPrivateKeyPemWo"];

export class TlsProvider implements Provider {
  readonly #now: () => Date;

  /** @param now Whole seconds are used of it, as certificates have no finer time. */
  constructor(now: () => Date = () => new Date()) {
    this.#now = now;
  }

  configure(inputs: Properties): void {
    const names = Object.keys(inputs).filter((name) => name !== "version");
    if (names.length > 0)
      throw new Error(`the tls provider of the embedded engine takes no ${names.join(", ")}`);
  }

  async plan(desired: Desired, old: ResourceState | undefined): Promise<Plan> {
    const kind = kindOf(desired.type);
    const refused = WRITE_ONLY.filter((name) => desired.inputs[name] !== undefined);
    if (refused.length > 0)
      throw new Error(`${refused.join(", ")}: the embedded engine knows no write-only arguments`);
    const known = markSecretProperties({ ...desired.inputs }, kind.secrets);
    // What is yet to be made is not known, but it is known to be secret.
    const outputs = { ...unknownSecrets(kind), ...known };
    if (old === undefined) return { op: "create", diff: [], outputs };
    const diff = diffProperties(old.inputs, desired.inputs);
    const kept = { ...old.outputs, ...known };
    if (diff.length === 0) {
      // Pulumi's provider calls it so: what has to be renewed counts as gone.
      const due: Path[] = isDue(kept, this.#now()) ? [["readyForRenewal"]] : [];
      return due.length > 0 ? { op: "replace", diff: due, outputs } : { op: "same", diff, outputs: kept };
    }
    if (diff.every((path) => path[0] === EARLY_RENEWAL)) {
      if (isDue(kept, this.#now())) return { op: "replace", diff, outputs };
      return { op: "update", diff, outputs: kept };
    }
    return { op: "replace", diff, outputs };
  }

  async create(desired: Desired): Promise<Created> {
    const kind = kindOf(desired.type);
    const now = new Date(Math.floor(this.#now().getTime() / 1000) * 1000);
    const made = await kind.make(plainProperties(desired.inputs), now);
    const outputs = markSecretProperties({ ...desired.inputs, ...made }, kind.secrets);
    return { id: randomBytes(20).toString("hex"), outputs };
  }

  /** Only the time of renewal changes in place: the certificate stays. */
  async update(desired: Desired, old: ResourceState): Promise<Created> {
    const outputs = { ...old.outputs, ...desired.inputs };
    return { id: old.id, outputs: markSecretProperties(outputs, kindOf(desired.type).secrets) };
  }

  async delete(): Promise<void> {
    // There is nothing outside of the state.
  }

  async read(type: string): Promise<Properties> {
    throw new Error(`${type} cannot be read: it is nowhere but in the state of its own stack`);
  }
}

function kindOf(type: string): Kind {
  const kind = KINDS[type];
  if (kind === undefined) {
    throw new Error(`the embedded engine knows ${Object.keys(KINDS).join(", ")}, not ${type}`);
  }
  return kind;
}

function unknownSecrets(kind: Kind): Properties {
  return Object.fromEntries(kind.secrets.map((name) => [name, secret(UNKNOWN)]));
}

function certificateOutputs(certificate: MadeCertificate): Properties {
  return {
    certPem: certificate.pem,
    validityStartTime: certificate.notBefore.toISOString(),
    validityEndTime: certificate.notAfter.toISOString(),
    readyForRenewal: false,
  };
}

function isDue(outputs: Properties, now: Date): boolean {
  const end: Value | undefined = outputs.validityEndTime;
  if (typeof end !== "string") return false;
  const early = typeof outputs[EARLY_RENEWAL] === "number" ? outputs[EARLY_RENEWAL] : 0;
  return now.getTime() >= Date.parse(end) - early * HOUR;
}
