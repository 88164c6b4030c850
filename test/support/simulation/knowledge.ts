/**
 * What one process can know of one collection: the age of the state that it last saw. Needed to tell a controller that is
 * wrong from one that has not heard yet.
 */
export class Knowledge {
  /** The time of the last state seen while no watch was open; absent before the first complete list. */
  #known: number | undefined;
  /** Whether a watch brings what happens as it happens. */
  #live = false;
  /** Times of being out of date, until `until`; then known was what was so at `known`. */
  #gaps: { known: number; until: number }[] = [];

  #lists: { asOf: number; until: number }[] = [];

  /** Of when the last complete list was. */
  listedAsOf = Number.NEGATIVE_INFINITY;

  /** A complete list was had. */
  get complete(): boolean {
    return this.#known !== undefined;
  }

  /** Whether a complete list of a state at `from` or later was had by `by`. */
  wasListed(from: number, by: number): boolean {
    return this.#lists.some(({ asOf, until }) => asOf >= from && until <= by);
  }

  listed(asOf: number, now: number): void {
    this.#gaps.push({ known: this.#known ?? Number.NEGATIVE_INFINITY, until: now });
    this.#known = asOf;
    this.listedAsOf = asOf;
    this.#lists.push({ asOf, until: now });
    this.#live = false;
  }

  /** A watch is open and has brought all that happened before `now`. */
  caughtUp(now: number): void {
    if (this.#live || this.#known === undefined) return;
    this.#gaps.push({ known: this.#known, until: now });
    this.#live = true;
  }

  /** An event came that is as old as this. */
  told(happenedAt: number, now: number): void {
    this.#gaps.push({ known: happenedAt, until: now });
  }

  /** The watch ended; nothing that happened after `known` was heard. */
  cutOff(known: number): void {
    if (!this.#live || this.#known === undefined) return;
    this.#live = false;
    this.#known = known;
  }

  /** The oldest state that something decided after `since` can have been decided from. */
  oldestSince(since: number, now: number): number {
    this.#gaps = this.#gaps.filter(({ until }) => until > now - 1_000_000);
    let oldest = this.#live ? since : Math.min(since, this.#known ?? Number.NEGATIVE_INFINITY);
    for (const gap of this.#gaps) if (gap.until > since) oldest = Math.min(oldest, gap.known);
    return oldest;
  }
}
