/**
 * Everything that a gateway's HAProxy should be told at one moment, computed from what the API server says. Pure: the
 * same objects give the same picture, in whatever order they came.
 */
export interface Picture {
  /** Text of `haproxy.cfg`. */
  config: string;
  maps: DesiredMap[];
  /**
   * Callers that are let in no longer, found by the backends that the present worker still has for them: their open
   * connections are cut.
   */
  revoked?: (backends: Iterable<string>) => Revoked[];
  /** What could not be carried over, in words, for `/state` and the log. */
  problems: string[];
}

export interface Revoked {
  /** Carries the caller's connections. */
  backend: string;
  /** The map entry that leads to the backend. */
  file: string;
  key: string;
}

export interface DesiredMap {
  file: string;
  entries: ReadonlyMap<string, string>;
  /** The backend that an entry's value leads to, where it leads to one: it must be there before the entry. */
  backend?: (value: string) => string;
  /** What an entry's value is for: until the backend of a new value is there, an old one for the same stays in use. */
  subject?: (value: string) => string;
}

/**
 * The entries of a map for a HAProxy that has these backends. An entry whose backend is not there is left out until it is.
 * What the entry was before stays that long, if it is for the same: that may be longer than a call waits.
 *
 * @param present what the map is now
 */
export async function usableEntries(
  { entries, backend, subject }: DesiredMap,
  backends: ReadonlySet<string>,
  present: () => Promise<ReadonlyMap<string, string>>,
): Promise<ReadonlyMap<string, string>> {
  const early = backend ? [...entries].filter(([, value]) => !backends.has(backend(value))) : [];
  if (!backend || early.length === 0) return entries;
  const before = await present();
  const usable = new Map(entries);
  for (const [key, value] of early) {
    const old = before.get(key);
    const same = old !== undefined && subject !== undefined && subject(old) === subject(value);
    if (same && backends.has(backend(old))) usable.set(key, old);
    else usable.delete(key);
  }
  return usable;
}

/** Keys and values of a map stand in a file of lines and in commands: nothing that means something there may be in them. */
export function isMapToken(text: string): boolean {
  return /^[A-Za-z0-9*][-A-Za-z0-9._:|/*]*$/.test(text);
}

/** The entries of a map file. */
export function parseMap(text: string): Map<string, string> {
  const lines = text.split("\n").filter((line) => line !== "");
  return new Map(lines.map((line) => [line.slice(0, line.indexOf(" ")), line.slice(line.indexOf(" ") + 1)]));
}

/** The text of a map file. */
export function renderMap(entries: ReadonlyMap<string, string>): string {
  return [...entries].map(([key, value]) => `${key} ${value}\n`).join("");
}
