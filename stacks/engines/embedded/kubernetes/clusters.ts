/** The clusters that a deployment's provider resources name, each with one client. */
import { type Properties, plainProperties } from "../../wire.ts";
import { Client } from "./client.ts";
import { Discovery } from "./discovery.ts";

export interface Cluster {
  client: Client;
  discovery: Discovery;
}

/** Settings that are understood, with the values that are; any value where none are listed. */
const SETTINGS: Record<string, readonly string[] | undefined> = {
  kubeconfig: undefined,
  context: undefined,
  namespace: undefined,
  cluster: undefined,
  clusterIdentifier: undefined,
  version: undefined,
  deleteUnreachable: undefined,
  enablePatchForce: undefined,
  suppressDeprecationWarnings: undefined,
  suppressHelmHookWarnings: undefined,
  // What the embedded engine does anyway.
  enableServerSideApply: ["true"],
  enableConfigMapMutable: ["true"],
  enableSecretMutable: ["true"],
  upsertExistingObjects: ["true"],
};

/** @throws Error naming the settings that the embedded engine does not know */
export function checkSettings(settings: Properties): void {
  for (const [name, value] of Object.entries(settings)) {
    if (!(name in SETTINGS))
      throw new Error(`the embedded engine does not know the provider setting ${name}`);
    const allowed = SETTINGS[name];
    if (allowed !== undefined && !allowed.includes(String(value))) {
      throw new Error(
        `provider setting ${name} is ${String(value)}; the embedded engine allows ${allowed.join(", ")} only`,
      );
    }
  }
}

export class Clusters {
  readonly #clusters = new Map<string, Cluster>();

  /** @param settings inputs of a provider resource; empty: the default provider. @throws Error */
  of(settings: Properties): Cluster {
    const { kubeconfig, context, namespace } = plainProperties(settings);
    const key = JSON.stringify([kubeconfig, context, namespace]);
    let cluster = this.#clusters.get(key);
    if (cluster === undefined) {
      const client = new Client(text(kubeconfig), text(context), text(namespace));
      cluster = { client, discovery: new Discovery(client) };
      this.#clusters.set(key, cluster);
    }
    return cluster;
  }
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}
