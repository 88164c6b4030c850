import { isDeepStrictEqual } from "node:util";
import { isNode, parseDocument, Scalar } from "yaml";
import { CredentialsError } from "../../kube/credentials.ts";

/** As much of a kubeconfig as leads to a token. */
interface Kubeconfig {
  "current-context": string;
  contexts: { name: string; context: { user: string } }[];
  users: { name: string; user: { token?: string } }[];
}

/**
 * A kubeconfig with another token for the user of its current context, and otherwise byte for byte as it was: what people
 * wrote beside it is theirs. `text` must be one that `parseRemoteKubeconfig` takes, with a token.
 * @throws CredentialsError where the token stands in a place that others share
 */
export function withToken(text: string, token: string): string {
  const document = parseDocument(text, { logLevel: "silent" });
  const before = document.toJS({ maxAliasCount: 10 }) as Kubeconfig;
  const index = userIndex(before);
  const node: unknown = document.getIn(["users", index, "user", "token"], true);
  // Through JSON, so that what an alias shares is no longer shared.
  const after = JSON.parse(JSON.stringify(before)) as Kubeconfig;
  const user = after.users[index]?.user;
  if (user !== undefined) user.token = token;

  let changed: string | undefined;
  if (isNode(node) && node.range && !isBlock(node)) {
    const [start, end] = node.range;
    const plain = node instanceof Scalar && node.type === Scalar.PLAIN;
    changed = text.slice(0, start) + (plain ? token : JSON.stringify(token)) + text.slice(end);
  } else if (isNode(node)) {
    document.setIn(["users", index, "user", "token"], token);
    changed = document.toString({ lineWidth: 0 });
  }
  if (changed === undefined || !isDeepStrictEqual(parsed(changed), after)) {
    throw new CredentialsError(
      "kubeconfig: its token cannot be replaced without changing more; write it out, without YAML aliases",
    );
  }
  return changed;
}

/** A text of several lines, whose place tells nothing of how to write another into it. */
function isBlock(node: unknown): boolean {
  return node instanceof Scalar && (node.type === Scalar.BLOCK_LITERAL || node.type === Scalar.BLOCK_FOLDED);
}

/** As with kubectl, the first of a name counts. */
function userIndex(config: Kubeconfig): number {
  const context = config.contexts.find(({ name }) => name === config["current-context"])?.context;
  return config.users.findIndex(({ name }) => name === context?.user);
}

function parsed(text: string): unknown {
  const document = parseDocument(text, { logLevel: "silent" });
  return document.errors.length > 0 ? undefined : document.toJS({ maxAliasCount: 10 });
}
