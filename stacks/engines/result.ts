/** Sums the events of one stack up. Pure. */
import { type EngineEvent, emptyCounts, isChange, type ResourceStep, type StackResult } from "./engine.ts";
import type { Properties } from "./wire.ts";

export function resultOf(stack: string, events: readonly EngineEvent[], outputs: Properties): StackResult {
  const changes = emptyCounts();
  const resources: ResourceStep[] = [];
  for (const event of events) {
    if (event.event !== "planned" && event.event !== "done") continue;
    if (!event.counted) continue;
    changes[event.op]++;
    if (isChange(event.op)) {
      const { op, urn, type, name, diff, counted } = event;
      resources.push({ op, urn, type, name, diff, counted });
    }
  }
  return { stack, changes, resources, outputs };
}
