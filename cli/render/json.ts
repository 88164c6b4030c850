/** A result as JSON: stable names, and nothing in it that is secret (so no outputs). Pure. */
import type { Danger, MeshResult } from "../../stacks/automation.ts";

export function toJson(result: MeshResult, dangers: readonly Danger[]): string {
  const stacks = result.stacks.map(({ result: done, seconds, ...outcome }) => ({
    ...outcome,
    seconds: Math.round(seconds * 10) / 10,
    ...(done && {
      changes: done.changes,
      resources: done.resources.map(({ op, type, name, urn, diff }) => ({ op, type, name, urn, diff })),
    }),
  }));
  const { mesh, engine, ok, changes } = result;
  return JSON.stringify({ mesh, engine, ok, changes, dangers, stacks }, undefined, 2);
}
