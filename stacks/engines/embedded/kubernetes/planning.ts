/** What applying an object would do: asked of the API server where it has to be, decided here where it can be. */
import { containsUnknown } from "../../wire.ts";
import { diffProperties } from "../diff.ts";
import type { Path } from "../paths.ts";
import type { Desired, Plan, Work } from "../provider.ts";
import type { ResourceState } from "../state/state.ts";
import type { KubeObject } from "./client.ts";
import { ApiError, conflictMessage } from "./errors.ts";
import type { Foreseen } from "./foreseen.ts";
import { toManifest } from "./manifest.ts";
import { differences, withoutBookkeeping } from "./ownership.ts";
import { Target } from "./target.ts";

/** `live`: the object as it is or would be; undefined where only its inputs are known. */
export type ApplyPlan = Omit<Plan, "outputs"> & { live: KubeObject | undefined };

export async function planApply(
  target: Target,
  desired: Desired,
  old: ResourceState | undefined,
  preview: boolean,
  foreseen: Foreseen,
  work: Work,
): Promise<ApplyPlan> {
  if (old !== undefined && isAnother(target, old)) {
    const diff = diffProperties(old.inputs, desired.inputs);
    return { op: "replace", diff, id: target.id, live: undefined };
  }
  const live = await target.get();
  if (live === undefined || old === undefined) {
    await planCreation(target, desired, live, preview, foreseen, work);
    return { op: "create", diff: [], id: target.id, live: undefined };
  }
  const diff = diffProperties(old.inputs, desired.inputs);
  if (containsUnknown(desired.inputs)) return { op: "update", diff, live: undefined };
  const applied = target.applied(live, desired.ignoreChanges);
  const before = new Target(
    target.client,
    toManifest(old.type, old.inputs),
    target.resource,
    desired.urn,
    work,
  );
  const would = () =>
    target.applyOver(applied, before.applied(live, desired.ignoreChanges), {
      dryRun: true,
      uid: live.metadata?.uid,
    });
  if (diff.length > 0) {
    try {
      return { op: "update", diff, live: await would() };
    } catch (error) {
      if (!(error instanceof ApiError && error.isImmutable)) throw error;
      return { op: "replace", deleteFirst: true, diff, id: target.id, live: undefined };
    }
  }
  const drifted = differences(applied, live);
  if (drifted.length === 0) return { op: "same", diff: [], live };
  const changed = reallyChanged(drifted, live, await would());
  return changed.length === 0 ? { op: "same", diff: [], live } : { op: "update", diff: changed, live };
}

/** Of the suspected paths those at which applying would change something. */
function reallyChanged(suspected: readonly Path[], live: KubeObject, would: KubeObject): Path[] {
  const [before, after] = [withoutBookkeeping(live), withoutBookkeeping(would)];
  return suspected.filter((path) => JSON.stringify(at(before, path)) !== JSON.stringify(at(after, path)));
}

function at(value: unknown, path: Path): unknown {
  return path.reduce<unknown>((inner, step) => (inner as Record<string, unknown> | undefined)?.[step], value);
}

/** A preview tries the creation out, as far as what it needs is there already. */
async function planCreation(
  target: Target,
  desired: Desired,
  live: KubeObject | undefined,
  preview: boolean,
  foreseen: Foreseen,
  work: Work,
): Promise<void> {
  if (target.manifest.isPatch && live === undefined) {
    if (!preview) throw new Error(target.missing());
    return work.log("warning", `${target}: ${target.missing()}`);
  }
  if (!preview) return;
  foreseen.create(target.client, target.manifest);
  if (containsUnknown(desired.inputs)) return;
  try {
    await target.apply(target.applied(undefined, []), {
      dryRun: true,
      uid: target.manifest.isPatch ? live?.metadata?.uid : undefined,
    });
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (error.isMissingNamespace)
      return foreseen.missingNamespace(target.client, target.manifest.namespace ?? target.client.namespace);
    if (error.conflicts.length > 0) throw new Error(conflictMessage(error.conflicts), { cause: error });
    throw error;
  }
}

/** Another name, namespace or kind is another object. Another version of the same group is not. */
function isAnother(target: Target, old: ResourceState): boolean {
  const { apiVersion, kind } = old.inputs;
  const group = (version: string) => (version.includes("/") ? version.split("/")[0] : "");
  return (
    old.id !== target.id ||
    kind !== target.manifest.kind ||
    group(String(apiVersion)) !== group(target.manifest.apiVersion)
  );
}
