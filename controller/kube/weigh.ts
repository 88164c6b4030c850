/** What a value costs besides its text: a rough figure for a reference, a key, a header. */
const OVERHEAD = 16;

/**
 * About how many bytes of memory a value that came as JSON holds. For budgets: a target that is not trusted may send objects
 * of any size, and counting them costs less than writing them as JSON would.
 */
export function weigh(value: unknown): number {
  if (typeof value === "string") return OVERHEAD + value.length;
  if (typeof value !== "object" || value === null) return OVERHEAD;
  let bytes = OVERHEAD;
  // Not by recursion: how deep a value is, its sender says.
  const left: object[] = [value];
  for (let next = left.pop(); next !== undefined; next = left.pop()) {
    for (const [key, part] of Object.entries(next)) {
      bytes += OVERHEAD + key.length;
      if (typeof part === "string") bytes += part.length;
      else if (typeof part === "object" && part !== null) left.push(part);
    }
  }
  return bytes;
}
