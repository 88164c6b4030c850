/** The resources of the `kubernetes` package: plain objects, by server-side apply. */
import { setTimeout as delay } from "node:timers/promises";
import { containsUnknown, type Properties, plainProperties, type Value } from "../../wire.ts";
import { diffProperties } from "../diff.ts";
import {
  type Created,
  type Desired,
  IncompleteError,
  type Plan,
  type Provider,
  type Work,
} from "../provider.ts";
import type { ResourceState } from "../state/state.ts";
import type { KubeObject } from "./client.ts";
import { Clusters, checkSettings } from "./clusters.ts";
import { ApiError, Unreachable } from "./errors.ts";
import { Foreseen } from "./foreseen.ts";
import { type Manifest, parseId, toManifest } from "./manifest.ts";
import { outputsOf } from "./outputs.ts";
import { planApply } from "./planning.ts";
import { podTrouble } from "./pods.ts";
import { checkReadinessKnown, readinessOf } from "./readiness.ts";
import { Target } from "./target.ts";
import { NotReady, waitUntil } from "./wait.ts";

/** As in Pulumi: how long an object may take to become ready or to go, in milliseconds. */
const PATIENCE = 600_000;
/** How long a new definition may take to show up in discovery, and how often to look. */
const DISCOVERY = { limit: 30_000, every: 250 };

export class KubernetesProvider implements Provider {
  readonly #clusters = new Clusters();
  readonly #foreseen: Foreseen;

  /** @param foreseen shared by the previews of one run */
  constructor(foreseen: Foreseen = new Foreseen()) {
    this.#foreseen = foreseen;
  }

  configure(inputs: Properties): void {
    checkSettings(plainProperties(inputs));
  }

  async plan(desired: Desired, old: ResourceState | undefined, preview: boolean, work: Work): Promise<Plan> {
    const { inputs, type } = desired;
    const identity =
      ["apiVersion", "kind"].some((name) => containsUnknown(inputs[name])) || hasUnknownName(inputs);
    if (containsUnknown(desired.provider) || identity) {
      const diff = old === undefined ? [] : diffProperties(old.inputs, inputs);
      return {
        op: old === undefined ? "create" : diff.length > 0 ? "update" : "same",
        diff,
        outputs: inputs,
      };
    }
    const manifest = toManifest(type, inputs);
    if (!manifest.isPatch && !manifest.directives.skipAwait) checkReadinessKnown(manifest.kind);
    const { client, discovery } = this.#clusters.of(desired.provider);
    const resource = await discovery.find(manifest.apiVersion, manifest.kind);
    if (resource === undefined) {
      // The definition may come with this very plan; in an `up` it is there by the time of the creation.
      if (preview) {
        this.#foreseen.missingKind(client, manifest.apiVersion, manifest.kind);
        this.#foreseen.create(client, manifest);
      }
      return { op: "create", diff: [], outputs: inputs };
    }
    const target = new Target(client, manifest, resource, desired.urn, work);
    const plan = await describing(target, () =>
      planApply(target, desired, old, preview, this.#foreseen, work),
    );
    return { ...plan, outputs: outputsOf(plan.live, desired.inputs, manifest.kind) };
  }

  async create(desired: Desired, work: Work): Promise<Created> {
    const target = await this.#target(desired, work);
    return describing(target, async () => {
      const live = target.manifest.isPatch ? await target.get() : undefined;
      if (target.manifest.isPatch && live === undefined) throw new Error(target.missing());
      const object = await target
        .apply(target.applied(undefined, []), { uid: live?.metadata?.uid })
        .catch((error: Error) => {
          if (!isUnclear(error)) throw error;
          throw new IncompleteError(
            error.message,
            { id: target.id, outputs: desired.inputs },
            { cause: error },
          );
        });
      return this.#await(target, desired, object, desired.timeouts.create, work);
    });
  }

  async update(desired: Desired, old: ResourceState, work: Work): Promise<Created> {
    const target = await this.#target(desired, work);
    return describing(target, async () => {
      const live = await target.get();
      const before = new Target(
        target.client,
        toManifest(old.type, old.inputs),
        target.resource,
        desired.urn,
        work,
      );
      const applied = target.applied(live, desired.ignoreChanges);
      const uid = target.manifest.isPatch ? live?.metadata?.uid : undefined;
      const object = await target.applyOver(applied, before.applied(live, desired.ignoreChanges), { uid });
      return this.#await(target, desired, object, desired.timeouts.update, work);
    });
  }

  async delete(state: ResourceState, providerInputs: Properties, work: Work): Promise<void> {
    const settings = plainProperties(providerInputs);
    const manifest = { ...toManifest(state.type, state.inputs), ...namespaceOf(state.id) };
    const { client, discovery } = this.#clusters.of(providerInputs);
    try {
      const resource = await discovery.find(manifest.apiVersion, manifest.kind);
      // Its definition is gone, and it with it.
      if (resource === undefined) return;
      const target = new Target(client, manifest, resource, state.urn, work);
      await describing(target, () => remove(target, state.deleteTimeout ?? PATIENCE));
    } catch (error) {
      const asked = settings.deleteUnreachable ?? process.env.PULUMI_K8S_DELETE_UNREACHABLE;
      if (!(error instanceof Unreachable) || asked !== "true") throw error;
      work.log("warning", `${manifest.kind} ${state.id} is forgotten, not deleted: ${error.message}`);
    }
  }

  async read(type: string, id: string, providerInputs: Properties, work: Work): Promise<Properties> {
    const { apiVersion, kind } = tokenOf(type);
    const { client, discovery } = this.#clusters.of(providerInputs);
    const { name, namespace } = parseId(id);
    const manifest = toManifest(type, {
      apiVersion,
      kind,
      metadata: { name, ...(namespace !== undefined && { namespace }) },
    });
    const resource = await discovery.find(apiVersion, kind);
    if (resource === undefined) throw new Error(`cluster ${client.name} knows no ${kind} of ${apiVersion}`);
    const target = new Target(client, manifest, resource, "", work);
    const live = await target.get();
    if (live === undefined) throw new Error(`${target} does not exist`);
    return outputsOf(live, {}, kind);
  }

  warnings(): string[] {
    return this.#foreseen.warnings();
  }

  async #target(desired: Desired, work: Work): Promise<Target> {
    const manifest = toManifest(desired.type, desired.inputs);
    const { client, discovery } = this.#clusters.of(desired.provider);
    const until = Date.now() + DISCOVERY.limit;
    for (;;) {
      const resource = await discovery.find(manifest.apiVersion, manifest.kind);
      if (resource !== undefined) return new Target(client, manifest, resource, desired.urn, work);
      if (Date.now() > until) {
        throw new Error(`cluster ${client.name} knows no ${manifest.kind} of ${manifest.apiVersion}`);
      }
      await delay(DISCOVERY.every, undefined, { signal: work.signal });
    }
  }

