/** From a plan to the object: creates, updates and replaces, and remembers each step before the next. */
import { markSecretProperties } from "../wire.ts";
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

export interface BringingOptions {
  preview: boolean;
  work: Work;
  /** Puts the resource's state in the place of the old one. */
  keep: (state: ResourceState) => void;
  /** Drops it from the state: nothing was made. */
  forget: (state: ResourceState) => void;
  /** Returns when all that was kept is safe on disk. */
  save: () => Promise<void>;
  /** Keeps an object in mind that is to be deleted when the program has ended. */
  doom: (state: ResourceState) => Promise<void>;
}

export class Bringing {
  readonly #options: BringingOptions;

  constructor(options: BringingOptions) {
    this.#options = options;
  }

  async plan(provider: Provider, desired: Desired, old: ResourceState | undefined): Promise<Plan> {
    const plan = await provider.plan(desired, old, this.#options.preview, this.#options.work);
    if (plan.op === "same" && old?.incomplete === true) return { ...plan, op: "update" };
    const replace = plan.diff.some((path) =>
      desired.replaceOnChanges.some((pattern) => isWithin(path, pattern)),
    );
    if (plan.op === "update" && replace)
      return { ...plan, op: "replace", deleteFirst: plan.deleteFirst ?? false };
    return plan;
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
    const { work, keep, forget, save } = this.#options;
    const finish = (created: Created, incomplete: boolean) => {
      state.id = created.id;
      state.outputs = markSecretProperties(created.outputs, registration.additionalSecretOutputs);
      if (incomplete) state.incomplete = true;
      else delete state.incomplete;
      keep(state);
    };
    const bring = async (create: () => Promise<Created>) => {
      try {
        finish(await create(), false);
      } catch (error) {
        if (error instanceof IncompleteError) finish(error.created, true);
        else if (plan.op !== "update") forget(state);
        throw error;
      } finally {
        await save();
      }
    };
    const createNew = async () => {
      if (plan.id !== undefined) {
        // Remembered before it is made: a run that is killed in between still knows what it may have left behind.
        Object.assign(state, { id: plan.id, incomplete: true });
        keep(state);
        await save();
      }
      await bring(() => provider.create(desired, work));
    };
    const replaceOld = async (former: ResourceState, deleteFirst: boolean) => {
      if (former.protect === true) throw new Error("it is protected and would have to be replaced");
      if (deleteFirst || registration.deleteBeforeReplace) {
        if (!former.retainOnDelete) await provider.delete(former, desired.provider, work);
        await createNew();
      } else {
        await createNew();
        if (!former.retainOnDelete) await this.#options.doom(former);
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
