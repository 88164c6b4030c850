import type * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { ADMIN_PORT } from "../contract/index.ts";

type Container = k8s.types.input.core.v1.Container;
type PodSpec = k8s.types.input.core.v1.PodSpec;

/** The user that every container of ours runs as: `nonroot` of the usual minimal images. */
const USER = 65_532;

/** Labels that hold the pods of a namespace to Kubernetes' strictest profile. */
export const RESTRICTED = {
  "pod-security.kubernetes.io/enforce": "restricted",
  "pod-security.kubernetes.io/warn": "restricted",
};

/** No privilege, nothing writable but the volumes. */
export const LOCKED: k8s.types.input.core.v1.SecurityContext = {
  allowPrivilegeEscalation: false,
  readOnlyRootFilesystem: true,
  capabilities: { drop: ["ALL"] },
};

/** What every pod of ours has in common. */
export const POD: Pick<PodSpec, "enableServiceLinks" | "securityContext"> = {
  enableServiceLinks: false,
  securityContext: {
    runAsNonRoot: true,
    runAsUser: USER,
    runAsGroup: USER,
    fsGroup: USER,
    seccompProfile: { type: "RuntimeDefault" },
  },
};

/** A minute without an answer: on a starved node everything is slow, and restarts would starve it more. */
export const PATIENT = { periodSeconds: 10, timeoutSeconds: 5, failureThreshold: 6 };

/** Port and probes of the admin server of a role. */
export const ADMIN: Pick<Container, "ports" | "readinessProbe" | "livenessProbe"> = {
  ports: [{ name: "admin", containerPort: ADMIN_PORT }],
  readinessProbe: {
    httpGet: { path: "/ready", port: "admin" },
    periodSeconds: 2,
    timeoutSeconds: 5,
    failureThreshold: 3,
  },
  livenessProbe: { httpGet: { path: "/live", port: "admin" }, ...PATIENT },
};

export function requests(cpu: string, memory: string): Pick<Container, "resources"> {
  return { resources: { requests: { cpu, memory } } };
}

/** Spread the pods of a part over the nodes where there is more than one. */
export function spread(matchLabels: Record<string, string>): Pick<PodSpec, "topologySpreadConstraints"> {
  return {
    topologySpreadConstraints: [
      {
        maxSkew: 1,
        topologyKey: "kubernetes.io/hostname",
        whenUnsatisfiable: "ScheduleAnyway",
        labelSelector: { matchLabels },
      },
    ],
  };
}

export type EnvVar = k8s.types.input.core.v1.EnvVar;

/** A flag of the controller's program, given as a variable. */
export function variable(name: string, value: pulumi.Input<string>): EnvVar {
  return { name: `ISTHMUS_${name}`, value };
}

/**
 * A flag of the controller's program for an argument that was given.
 *
 * @param otherwise the flag's default, for an Output that turns out to have nothing in it
 */
export function ifGiven<T>(
  name: string,
  value: pulumi.Input<T> | undefined,
  otherwise: string,
  text: (value: pulumi.Unwrap<NonNullable<T>>) => string,
): EnvVar[] {
  if (value === undefined || value === null) return [];
  const given = pulumi.output(value) as pulumi.Output<pulumi.Unwrap<NonNullable<T>> | undefined>;
  return [
    variable(
      name,
      given.apply((known) => (known == null ? otherwise : text(known))),
    ),
  ];
}
