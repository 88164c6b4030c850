import { createHash } from "node:crypto";
import { CREDENTIALS_SECRET_KEY } from "../../../contract/index.ts";
import { CredentialsError } from "../../kube/credentials.ts";
import type { Secret } from "../../kube/objects.ts";
import { parseRemoteKubeconfig } from "../../kube/remote-credentials.ts";
import type { Access } from "../target/target.ts";
import { readToken, type TokenClaims } from "./token.ts";

/** What a credentials Secret comes to. */
export interface Reading {
  access: Access;
  /** The kubeconfig. */
  text: string;
  /** Tells the token from others; absent where there is none. */
  tokenId?: string;
  /** What the token says of itself; absent where there is none, or it says nothing. */
  claims?: TokenClaims;
}

/** By the Secret as a store holds it, which is another object after each change. */
const known = new WeakMap<Secret, Reading | CredentialsError>();

/** How to reach a target, from its credentials Secret. Throws `CredentialsError`. */
export function readCredentials(secret: Secret): Reading {
  let reading = known.get(secret);
  if (reading === undefined) {
    reading = attempt(secret);
    known.set(secret, reading);
  }
  if (reading instanceof CredentialsError) throw reading;
  return reading;
}

function attempt(secret: Secret): Reading | CredentialsError {
  try {
    return read(secret);
  } catch (error) {
    if (error instanceof CredentialsError) return error;
    throw error;
  }
}

function read(secret: Secret): Reading {
  const encoded = secret.data?.[CREDENTIALS_SECRET_KEY];
  if (encoded === undefined) throw new CredentialsError(`it has no key ${CREDENTIALS_SECRET_KEY}`);
  const text = Buffer.from(encoded, "base64").toString("utf8");
  const { credentials, token } = parseRemoteKubeconfig(text);
  const claims = token === undefined ? undefined : readToken(token);
  return {
    access: { credentials, fingerprint: digest(text) },
    text,
    ...(token !== undefined && { tokenId: digest(token) }),
    ...(claims && { claims }),
  };
}

/** Tells a text from others without showing it. */
export function digest(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
