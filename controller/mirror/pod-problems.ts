import { keyOf } from "../kube/objects.ts";
import type { Claims, Member, PodClaim } from "./claims.ts";

/** Why pods of headless services have no mirror: their services tell. */
export class PodProblems {
  /** By the key of the mirror that they would have. */
  readonly #problems = new Map<string, Map<string, string>>();

  /** What there is to say of all who want the mirror of this key, and no more. */
  set(key: string, problems: readonly { claim: PodClaim; message: string }[]): void {
    if (problems.length === 0) this.#problems.delete(key);
    else
      this.#problems.set(
        key,
        new Map(problems.map(({ claim, message }) => [idOf(claim, claim.host), message])),
      );
  }

  /** Those of the pods of a headless service. */
  of(member: Member, claims: Claims): string[] {
    return [...claims.podsOf(member)].flatMap(([key, { host }]) => {
      const message = this.#problems.get(key)?.get(idOf(member, host));
      return message === undefined ? [] : [`${host}: ${message}`];
    });
  }
}

function idOf({ link, remote }: Member, host: string): string {
  return `${keyOf(link)} ${keyOf(remote)} ${host}`;
}
