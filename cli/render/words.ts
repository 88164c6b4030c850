/** Counts, durations and resources in words. Pure. */
import { type ChangeCounts, changeCount, type ResourceStep } from "../../stacks/automation.ts";

const DONE = { create: "created", update: "updated", replace: "replaced", delete: "deleted" } as const;
const PLANNED = {
  create: "to create",
  update: "to update",
  replace: "to replace",
  delete: "to delete",
} as const;

/** `3 created, 1 updated, 20 unchanged`. @param planned whether it is yet to happen */
export function countsInWords(counts: ChangeCounts, planned: boolean): string {
  const words = planned ? PLANNED : DONE;
  const parts = (Object.keys(words) as (keyof typeof words)[])
    .filter((op) => counts[op] > 0)
    .map((op) => `${counts[op]} ${words[op]}`);
  if (counts.same > 0) parts.push(`${counts.same} unchanged`);
  if (changeCount(counts) === 0)
    return parts.length === 0 ? "nothing to do" : `no changes, ${parts.join(", ")}`;
  return parts.join(", ");
}

export function duration(seconds: number): string {
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)} min ${whole % 60} s`;
}

/** `Deployment isthmus-mirror`. */
export function resourceName({ type, name }: Pick<ResourceStep, "type" | "name">): string {
  return `${type.slice(type.lastIndexOf(":") + 1)} ${name}`;
}

/** At most so many paths, the rest counted. */
export function pathsInWords(diff: readonly string[], most = 6): string {
  const shown = diff.slice(0, most).join(", ");
  return diff.length > most ? `${shown} and ${diff.length - most} more` : shown;
}
