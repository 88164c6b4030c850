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

/** Keys and values of a map stand in a file of lines and in commands: nothing that means something there may be in them. */
export function isMapToken(text: string): boolean {
  return /^[A-Za-z0-9*][-A-Za-z0-9._:|/*]*$/.test(text);
}

/** The text of a map file. */
export function renderMap(entries: ReadonlyMap<string, string>): string {
  return [...entries].map(([key, value]) => `${key} ${value}\n`).join("");
}
