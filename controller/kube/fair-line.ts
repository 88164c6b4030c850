/** A line of keys in groups: within a group first come, first served; the groups take turns. */
export class FairLine {
  readonly #groups = new Map<string, string[]>();

  push(group: string, key: string): void {
    const line = this.#groups.get(group);
    if (line) line.push(key);
    else this.#groups.set(group, [key]);
  }

  /** The next key, or `undefined` when nobody waits. */
  shift(): string | undefined {
    const next = this.#groups.entries().next();
    if (next.done) return undefined;
    const [group, line] = next.value;
    const key = line.shift();
    // A map keeps the order of entering: whoever was served goes to the end.
    this.#groups.delete(group);
    if (line.length > 0) this.#groups.set(group, line);
    return key;
  }
}
