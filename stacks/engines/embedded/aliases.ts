/** The names under which the stack may know a resource from earlier runs. */
import { makeUrn, parseUrn } from "../urn.ts";
import type { Alias, Registration } from "./registration.ts";
import type { ResourceState } from "./state/state.ts";

/**
 * The resource's state from the last run: by its own URN, by those that its aliases name, or by those that follow from
 * the aliases of its parents.
 * @param formerNames the URNs that resources registered before in this run were known by
 */
export function findFormer(
  urn: string,
  registration: Registration,
  former: ReadonlyMap<string, ResourceState>,
  formerNames: ReadonlyMap<string, string>,
): ResourceState | undefined {
  const own = former.get(urn);
  if (own !== undefined) return own;
  for (const candidate of aliasUrns(urn, registration, formerNames)) {
    const found = former.get(candidate);
    if (found !== undefined) return found;
  }
  return undefined;
}

export function aliasUrns(
  urn: string,
  registration: Registration,
  formerNames: ReadonlyMap<string, string>,
): string[] {
  const { stack, project } = parseUrn(urn);
  const parents = [registration.parent];
  const formerParent = formerNames.get(registration.parent);
  if (formerParent !== undefined) parents.push(formerParent);
  const aliases: Alias[] = [{}, ...registration.aliases];
  const urns = new Set<string>();
  for (const alias of aliases) {
    if (alias.urn !== undefined) {
      urns.add(alias.urn);
      continue;
    }
    const type = alias.type ?? registration.type;
    for (const parent of parents) {
      // The SDK names the present parent in every alias; what was known under another name is looked for there too.
      const above =
        alias.parent === undefined || alias.parent === registration.parent ? parent : alias.parent;
      urns.add(
        makeUrn(alias.stack ?? stack, alias.project ?? project, above, type, alias.name ?? registration.name),
      );
    }
  }
  urns.delete(urn);
  return [...urns];
}
