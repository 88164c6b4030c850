import * as pulumi from "@pulumi/pulumi";
import { isClusterName, isDnsLabel, isDnsName, isSubdomain } from "../contract/index.ts";

/** What one argument may be. */
export interface Rule {
  /** How the allowed values are told to the user: `a DNS label (…)`. */
  allowed: string;
  test: (value: unknown) => boolean;
  /** Whether the argument must be given. @default false */
  required?: boolean;
  /** Whether the value must not be shown. @default false */
  secret?: boolean;
}

export type Rules<A> = { [K in keyof A]?: Rule };

/** An argument of a component is missing, or is not what it may be. */
export class ArgumentError extends Error {
  override readonly name = "ArgumentError";
}

/**
 * The arguments of a component, checked: plain values at once, so that a bad one fails before any resource is
 * registered; Outputs inside an `apply`, so that it fails as soon as it is known. Call it before `super()`, which already
 * registers the component, and use what it returns.
 *
 * @param within what holds the arguments, for the message, where it is not the component itself: `gateway.`
 * @throws ArgumentError naming the component, the argument, the value and what is allowed
 */
export function checked<A extends object>(
  component: string,
  name: string,
  args: A,
  rules: Rules<NoInfer<A>>,
  within = "",
): A {
  const result = { ...args } as Record<string, unknown>;
  for (const [argument, rule] of Object.entries(rules) as [string, Rule][]) {
    const complain = (value: unknown): unknown => {
      const problem = problemOf(value, rule);
      if (problem)
        throw new ArgumentError(`${component} ${JSON.stringify(name)}: ${within}${argument} ${problem}`);
      return value;
    };
    const value = result[argument];
    if (isPlain(value)) complain(value);
    else result[argument] = (pulumi.output(value) as pulumi.Output<unknown>).apply(complain);
  }
  return result as A;
}

/** What is wrong with an argument, for after its name: `is 0; it must be …`. */
export function problemOf(value: unknown, rule: Rule): string | undefined {
  if (value === undefined || value === null) {
    return rule.required ? `is missing; it must be ${rule.allowed}` : undefined;
  }
  if (rule.test(value)) return undefined;
  return rule.secret
    ? `is not what it must be: ${rule.allowed}`
    : `is ${JSON.stringify(value)}; it must be ${rule.allowed}`;
}

/** Whether nothing in `value` has yet to become known. Resources stand for themselves. */
function isPlain(value: unknown): boolean {
  if (typeof value !== "object" || value === null || pulumi.Resource.isInstance(value)) return true;
  if (pulumi.Output.isInstance(value) || value instanceof Promise) return false;
  return Object.values(value).every(isPlain);
}

/** Kubernetes' syntax of labels: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels */
const LABEL_VALUE = /^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$/;

function isLabelKey(key: string): boolean {
  const [name = "", prefix, ...more] = key.split("/").reverse();
  return (
    name !== "" &&
    LABEL_VALUE.test(name) &&
    (prefix === undefined || isSubdomain(prefix)) &&
    more.length === 0
  );
}

const isText = (value: unknown): value is string => typeof value === "string";

export const dnsLabel: Rule = {
  allowed: "a DNS label: 1 to 63 of a-z, 0-9 and -, with no - at its ends",
  test: (value) => isText(value) && isDnsLabel(value),
};

/** What the mirrors of a cluster's services end in. */
export const clusterName: Rule = {
  allowed: `${dnsLabel.allowed}; and not federated, in which the names of federated services end`,
  test: (value) => isText(value) && isClusterName(value),
};

export const boolean: Rule = { allowed: "true or false", test: (value) => typeof value === "boolean" };

export const dnsLabels: Rule = {
  allowed: "a list of different DNS labels, each 1 to 63 of a-z, 0-9 and -, with no - at its ends",
  test: (value) => areDifferent(value, dnsLabel),
};

export const clusterNames: Rule = {
  allowed: `${dnsLabels.allowed}; and none of them federated, in which the names of federated services end`,
  test: (value) => areDifferent(value, clusterName),
};

function areDifferent(value: unknown, rule: Rule): boolean {
  return (
    Array.isArray(value) && value.every((each) => rule.test(each)) && new Set(value).size === value.length
  );
}

/** Labels with their values, as a selector has them. */
export const labels: Rule = {
  allowed: 'labels with their values, such as { "example.com/team": "shop" }',
  test: (value) =>
    typeof value === "object" &&
    value !== null &&
    !Array.isArray(value) &&
    Object.entries(value).every(([key, text]) => isLabelKey(key) && isText(text) && LABEL_VALUE.test(text)),
};

export const dnsName: Rule = {
  allowed: "a DNS name: labels of a-z, 0-9 and - joined by dots, such as demo.mesh",
  test: (value) => isText(value) && isDnsName(value),
};

export const portNumber: Rule = {
  allowed: "a port number, 1 to 65535",
  test: (value) => Number.isInteger(value) && Number(value) >= 1 && Number(value) <= 65_535,
};

export const positiveInteger: Rule = {
  allowed: "a whole number above 0",
  test: (value) => Number.isInteger(value) && Number(value) > 0,
};

/** IP addresses or host names. */
export const addresses: Rule = {
  allowed: "a list of up to 16 IP addresses or host names",
  test: (value) =>
    Array.isArray(value) &&
    value.length <= 16 &&
    value.every((address) => isText(address) && /^[A-Za-z0-9:]([-A-Za-z0-9.:]*[A-Za-z0-9:])?$/.test(address)),
};

/** PEM of one or more certificates. */
export const certificates: Rule = {
  allowed: "certificates in PEM, each starting with -----BEGIN CERTIFICATE-----",
  test: (value) => isText(value) && value.includes("-----BEGIN CERTIFICATE-----"),
};

/** A certificate authority: its certificate and its key. */
export const issuer: Rule = {
  allowed: "an issuer: { certificatePem, privateKeyPem }, both PEM",
  secret: true,
  test: (value) => {
    const { certificatePem, privateKeyPem } = value as { certificatePem?: unknown; privateKeyPem?: unknown };
    return (
      certificates.test(certificatePem) && isText(privateKeyPem) && privateKeyPem.includes("PRIVATE KEY-----")
    );
  },
};

/** One of the values of an `as const` object. */
export function oneOf(choices: Readonly<Record<string, string>>): Rule {
  const values = Object.values(choices);
  return { allowed: values.join(", or "), test: (value) => isText(value) && values.includes(value) };
}

export function required(rule: Rule): Rule {
  return { ...rule, required: true };
}
