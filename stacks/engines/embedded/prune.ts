/** In which order resources go: whoever depends on another goes before it, and what is independent goes at once. Pure. */
import { isProviderType } from "../urn.ts";
import type { ResourceState } from "./state/state.ts";

/** For each resource the URNs, among those to be deleted, that have to be gone before it. */
export function deletionOrder(doomed: readonly ResourceState[]): Map<ResourceState, ResourceState[]> {
  const byUrn = new Map<string, ResourceState[]>();
  for (const state of doomed) byUrn.set(state.urn, [...(byUrn.get(state.urn) ?? []), state]);
  const before = new Map<ResourceState, ResourceState[]>(doomed.map((state) => [state, []]));
  for (const state of doomed) {
    for (const needed of needs(state)) {
      for (const target of byUrn.get(needed) ?? []) if (target !== state) before.get(target)?.push(state);
    }
  }
  return before;
}

/** Everything that has to outlive a resource: parent, dependencies, provider, and what it is deleted with. */
export function needs(state: ResourceState): string[] {
  const provider = state.provider.split("::").slice(0, -1).join("::");
  return [state.parent, ...state.dependencies, provider, state.deletedWith ?? ""].filter((urn) => urn !== "");
}

/**
 * Runs `remove` for every resource in that order; what depends on a failed deletion is left alone.
 * @returns the failures
 */
export async function inDeletionOrder(
  doomed: readonly ResourceState[],
  remove: (state: ResourceState) => Promise<void>,
): Promise<{ state: ResourceState; error: unknown }[]> {
  const failures: { state: ResourceState; error: unknown }[] = [];
  const order = deletionOrder(doomed);
  const gone = new Map<ResourceState, Promise<boolean>>();
  const goneOf = (state: ResourceState): Promise<boolean> => {
    const known = gone.get(state);
    if (known !== undefined) return known;
    const going = (async () => {
      const before = await Promise.all((order.get(state) ?? []).map(goneOf));
      if (before.includes(false)) return false;
      try {
        await remove(state);
        return true;
      } catch (error) {
        failures.push({ state, error });
        return false;
      }
    })();
    gone.set(state, going);
    return going;
  };
  await Promise.all(doomed.map(goneOf));
  return failures;
}

/** Why these must not be deleted, if there is a reason. */
export function refusal(doomed: readonly ResourceState[]): string | undefined {
  const kept = doomed.filter((state) => state.protect === true);
  if (kept.length === 0) return undefined;
  return (
    `${kept.map((state) => state.urn).join(", ")} ${kept.length === 1 ? "is" : "are"} protected and would be deleted. ` +
    "Nothing was deleted. Take `protect` off in the program and bring the stack up, then try again"
  );
}

/** Whether its object need not be deleted by itself, as another one takes it along. */
export function goesWith(state: ResourceState, doomed: readonly ResourceState[]): boolean {
  return (
    state.deletedWith !== undefined &&
    doomed.some((other) => other.urn === state.deletedWith && !other.retainOnDelete)
  );
}

/** Whether deleting it does something outside of the state. */
export function hasObject(state: ResourceState): boolean {
  return state.custom && !isProviderType(state.type);
}
