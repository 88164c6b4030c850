/** The end of a run: what is not wanted any more goes, in the order in which it can. */
import { Limit } from "../limit.ts";
import type { Ledger } from "./ledger.ts";
import type { Work } from "./provider.ts";
import type { ProviderSet } from "./providers.ts";
import { goesWith, hasObject, inDeletionOrder, refusal } from "./prune.ts";
import type { ResourceState } from "./state/state.ts";

/** @throws ResourceFailure of the first that could not be deleted; all that did not need it are gone by then. */
export async function deleteAll(
  ledger: Ledger,
  providers: ProviderSet,
  preview: boolean,
  parallel: number,
  work: Work,
): Promise<void> {
  const left = ledger.left();
  const reason = refusal(left);
  if (reason !== undefined) throw new Error(reason);
  const pending = new Set(ledger.pendingDeletes);
  const doomed = [...pending, ...left];
  const limit = new Limit(parallel);

  const remove = async (resource: ResourceState): Promise<void> => {
    work.signal.throwIfAborted();
    // The old half of a replacement was counted as `replace`.
    const counted = hasObject(resource) && !pending.has(resource);
    const step = { ...ledger.step("delete", resource.urn, resource.type), counted };
    if (preview) return ledger.tell("planned", step);
    ledger.tell("started", step);
    if (hasObject(resource) && !resource.retainOnDelete && !goesWith(resource, doomed)) {
      try {
        await providers.of(resource.type).delete(resource, providers.inputsOf(resource.provider), work);
      } catch (error) {
        ledger.tellFailure(step, error);
        throw error;
      }
    }
    ledger.forget(resource);
    await ledger.save();
    ledger.tell("done", step);
  };

  const failures = await inDeletionOrder(doomed, (resource) => limit.run(() => remove(resource)));
  const first = failures[0];
  if (first !== undefined) throw ledger.failure(first.state.urn, first.error);
}
