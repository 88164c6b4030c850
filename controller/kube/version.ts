/**
 * Order of two resourceVersions of one resource: negative when `a` is older, `undefined` when they cannot be compared.
 * They are decimal numbers in every API server there is, which Kubernetes promises from 1.35 on; any other text is taken
 * as the opaque thing it used to be.
 */
export function compareVersions(a: string | undefined, b: string | undefined): number | undefined {
  if (!isNumber(a) || !isNumber(b)) return undefined;
  if (a.length !== b.length) return a.length - b.length;
  return a < b ? -1 : a > b ? 1 : 0;
}

function isNumber(version: string | undefined): version is string {
  return version !== undefined && /^(0|[1-9]\d*)$/.test(version);
}
