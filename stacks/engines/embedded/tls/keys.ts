/** Private keys: made, written as PEM, and turned into what signs. */
import { createPrivateKey, createPublicKey, generateKeyPair, type KeyObject, webcrypto } from "node:crypto";
import { promisify } from "node:util";

const CURVES = { P256: "P-256", P384: "P-384", P521: "P-521" } as const;
const HASHES = { "P-256": "SHA-256", "P-384": "SHA-384", "P-521": "SHA-512" } as const;
const OPENSSL_CURVES: Record<string, keyof typeof HASHES> = {
  prime256v1: "P-256",
  secp384r1: "P-384",
  secp521r1: "P-521",
};
const RSA_BITS = 2048;
const makePair = promisify(generateKeyPair);

export interface MadeKey {
  /** SEC 1 (ECDSA) or PKCS #1 (RSA). */
  pem: string;
  pkcs8: string;
  publicPem: string;
}

/** @throws Error naming what is not supported */
export async function makeKey(
  algorithm: string,
  curve: string | undefined,
  bits: number | undefined,
): Promise<MadeKey> {
  const { privateKey, publicKey } = await makeKeyPair(algorithm, curve, bits);
  return {
    pem: privateKey.export({ format: "pem", type: algorithm === "RSA" ? "pkcs1" : "sec1" }).toString(),
    pkcs8: privateKey.export({ format: "pem", type: "pkcs8" }).toString(),
    publicPem: publicKey.export({ format: "pem", type: "spki" }).toString(),
  };
}

function makeKeyPair(algorithm: string, curve: string | undefined, bits: number | undefined) {
  if (algorithm === "RSA") return makePair("rsa", { modulusLength: bits ?? RSA_BITS });
  if (algorithm !== "ECDSA") {
    throw new Error(`algorithm is ${algorithm}; the embedded engine makes keys of ECDSA and RSA`);
  }
  const named = CURVES[curve as keyof typeof CURVES];
  if (named === undefined) {
    throw new Error(
      `ecdsaCurve is ${curve ?? "not given"}; it must be one of ${Object.keys(CURVES).join(", ")}`,
    );
  }
  return makePair("ec", { namedCurve: named });
}

export interface SigningPair {
  keys: webcrypto.CryptoKeyPair;
  signingAlgorithm: { name: string; hash: string };
  /** `ECDSA` or `RSA`. */
  algorithm: string;
}

/** The key pair of a PEM private key, able to sign. @throws Error */
export async function signingPair(pem: string): Promise<SigningPair> {
  const key = parse(pem);
  const algorithm = webAlgorithm(key);
  const { subtle } = webcrypto;
  const pkcs8 = key.export({ format: "der", type: "pkcs8" });
  const spki = createPublicKey(key).export({ format: "der", type: "spki" });
  const privateKey = await subtle.importKey("pkcs8", pkcs8, algorithm.import, true, ["sign"]);
  const publicKey = await subtle.importKey("spki", spki, algorithm.import, true, ["verify"]);
  return { keys: { privateKey, publicKey }, signingAlgorithm: algorithm.sign, algorithm: algorithm.name };
}

function parse(pem: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch {
    // The cause may quote the key.
    throw new Error("privateKeyPem is not a private key in PEM form");
  }
}

function webAlgorithm(key: KeyObject) {
  if (key.asymmetricKeyType === "rsa") {
    const algorithm = { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" };
    return { name: "RSA", import: algorithm, sign: algorithm };
  }
  const namedCurve = OPENSSL_CURVES[key.asymmetricKeyDetails?.namedCurve ?? ""];
  if (key.asymmetricKeyType !== "ec" || namedCurve === undefined) {
    throw new Error("the private key is neither RSA nor ECDSA on P-256, P-384 or P-521");
  }
  return {
    name: "ECDSA",
    import: { name: "ECDSA", namedCurve },
    sign: { name: "ECDSA", hash: HASHES[namedCurve] },
  };
}
