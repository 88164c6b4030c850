import { X509Certificate } from "node:crypto";
import { createSecureContext } from "node:tls";
import { type Credentials, CredentialsError, type TlsMaterial } from "./credentials.ts";
import { pemField, selectContext, textField } from "./kubeconfig.ts";

const CLUSTER_KEYS = new Set(["server", "certificate-authority-data", "tls-server-name", "extensions"]);
const USER_KEYS = new Set(["token", "client-certificate-data", "client-key-data", "extensions"]);

/** Why a key that kubectl would honour is refused here. */
const REFUSED: Record<string, string> = {
  exec: "it would run a program of the Secret's choice",
  "auth-provider": "it would run a program or call a server of the Secret's choice",
  tokenFile: "it names a file of this pod; give the token itself",
  "client-certificate": "it names a file of this pod; give client-certificate-data",
  "client-key": "it names a file of this pod; give client-key-data",
  "certificate-authority": "it names a file of this pod; give certificate-authority-data",
  "insecure-skip-tls-verify": "the token would go to whoever answers; give certificate-authority-data",
  "proxy-url": "proxies are not supported",
  username: "API servers take tokens and client certificates",
  password: "API servers take tokens and client certificates",
};

/** A kubeconfig is a few thousand bytes; what takes long to read would hold up everything else. */
export const MAX_KUBECONFIG_BYTES = 65_536;

/** What a credentials Secret holds. */
export interface RemoteKubeconfig {
  credentials: Credentials;
  /** The bearer token, where the user has one. */
  token: string | undefined;
}

/**
 * The credentials in a credentials Secret: a kubeconfig whose current context has an `https` server and a token or a client
 * certificate, everything written out. What comes in such a Secret is not trusted: whatever would make this process run a
 * program, read a file, or talk without TLS is refused, and so is every key that is not known.
 * @throws CredentialsError that names the key
 */
export function parseRemoteKubeconfig(text: string): RemoteKubeconfig {
  if (text.length > MAX_KUBECONFIG_BYTES) {
    throw new CredentialsError(`kubeconfig: it is longer than ${MAX_KUBECONFIG_BYTES} bytes`);
  }
  const { origin, cluster, user } = selectContext([{ text, origin: "kubeconfig" }]);
  refuseUnknown(cluster, CLUSTER_KEYS, origin, "cluster");
  refuseUnknown(user, USER_KEYS, origin, "user");

  const server = checkServer(textField(cluster, "server", origin), origin);
  const ca = pemField(cluster, "certificate-authority-data", origin);
  const servername = textField(cluster, "tls-server-name", origin);
  if (servername !== undefined && !/^[A-Za-z0-9_.:-]{1,253}$/.test(servername)) {
    throw new CredentialsError(`${origin}: tls-server-name ${JSON.stringify(servername)} is no host name`);
  }
  const token = checkToken(textField(user, "token", origin), origin);
  const cert = pemField(user, "client-certificate-data", origin);
  const key = pemField(user, "client-key-data", origin);
  if ((cert === undefined) !== (key === undefined)) {
    throw new CredentialsError(
      `${origin}: client-certificate-data and client-key-data go together, one is missing`,
    );
  }
  if (token === undefined && cert === undefined) {
    throw new CredentialsError(`${origin}: neither a token nor a client certificate`);
  }
  const tls: TlsMaterial = {
    ...(ca !== undefined && { ca }),
    ...(cert !== undefined && { cert }),
    ...(key !== undefined && { key }),
    ...(servername !== undefined && { servername }),
  };
  checkTls(tls, origin);
  const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` };
  return { credentials: { server, tls, headers: () => Promise.resolve(headers) }, token };
}

/** The URL of an API server: `https`, without a user, query or fragment. */
export function checkServer(server: string | undefined, origin: string): string {
  if (server === undefined) throw new CredentialsError(`${origin}: the cluster has no server`);
  const url = URL.canParse(server) ? new URL(server) : undefined;
  if (!url) throw new CredentialsError(`${origin}: server ${JSON.stringify(server)} is no URL`);
  if (url.protocol !== "https:") {
    throw new CredentialsError(`${origin}: server ${JSON.stringify(server)} is not https: tokens need TLS`);
  }
  if (url.username || url.password || url.search || url.hash) {
    throw new CredentialsError(`${origin}: server may only have a host, a port and a path`);
  }
  return server.replace(/\/+$/, "");
}

/** A token goes into a header: what cannot stand there is refused before a request fails on it. */
export function checkToken(token: string | undefined, origin: string): string | undefined {
  const trimmed = token?.trim();
  if (trimmed !== undefined && !/^[\x21-\x7e]+$/.test(trimmed)) {
    throw new CredentialsError(`${origin}: the token has characters that no token has`);
  }
  return trimmed;
}

/** Whether TLS can be set up with these: well-formed, and the key that of the certificate. */
export function checkTls(tls: TlsMaterial, origin: string): void {
  try {
    // An authority that cannot be read would only be missed, as an unknown signer of the server's certificate.
    const authorities = tls.ca?.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g);
    if (tls.ca !== undefined && !authorities) throw new Error("no certificate");
    for (const pem of authorities ?? []) new X509Certificate(pem);
    createSecureContext({ ca: tls.ca, cert: tls.cert, key: tls.key });
  } catch (error) {
    const code = (error as { code?: string }).code ?? "unreadable";
    throw new CredentialsError(`${origin}: the certificates or the key cannot be used (${code})`);
  }
}

function refuseUnknown(
  from: Record<string, unknown>,
  known: ReadonlySet<string>,
  origin: string,
  part: string,
): void {
  for (const [key, value] of Object.entries(from)) {
    if (known.has(key) || value === undefined || value === null || value === "" || value === false) continue;
    throw new CredentialsError(
      `${origin}: ${part}.${key} is refused: ${REFUSED[key] ?? "it is not supported"}`,
    );
  }
}
