/** What the previews of this run would create, so that others' objects may already count on it. */
import { isObject } from "../../wire.ts";
import type { Client } from "./client.ts";
import type { Manifest } from "./manifest.ts";

export class Foreseen {
  readonly #namespaces = new Set<string>();
  readonly #kinds = new Set<string>();
  readonly #missing = new Map<string, { known: () => boolean; text: string }>();

  /** An object would be created: a namespace or a definition lets more come after it. */
  create(client: Client, manifest: Manifest): void {
    if (manifest.kind === "Namespace") this.#namespaces.add(key(client, manifest.name));
    if (manifest.kind !== "CustomResourceDefinition") return;
    const spec = manifest.object.spec as
      | { group?: string; names?: { kind?: string }; versions?: unknown[] }
      | undefined;
    for (const version of spec?.versions ?? []) {
      if (!isObject(version)) continue;
      this.#kinds.add(key(client, `${spec?.group}/${String(version.name)} ${spec?.names?.kind}`));
    }
  }

  missingNamespace(client: Client, namespace: string): void {
    this.#missing.set(key(client, namespace), {
      known: () => this.#namespaces.has(key(client, namespace)),
      text: `cluster ${client.name} has no namespace "${namespace}", and no stack previewed so far makes it`,
    });
  }

  missingKind(client: Client, apiVersion: string, kind: string): void {
    const name = key(client, `${apiVersion} ${kind}`);
    this.#missing.set(name, {
      known: () => this.#kinds.has(name),
      text: `cluster ${client.name} knows no ${kind} of ${apiVersion}, and no stack previewed so far defines it`,
    });
  }

  /** What is missing for good, as far as the previews say. Each is told once. */
  warnings(): string[] {
    const texts = [...this.#missing.values()].filter(({ known }) => !known()).map(({ text }) => text);
    this.#missing.clear();
    return texts;
  }
}

function key(client: Client, name: string): string {
  return `${client.server} ${name}`;
}
