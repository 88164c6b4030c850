import {
  Link,
  type LinkArgs,
  MirrorController,
  type MirrorControllerArgs,
  RemoteAccess,
  type RemoteAccessArgs,
} from "../../components/index.ts";
import { MIRROR, remoteAccessName } from "../../contract/index.ts";
import type { KubeClient } from "../../controller/kube/client.ts";
import type { Credentials } from "../../controller/kube/credentials.ts";
import { isNotFound } from "../../controller/kube/errors.ts";
import type { KubeObject } from "../../controller/kube/objects.ts";
import { path, type Resource, SERVICE_ACCOUNTS } from "../../controller/kube/resource.ts";
import { objectsOf } from "../support/rendered.ts";
import { until } from "./until.ts";
import type { Permission, World } from "./world.ts";

const OPTIONS = { fieldManager: "isthmus-test", force: true };

/** What of a Role and of a binding is needed to tell what an account may do. */
interface Rbac extends KubeObject {
  rules?: { apiGroups?: string[]; resources?: string[]; resourceNames?: string[]; verbs: string[] }[];
  roleRef?: { kind: string; name: string };
  subjects?: { name: string }[];
}

const PLURALS: Record<string, string> = {
  ValidatingAdmissionPolicy: "validatingadmissionpolicies",
  ValidatingAdmissionPolicyBinding: "validatingadmissionpolicybindings",
};

/**
 * A world's controller and remote accesses with exactly the permissions that the components give them, which an
 * administrator's controller never misses.
 */
export class LeastPrivilege {
  readonly #world: World;
  /** What stands in no namespace goes with no namespace. */
  readonly #shared: [KubeClient, Resource, string][] = [];

  constructor(world: World) {
    this.#world = world;
  }

  /** The ServiceAccount of the mirror controller, as the component makes it. */
  async controller(args: Partial<MirrorControllerArgs> = {}): Promise<Credentials> {
    const { source, isthmus } = this.#world;
    const made = await objectsOf(() => {
      new MirrorController("controller", { namespace: isthmus, ...args });
    });
    await this.#apply(
      source,
      made.filter(({ kind }) => /^(ServiceAccount|(Cluster)?Role(Binding)?)$/.test(kind)),
    );
    return this.#world.credentialsOf("source", await this.#token(source, MIRROR));
  }

  /** A Link with its Secret and permissions, as the component makes them; of `kinds` only, where they are given. */
  async link(args: Partial<LinkArgs>, kinds: string[] = []): Promise<void> {
    const { isthmus, mark, source } = this.#world;
    const made = await objectsOf(() => {
      new Link("link", {
        target: "remote",
        namespace: isthmus,
        gateway: {
          addresses: ["192.0.2.127"],
          port: 888,
          identity: "gateway.remote.demo.mesh",
          probe: { path: "/ready", port: 4191, period: "3s" },
        },
        kubeconfig: "clusters: []",
        selector: { matchLabels: { "mirror.linkerd.io/exported": "true", ...mark } },
        excludedLabels: Object.keys(mark),
        ...args,
      });
    });
    await this.#apply(
      source,
      made.filter(({ kind }) => kinds.length === 0 || kinds.includes(kind)),
    );
  }

  /** A remote access of the target, as the component makes it, once its policy is in force. Its account's name. */
  async remoteAccess(args: Partial<RemoteAccessArgs> = {}): Promise<string> {
    const { id, isthmus, target } = this.#world;
    const source = `source-${id}`;
    const made = await objectsOf(() => {
      new RemoteAccess("access", { source, namespace: isthmus, ...args });
    });
    await this.#apply(target, made);
    const name = remoteAccessName(source);
    await until(async () => {
      const given = await this.#token(target, name, 2 ** 31).catch((error: Error) => error.message);
      if (!/may live/.test(given)) throw new Error(`the policy is not in force yet: ${given.slice(0, 40)}`);
    });
    return name;
  }

  /** A token for a remote access, as an operator asks for it. */
  async accessToken(account: string, seconds: number): Promise<string> {
    return await this.#token(this.#world.target, account, seconds);
  }

  async destroy(): Promise<void> {
    for (const [cluster, resource, name] of this.#shared) {
      await cluster.delete(resource, { name }).catch((error: unknown) => {
        if (!isNotFound(error)) throw error;
      });
    }
  }

  async #token(cluster: KubeClient, name: string, expirationSeconds = 3600): Promise<string> {
    const url = path(SERVICE_ACCOUNTS, { namespace: this.#world.isthmus, name, subresource: "token" });
    const body = {
      apiVersion: "authentication.k8s.io/v1",
      kind: "TokenRequest",
      spec: { expirationSeconds },
    };
    const answer = (await cluster.request("POST", url, { body })) as { status: { token: string } };
    return answer.status.token;
  }

  /** Make objects, and wait until what their Roles allow is allowed. */
  async #apply(cluster: KubeClient, objects: Rbac[]): Promise<void> {
    for (const object of objects) await this.#put(cluster, object);
    for (const [account, permission] of permissionsIn(objects)) {
      await this.#world.permitted(cluster, account, permission);
    }
  }

  async #put(cluster: KubeClient, object: Rbac): Promise<void> {
    const namespaced = object.metadata.namespace !== undefined;
    const resource = resourceOf(object, namespaced);
    const shared = (name: string) => (name.includes(this.#world.id) ? name : `${name}-${this.#world.id}`);
    const made = structuredClone(object);
    if (!namespaced) {
      made.metadata.name = shared(made.metadata.name);
      this.#shared.unshift([cluster, resource, made.metadata.name]);
    }
    if (made.roleRef?.kind === "ClusterRole") made.roleRef.name = shared(made.roleRef.name);
    await cluster.apply(resource, made, OPTIONS);
  }
}

/** Accounts with whatever the bindings among these objects give them of the roles among them. */
function permissionsIn(objects: Rbac[]): [account: string, Permission][] {
  return objects.flatMap(({ metadata: { namespace }, roleRef, subjects = [] }) => {
    const role = objects.find(
      ({ kind, metadata }) =>
        kind === roleRef?.kind &&
        metadata.name === roleRef.name &&
        (kind === "ClusterRole" || metadata.namespace === namespace),
    );
    const permissions = (role?.rules ?? []).flatMap(
      ({ apiGroups = [], resources = [], resourceNames = [undefined], verbs }) =>
        apiGroups.flatMap((group) =>
          resources.flatMap((each) => {
            const [resource = "", subresource] = each.split("/");
            return resourceNames.flatMap((name) =>
              verbs.map((verb) => ({ verb, group, resource, subresource, namespace, name })),
            );
          }),
        ),
    );
    return subjects.flatMap(({ name }) =>
      permissions.map((permission): [string, Permission] => [name, permission]),
    );
  });
}

function resourceOf({ apiVersion, kind }: KubeObject, namespaced: boolean): Resource {
  const [version = "", group = ""] = apiVersion.split("/").reverse();
  return { group, version, kind, plural: PLURALS[kind] ?? `${kind.toLowerCase()}s`, namespaced };
}
