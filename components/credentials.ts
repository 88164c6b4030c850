import * as pulumi from "@pulumi/pulumi";
import { credentialsSecretName, TOKEN_LIFETIME_SECONDS } from "../contract/index.ts";
import { type ApiServer, tokenKubeconfig } from "./kubeconfig.ts";
import { coreApi, type OperatorAccess, reasonOf } from "./operator.ts";

export interface CredentialsArgs {
  source: { name: string; access: OperatorAccess };
  target: { name: string; access: OperatorAccess; apiServer: pulumi.Input<ApiServer> };
  /** The namespace of Isthmus in the source. */
  namespace: pulumi.Input<string>;
  /** The remote access, in the target. */
  account: pulumi.Input<{ namespace: string; serviceAccount: string }>;
}

/**
 * The credentials of a new link, a kubeconfig: unknown in preview, a secret always. A link that has its credentials
 * already keeps them; only where there are none is a token asked for, with the operator's own access to the target:
 * Kubernetes has no resource that a program could declare instead, except one whose token lives for ever.
 */
export function linkCredentials(args: CredentialsArgs): pulumi.Output<string> {
  const inputs = pulumi.all([args.account, args.target.apiServer, args.namespace]);
  if (pulumi.runtime.isDryRun()) {
    return pulumi.secret(inputs.apply(() => pulumi.output(pulumi.unknown as unknown as string)));
  }
  return pulumi.secret(
    inputs.apply(async ([account, apiServer, namespace]) => {
      const { source, target } = args;
      const kept = await keptCredentials(source, target.name, namespace);
      if (kept !== undefined) return kept;
      const token = await requestToken(target, account);
      return tokenKubeconfig(target.name, apiServer, account.namespace, token);
    }),
  );
}

/** The credentials that the source has for the target; nothing where it has none. */
async function keptCredentials(
  source: { name: string; access: OperatorAccess },
  target: string,
  namespace: string,
): Promise<string | undefined> {
  const name = credentialsSecretName(target);
  const api = await coreApi(source.access);
  try {
    const secret = await api.readNamespacedSecret({ name, namespace });
    const encoded = secret.data?.kubeconfig;
    return encoded === undefined ? undefined : Buffer.from(encoded, "base64").toString("utf8");
  } catch (error) {
    if ((error as { code?: unknown }).code === 404) return undefined;
    throw failure(`the Secret ${namespace}/${name} of cluster ${source.name} cannot be read`, error);
  }
}

/** A token of a remote access, with the life that its policy allows by default. */
export async function requestToken(
  target: { name: string; access: OperatorAccess },
  account: { namespace: string; serviceAccount: string },
): Promise<string> {
  const { namespace, serviceAccount } = account;
  const api = await coreApi(target.access);
  try {
    const answer = await api.createNamespacedServiceAccountToken({
      name: serviceAccount,
      namespace,
      body: { spec: { audiences: [], expirationSeconds: TOKEN_LIFETIME_SECONDS } },
    });
    if (!answer.status?.token) throw new Error("the API server answered without a token");
    return answer.status.token;
  } catch (error) {
    throw failure(
      `no token for the ServiceAccount ${namespace}/${serviceAccount} of cluster ${target.name}`,
      error,
    );
  }
}

function failure(what: string, error: unknown): Error {
  return new Error(`${what}: ${reasonOf(error)}`, { cause: error });
}
