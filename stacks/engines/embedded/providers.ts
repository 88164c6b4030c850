/** The providers of a deployment, and the settings that its provider resources carry. */
import { packageOf } from "../urn.ts";
import type { Properties } from "../wire.ts";
import type { Provider } from "./provider.ts";
import type { ResourceState } from "./state/state.ts";

export class ProviderSet {
  readonly #providers: ReadonlyMap<string, Provider>;
  readonly #stateOf: (urn: string) => ResourceState | undefined;

  constructor(providers: ReadonlyMap<string, Provider>, stateOf: (urn: string) => ResourceState | undefined) {
    this.#providers = providers;
    this.#stateOf = stateOf;
  }

  /** @throws Error when no provider of the embedded engine handles the type. */
  of(type: string): Provider {
    const provider = this.#providers.get(packageOf(type));
    if (provider === undefined) {
      const known = [...this.#providers.keys()].join(" and ");
      throw new Error(
        `the embedded engine handles resources of ${known}, not ${type}. ` +
          "Use the Pulumi CLI for this program (--engine pulumi)",
      );
    }
    return provider;
  }

  /** What previews could not check before all of the program was seen. */
  warnings(): string[] {
    return [...this.#providers.values()].flatMap((provider) => provider.warnings?.() ?? []);
  }

  /** @param reference `<urn>::<id>` of a provider resource; empty: the default provider, without settings. */
  inputsOf(reference: string): Properties {
    if (reference === "") return {};
    const urn = reference.slice(0, reference.lastIndexOf("::"));
    const state = this.#stateOf(urn);
    if (state === undefined)
      throw new Error(`its provider ${urn} is neither in the program nor in the state`);
    return state.inputs;
  }
}
