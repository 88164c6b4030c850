import * as pulumi from "@pulumi/pulumi";
import { FEDERATED_LABEL } from "../contract/index.ts";
import { type EnvVar, ifGiven, variable } from "./pod.ts";
import { boolean, dnsLabels, labels, oneOf, positiveInteger, type Rule, type Rules } from "./validation.ts";

/** How much the controller logs. */
export const LogLevel = { Debug: "debug", Info: "info", Warn: "warn", Error: "error" } as const;

/** How much the controller logs. */
export type LogLevel = (typeof LogLevel)[keyof typeof LogLevel];

/** How a mirror controller runs. */
export interface ControllerSettingsArgs {
  /**
   * Pods; one works, the others stand by.
   *
   * @default 1
   */
  replicas?: pulumi.Input<number>;
  /** @default LogLevel.Info */
  logLevel?: pulumi.Input<LogLevel>;
  /**
   * Whether namespaces that exported services want are made where they are missing, and removed again once they are empty:
   * it may then make and delete namespaces.
   *
   * @default false
   */
  createNamespaces?: pulumi.Input<boolean>;
  /**
   * Protected namespaces, such as `kube-system`, that may have mirrors.
   *
   * @default none
   */
  allowNamespaces?: pulumi.Input<pulumi.Input<string>[]>;
  /**
   * Labels of this cluster's own Services that are members of the federated services of their names. Without any, none is.
   *
   * @default `mirror.linkerd.io/federated: "member"`
   */
  federatedServiceSelector?: pulumi.Input<{ [key: string]: pulumi.Input<string> }>;
  /**
   * Labels of these members that federated services do not get; an entry that ends in `/*` is a prefix.
   *
   * @default none
   */
  excludedLabels?: pulumi.Input<pulumi.Input<string>[]>;
  /**
   * Annotations of these members that federated services do not get; an entry that ends in `/*` is a prefix.
   *
   * @default none
   */
  excludedAnnotations?: pulumi.Input<pulumi.Input<string>[]>;
}

/** An entry with a comma in it would be two. */
const keys: Rule = {
  allowed: "a list of keys such as example.com/team, or of prefixes such as example.com/*",
  test: (value) =>
    Array.isArray(value) && value.every((key) => typeof key === "string" && /^[^,\s]+$/.test(key)),
};

/** What each of a controller's settings may be. */
export const controllerRules: Rules<ControllerSettingsArgs> = {
  replicas: positiveInteger,
  logLevel: oneOf(LogLevel),
  createNamespaces: boolean,
  allowNamespaces: dnsLabels,
  federatedServiceSelector: labels,
  excludedLabels: keys,
  excludedAnnotations: keys,
};

/** The settings as variables of the controller's program: of the optional ones, those that were given. */
export function controllerVariables(settings: ControllerSettingsArgs): EnvVar[] {
  const { allowNamespaces, federatedServiceSelector, excludedLabels, excludedAnnotations } = settings;
  return [
    variable("LOG_LEVEL", settings.logLevel ?? LogLevel.Info),
    variable(
      "CREATE_NAMESPACES",
      pulumi.output(settings.createNamespaces).apply((make) => String(make ?? false)),
    ),
    ...ifGiven("ALLOW_NAMESPACES", allowNamespaces, "", (names) => names.join(",")),
    ...ifGiven(
      "FEDERATED_SERVICE_SELECTOR",
      federatedServiceSelector,
      `${FEDERATED_LABEL}=member`,
      (labels) =>
        Object.entries(labels)
          .map(([key, value]) => `${key}=${value}`)
          .join(","),
    ),
    ...ifGiven("EXCLUDED_LABELS", excludedLabels, "", (keys) => keys.join(",")),
    ...ifGiven("EXCLUDED_ANNOTATIONS", excludedAnnotations, "", (keys) => keys.join(",")),
  ];
}
