import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { delimiter, dirname, join, resolve } from "node:path";
import { type Clock, systemClock } from "./clock.ts";
import { type Credentials, CredentialsError, type TlsMaterial } from "./credentials.ts";
import {
  type KubeconfigContext,
  type KubeconfigText,
  pemField,
  selectContext,
  textField,
} from "./kubeconfig.ts";
import { checkServer, checkTls, checkToken } from "./remote-credentials.ts";

export interface OwnClusterOptions {
  /** Kubeconfig file. @default in a pod its ServiceAccount, else `KUBECONFIG`, else `~/.kube/config` */
  kubeconfig?: string | undefined;
  /** Context of the kubeconfig. @default its current context */
  context?: string | undefined;
  /** @default `process.env` */
  env?: NodeJS.ProcessEnv;
  /** Where a pod finds its ServiceAccount. @default "/var/run/secrets/kubernetes.io/serviceaccount" */
  serviceAccountDirectory?: string;
  clock?: Clock;
}

const SERVICE_ACCOUNT_DIRECTORY = "/var/run/secrets/kubernetes.io/serviceaccount";
/** The kubelet renews a token minutes before it expires; reading the file again this often is soon enough. */
const TOKEN_REREAD_MS = 10_000;

/** The credentials for the cluster that this process belongs to. */
export async function loadOwnCluster(options: OwnClusterOptions = {}): Promise<Credentials> {
  const env = options.env ?? process.env;
  const clock = options.clock ?? systemClock;
  if (!options.kubeconfig && !options.context && env.KUBERNETES_SERVICE_HOST) {
    return await serviceAccount(env, options.serviceAccountDirectory ?? SERVICE_ACCOUNT_DIRECTORY, clock);
  }
  const paths = options.kubeconfig
    ? [options.kubeconfig]
    : env.KUBECONFIG
      ? env.KUBECONFIG.split(delimiter).filter(Boolean)
      : [join(homedir(), ".kube", "config")];
  const files = await Promise.all(paths.map(readKubeconfig));
  const context = selectContext(files, options.context);
  return needsLogin(context.user) ? await withLogin(context) : await fromContext(context, clock);
}

async function serviceAccount(env: NodeJS.ProcessEnv, directory: string, clock: Clock): Promise<Credentials> {
  const host = env.KUBERNETES_SERVICE_HOST ?? "";
  const server = `https://${host.includes(":") ? `[${host}]` : host}:${env.KUBERNETES_SERVICE_PORT ?? "443"}`;
  const tls = { ca: await readText(join(directory, "ca.crt"), "the ServiceAccount's CA") };
  checkTls(tls, directory);
  const headers = tokenFile(join(directory, "token"), clock);
  await headers();
  return { server, tls, headers };
}

async function fromContext({ origin, cluster, user }: KubeconfigContext, clock: Clock): Promise<Credentials> {
  refuseUnsupported(cluster, user, origin);
  const pem = async (from: Record<string, unknown>, key: string) => {
    const inline = pemField(from, `${key}-data`, origin);
    const path = textField(from, key, origin);
    return inline ?? (path === undefined ? undefined : await readText(path, `${origin}: ${key}`));
  };
  const ca = await pem(cluster, "certificate-authority");
  const cert = await pem(user, "client-certificate");
  const key = await pem(user, "client-key");
  const tls = tlsMaterial({ ca, cert, key, cluster, origin });
  checkTls(tls, origin);
  const server = checkServer(textField(cluster, "server", origin), origin);
  const token = checkToken(textField(user, "token", origin), origin);
  const path = textField(user, "tokenFile", origin);
  if (path !== undefined) return { server, tls, headers: tokenFile(path, clock) };
  const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` };
  return { server, tls, headers: () => Promise.resolve(headers) };
}

/**
 * Users that log in through a program or a provider (a cloud's kubeconfig): an operator's machine, never a pod. The client
 * library that knows them all is large, so it is loaded only then.
 */
async function withLogin({ origin, cluster, user }: KubeconfigContext): Promise<Credentials> {
  refuseUnsupported(cluster, user, origin);
  const { KubeConfig } = await import("./login.ts");
  const config = new KubeConfig();
  config.loadFromString(
    JSON.stringify({
      clusters: [{ name: "cluster", cluster }],
      users: [{ name: "user", user }],
      contexts: [{ name: "context", context: { cluster: "cluster", user: "user" } }],
      "current-context": "context",
    }),
  );
  const ask = async () => {
    const options: LoginResult = {};
    await config.applyToHTTPSOptions(options);
    return options;
  };
  const { ca, cert, key } = await ask();
  return {
    server: checkServer(textField(cluster, "server", origin), origin),
    tls: tlsMaterial({ ca: text(ca), cert: text(cert), key: text(key), cluster, origin }),
    headers: async () => {
      const { headers = {} } = await ask();
      return Object.fromEntries(Object.entries(headers).map(([header, value]) => [header, String(value)]));
    },
  };
}

interface LoginResult {
  ca?: unknown;
  cert?: unknown;
  key?: unknown;
  headers?: Record<string, unknown>;
}

function text(pem: unknown): string | undefined {
  return typeof pem === "string" || Buffer.isBuffer(pem) ? pem.toString() : undefined;
}

function needsLogin(user: Record<string, unknown>): boolean {
  return ["exec", "auth-provider", "username"].some((key) => Boolean(user[key]));
}

function refuseUnsupported(
  cluster: Record<string, unknown>,
  user: Record<string, unknown>,
  origin: string,
): void {
  if (cluster["proxy-url"]) throw new CredentialsError(`${origin}: proxy-url is not supported`);
  for (const key of ["as", "as-uid", "as-groups", "as-user-extra"]) {
    if (user[key]) throw new CredentialsError(`${origin}: impersonation (${key}) is not supported`);
  }
}

function tlsMaterial(from: {
  ca: string | undefined;
  cert: string | undefined;
  key: string | undefined;
  cluster: Record<string, unknown>;
  origin: string;
}): TlsMaterial {
  const { ca, cert, key, cluster, origin } = from;
  const servername = textField(cluster, "tls-server-name", origin);
  return {
    ...(ca !== undefined && { ca }),
    ...(cert !== undefined && { cert }),
    ...(key !== undefined && { key }),
    ...(servername !== undefined && { servername }),
    ...(cluster["insecure-skip-tls-verify"] === true && { rejectUnauthorized: false }),
  };
}

/** The header for a token in a file that is renewed in place. */
function tokenFile(path: string, clock: Clock): () => Promise<Record<string, string>> {
  let headers: Record<string, string> = {};
  let readAt = Number.NEGATIVE_INFINITY;
  return async () => {
    if (clock.monotonic() - readAt >= TOKEN_REREAD_MS) {
      const token = checkToken(await readText(path, "the token"), path);
      headers = { authorization: `Bearer ${token}` };
      readAt = clock.monotonic();
    }
    return headers;
  };
}

async function readKubeconfig(path: string): Promise<KubeconfigText> {
  return { text: await readText(path, "the kubeconfig"), origin: path, directory: dirname(resolve(path)) };
}

async function readText(path: string, what: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    const why = code === "ENOENT" ? "no such file" : code === "EACCES" ? "may not be read" : String(code);
    throw new CredentialsError(`cannot read ${what}, ${path}: ${why}`);
  }
}