  async #await(
    target: Target,
    desired: Desired,
    applied: KubeObject,
    limit: number | undefined,
    work: Work,
  ): Promise<Created> {
    const { kind, directives, isPatch } = target.manifest;
    const made = (object: KubeObject) => ({
      id: target.id,
      outputs: outputsOf(object, desired.inputs, kind),
    });
    if (isPatch || directives.skipAwait) return made(applied);
    const patience = limit ?? directives.timeout ?? PATIENCE;
    const check = (object: KubeObject | undefined) =>
      object === undefined
        ? ({ state: "failed", why: "it was deleted while it was waited for" } as const)
        : readinessOf(object);
    if (check(applied).state === "ready") return made(applied);
    try {
      const object = await waitUntil(target.client, target.place, check, patience, work.signal);
      return made(object ?? applied);
    } catch (error) {
      if (!(error instanceof NotReady))
        throw new IncompleteError((error as Error).message, made(applied), { cause: error });
      const trouble = await podTrouble(target.client, error.object ?? applied);
      throw new IncompleteError([error.message, ...trouble].join("; "), made(error.object ?? applied));
    }
  }
}

/** Deletes a whole object and waits until it is gone; of a patch, gives up just its fields. */
async function remove(target: Target, limit: number): Promise<void> {
  const live = await target.get();
  if (live === undefined) return;
  const { apiVersion, kind, metadata } = live;
  if (target.manifest.isPatch) {
    const namespace = metadata?.namespace === undefined ? {} : { namespace: metadata.namespace };
    await target.apply(
      { apiVersion, kind, metadata: { name: target.place.name, ...namespace } } as KubeObject,
      {
        uid: metadata?.uid,
      },
    );
    return;
  }
  try {
    const path = `${target.place.collection}/${encodeURIComponent(target.place.name)}`;
    const body = { apiVersion: "v1", kind: "DeleteOptions", propagationPolicy: "Foreground" };
    await target.client.request({ method: "DELETE", path, body });
  } catch (error) {
    if (!(error instanceof ApiError && error.status === 404)) throw error;
  }
  await target.gone(metadata?.uid, limit);
}

/** Whether it cannot be told from the error if the object was written. */
function isUnclear(error: Error): boolean {
  return error instanceof Unreachable || (error instanceof ApiError && error.status >= 500);
}

/** Every failure says which object of which cluster it is about. */
async function describing<T>(target: Target, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof Error && !(error instanceof Unreachable))
      error.message = `${target}: ${error.message}`;
    throw error;
  }
}

function hasUnknownName(inputs: Properties): boolean {
  const metadata = inputs.metadata as { [key: string]: Value } | undefined;
  return (
    metadata === undefined ||
    typeof metadata !== "object" ||
    [metadata.name, metadata.namespace].some(containsUnknown)
  );
}

function namespaceOf(id: string): Partial<Manifest> {
  const { namespace } = parseId(id);
  return namespace === undefined ? {} : { namespace };
}

/** `kubernetes:core/v1:Service` names API version `v1`, `kubernetes:apps/v1:Deployment` `apps/v1`. */
function tokenOf(type: string): { apiVersion: string; kind: string } {
  const [, group = "", kind = ""] = type.split(":");
  return { apiVersion: group.startsWith("core/") ? group.slice("core/".length) : group, kind };
}
