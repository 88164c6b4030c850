import type { BareClient } from "./bare-client.ts";

/** Calls that write, as an API server has counted them, by the plural of what they write. Refused ones count too. */
export type Writes = ReadonlyMap<string, number>;

const WRITING = new Set(["POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION"]);

/** What an API server has counted so far. It does not tell clients apart. */
export async function writesSoFar(client: BareClient): Promise<Writes> {
  const writes = new Map<string, number>();
  for (const line of (await client.text("/metrics")).split("\n")) {
    const match = /^apiserver_request_total\{(.*)\} (\S+)$/.exec(line);
    if (match === null) continue;
    const labels = Object.fromEntries(
      [...match[1]!.matchAll(/(\w+)="([^"]*)"/g)].map((each) => [each[1], each[2]]),
    );
    if (!WRITING.has(labels.verb)) continue;
    writes.set(labels.resource, (writes.get(labels.resource) ?? 0) + Number(match[2]));
  }
  return writes;
}

/** The calls between two looks that wrote one of `resources`; with `others`, those that wrote anything else. */
export function writesBetween(
  before: Writes,
  after: Writes,
  resources: ReadonlySet<string>,
  others = false,
): number {
  let sum = 0;
  for (const [resource, count] of after) {
    if (resources.has(resource) !== others) sum += count - (before.get(resource) ?? 0);
  }
  return sum;
}
