import { isAbsolute, join } from "node:path";
import { parseDocument } from "yaml";
import { CredentialsError } from "./credentials.ts";

/** The parts of a kubeconfig that one context names, with paths made absolute. Other keys of both are kept as they are. */
export interface KubeconfigContext {
  /** For messages: where it was read, and the context's name. */
  origin: string;
  cluster: Record<string, unknown>;
  user: Record<string, unknown>;
}

/** One file of a kubeconfig. `directory` is where its relative paths start. */
export interface KubeconfigText {
  text: string;
  /** For messages: a path, or what else the text is. */
  origin: string;
  directory?: string;
}

interface Named {
  value: Record<string, unknown>;
  origin: string;
}

const CLUSTER_PATHS = ["certificate-authority"];
const USER_PATHS = ["client-certificate", "client-key", "tokenFile"];

/**
 * The cluster and user of a context, out of one or several files: as with kubectl, the first file that defines a name wins.
 * @param wanted the context's name; absent: the first `current-context`
 */
export function selectContext(files: readonly KubeconfigText[], wanted?: string): KubeconfigContext {
  const clusters = new Map<string, Named>();
  const users = new Map<string, Named>();
  const contexts = new Map<string, Named>();
  let current = wanted;
  const origin = files.map((file) => file.origin).join(", ");
  for (const file of files) {
    const config = parse(file);
    collect(clusters, config, "clusters", "cluster", file, CLUSTER_PATHS);
    collect(users, config, "users", "user", file, USER_PATHS);
    collect(contexts, config, "contexts", "context", file, []);
    const own = config["current-context"];
    if (!current && typeof own === "string") current = own;
  }
  if (!current) throw new CredentialsError(`${origin}: no current-context, and no context was asked for`);
  const context = contexts.get(current);
  if (!context) {
    const known = [...contexts.keys()].map((name) => JSON.stringify(name)).join(", ") || "none";
    throw new CredentialsError(`${origin}: no context ${JSON.stringify(current)}; there are: ${known}`);
  }
  const where = `${context.origin}, context ${JSON.stringify(current)}`;
  const find = (in_: Map<string, Named>, kind: "cluster" | "user") => {
    const name = context.value[kind];
    const found = typeof name === "string" ? in_.get(name) : undefined;
    if (!found) throw new CredentialsError(`${where}: no ${kind} ${JSON.stringify(name ?? "")}`);
    return found.value;
  };
  return { origin: where, cluster: find(clusters, "cluster"), user: find(users, "user") };
}

/** A field that must be text where it is given. An empty one counts as absent. */
export function textField(from: Record<string, unknown>, key: string, origin: string): string | undefined {
  const value = from[key];
  if (value === undefined || value === null || value === "") return undefined;
  if (typeof value !== "string") throw new CredentialsError(`${origin}: ${key} is no text`);
  return value;
}

/** A field of base64 with PEM inside. */
export function pemField(from: Record<string, unknown>, key: string, origin: string): string | undefined {
  const value = textField(from, key, origin);
  if (value === undefined) return undefined;
  const pem = Buffer.from(value, "base64").toString("utf8");
  if (!pem.includes("-----BEGIN ")) throw new CredentialsError(`${origin}: ${key} is no PEM in base64`);
  return pem;
}

function parse(file: KubeconfigText): Record<string, unknown> {
  // A parser's message may quote the text, which holds secrets: only the line is told.
  let document: ReturnType<typeof parseDocument>;
  try {
    document = parseDocument(file.text, { logLevel: "silent" });
  } catch {
    throw new CredentialsError(`${file.origin}: not YAML: it cannot be read`);
  }
  const problem = document.errors[0];
  if (problem) {
    const line = problem.linePos ? ` (line ${problem.linePos[0].line})` : "";
    throw new CredentialsError(`${file.origin}: not YAML${line}: ${problem.code}`);
  }
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: 10 });
  } catch {
    throw new CredentialsError(`${file.origin}: its YAML aliases cannot be resolved`);
  }
  if (!isRecord(value)) throw new CredentialsError(`${file.origin}: no kubeconfig: it is not a mapping`);
  return value;
}

function collect(
  into: Map<string, Named>,
  config: Record<string, unknown>,
  list: string,
  item: string,
  file: KubeconfigText,
  paths: readonly string[],
): void {
  const entries = config[list] ?? [];
  if (!Array.isArray(entries)) throw new CredentialsError(`${file.origin}: ${list} is no list`);
  for (const entry of entries) {
    if (!isRecord(entry) || typeof entry.name !== "string") {
      throw new CredentialsError(`${file.origin}: an entry of ${list} has no name`);
    }
    if (into.has(entry.name)) continue;
    const value = isRecord(entry[item]) ? { ...entry[item] } : {};
    for (const key of paths) {
      const path = value[key];
      if (typeof path === "string" && path !== "" && !isAbsolute(path) && file.directory !== undefined) {
        value[key] = join(file.directory, path);
      }
    }
    into.set(entry.name, { value, origin: file.origin });
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
