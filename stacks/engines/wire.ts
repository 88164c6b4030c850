/**
 * Property values as Pulumi's protocol carries them: plain JSON, in which secrets are wrapped in a signed object and a
 * value that is not known yet (preview) is one distinguished string. The engines keep values in this form from end to
 * end, so that nothing loses its secrecy on the way.
 */

export type Value = null | boolean | number | string | Value[] | { [key: string]: Value };
export type Properties = Record<string, Value>;

/** Stands for a value that is only known once something has been created. */
export const UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";
const SIGNATURE = "4dabf18193072939515e22adb298388d";
const SECRET = "1b47061264138c4ac30d75fd1eb44270";

/** What a secret is replaced by wherever people read. */
export const REDACTED = "[secret]";
/** Shorter secrets are not searched for in texts: too much that is no secret would be cut out. */
const REDACTABLE_LENGTH = 8;

export function isObject(value: unknown): value is { [key: string]: Value } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function isSecret(value: Value | undefined): value is { [key: string]: Value } {
  return isObject(value) && value[SIGNATURE] === SECRET;
}

/** Anything else that carries a signature: assets, archives, resource references, output values. */
export function signatureOf(value: Value | undefined): string | undefined {
  const signature = isObject(value) ? value[SIGNATURE] : undefined;
  return typeof signature === "string" ? signature : undefined;
}

export function secret(value: Value): Value {
  return isSecret(value) ? value : { [SIGNATURE]: SECRET, value };
}

/** The same value without its secret wrappers, at any depth. */
export function plain(value: Value): Value {
  if (isSecret(value)) return plain(value.value ?? null);
  if (Array.isArray(value)) return value.map(plain);
  if (isObject(value)) return plainProperties(value);
  return value;
}

export function plainProperties(properties: Properties): Properties {
  return Object.fromEntries(Object.entries(properties).map(([key, value]) => [key, plain(value)]));
}

export function containsUnknown(value: Value | undefined): boolean {
  if (value === UNKNOWN) return true;
  if (Array.isArray(value)) return value.some(containsUnknown);
  return isObject(value) && Object.values(value).some(containsUnknown);
}

export function containsSecret(value: Value | undefined): boolean {
  if (isSecret(value)) return true;
  if (Array.isArray(value)) return value.some(containsSecret);
  return isObject(value) && Object.values(value).some(containsSecret);
}

/** `value` with the secret wrappers that `inputs` has at the same places: what was secret going in stays it coming out. */
export function markSecretsLike(value: Value, inputs: Value | undefined): Value {
  if (isSecret(inputs)) return secret(value);
  if (Array.isArray(value) && Array.isArray(inputs)) {
    return value.map((element, index) => markSecretsLike(element, inputs[index]));
  }
  if (isObject(value) && isObject(inputs)) {
    return Object.fromEntries(
      Object.entries(value).map(([key, element]) => [key, markSecretsLike(element, inputs[key])]),
    );
  }
  return value;
}

/** Outputs with the named properties wrapped as secrets. */
export function markSecretProperties(outputs: Properties, names: readonly string[]): Properties {
  const marked = { ...outputs };
  for (const name of names) {
    const value = marked[name];
    if (value !== undefined) marked[name] = secret(value);
  }
  return marked;
}

/** Every string inside a secret, for `redact`. */
export function secretStrings(value: Value | undefined, into: Set<string> = new Set()): Set<string> {
  if (isSecret(value)) collectStrings(value.value ?? null, into);
  else if (Array.isArray(value)) for (const element of value) secretStrings(element, into);
  else if (isObject(value)) for (const element of Object.values(value)) secretStrings(element, into);
  return into;
}

function collectStrings(value: Value, into: Set<string>): void {
  if (typeof value === "string") {
    if (value.length >= REDACTABLE_LENGTH && value !== UNKNOWN) {
      into.add(value);
      into.add(Buffer.from(value).toString("base64"));
      // As it stands inside of JSON, with its line ends written out.
      into.add(JSON.stringify(value).slice(1, -1));
    }
  } else if (Array.isArray(value)) {
    for (const element of value) collectStrings(element, into);
  } else if (isObject(value)) {
    for (const element of Object.values(value)) collectStrings(element, into);
  }
}

/** A text in which no secret of the set can be read. */
export function redact(text: string, secrets: ReadonlySet<string>): string {
  let result = text;
  for (const value of secrets) result = result.split(value).join(REDACTED);
  return result;
}
