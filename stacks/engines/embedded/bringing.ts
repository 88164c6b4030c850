/** From a plan to the object: creates, updates and replaces, and remembers each step before the next. */
import { markSecretProperties } from "../wire.ts";
import { formatPaths } from "./diff.ts";
import type { Ledger } from "./ledger.ts";
import { isWithin } from "./paths.ts";
import {
  type Created,
  type Desired,
  IncompleteError,
  type Plan,
  type Provider,
  type Work,
} from "./provider.ts";
import type { Registration } from "./registration.ts";
import type { ResourceState } from "./state/state.ts";

export class Bringing {
  readonly #preview: boolean;
  readonly #ledger: Ledger;
  readonly #work: Work;

  constructor(preview: boolean, ledger: Ledger, work: Work) {
    this.#preview = preview;
    this.#ledger = ledger;
    this.#work = work;
  }

  async plan(provider: Provider, desired: Desired, old: ResourceState | undefined): Promise<Plan> {
    const plan = await provider.plan(desired, old, this.#preview, this.#work);
    if (plan.op === "same" && old?.incomplete === true) return { ...plan, op: "update" };
    const asked = plan.diff.some((path) =>
      desired.replaceOnChanges.some((pattern) => isWithin(path, pattern)),
    );
    const replace = plan.op === "replace" || (plan.op === "update" && asked);
    if (replace && old?.protect === true) {
      throw new Error(
        `it is protected and would have to be replaced, as ${formatPaths(plan.diff).join(", ")} changed. ` +
          "Take `protect` off in the program and bring the stack up, then try again",
      );
    }
    return replace ? { ...plan, op: "replace" } : plan;
  }

  /** @throws Error; what was done until then is remembered */
  async about(
    provider: Provider,
    plan: Plan,
    desired: Desired,
    state: ResourceState,
    old: ResourceState | undefined,
    registration: Registration,
  ): Promise<void> {
    const ledger = this.#ledger;
    const work = this.#work;
    const finish = (created: Created, incomplete: boolean) => {
      state.id = created.id;
      state.outputs = markSecretProperties(created.outputs, registration.additionalSecretOutputs);
      if (incomplete) state.incomplete = true;
      else delete state.incomplete;
      ledger.keep(state);
    };
    const bring = async (create: () => Promise<Created>) => {
      try {
        finish(await create(), false);
      } catch (error) {
        if (error instanceof IncompleteError) finish(error.created, true);
        else if (plan.op !== "update") ledger.forget(state);
        throw error;
      } finally {
        await ledger.save();
      }
    };
    const createNew = async () => {
      if (plan.id !== undefined) {
        // Remembered before it is made: a run that is killed in between still knows what it may have left behind.
        Object.assign(state, { id: plan.id, incomplete: true });
        ledger.keep(state);
        await ledger.save();
      }
      await bring(() => provider.create(desired, work));
    };
    const replaceOld = async (former: ResourceState, deleteFirst: boolean) => {
      if (deleteFirst || registration.deleteBeforeReplace) {
        if (!former.retainOnDelete) await provider.delete(former, desired.provider, work);
        await createNew();
      } else {
        await createNew();
        if (!former.retainOnDelete) ledger.deleteLater(former);
        await ledger.save();
      }
    };
    switch (plan.op) {
      case "same":
        return finish({ id: state.id, outputs: plan.outputs }, false);
      case "create":
        return createNew();
      case "replace":
        return replaceOld(old as ResourceState, plan.deleteFirst ?? false);
      case "update":
        return bring(() => provider.update(desired, old as ResourceState, work));
    }
  }
}
