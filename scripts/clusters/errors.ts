/** The command line was wrong: the message says what is allowed. Exit code 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** Something on this machine or in a cluster was not as needed: the message says what, and what to do. Exit code 1. */
export class ClusterError extends Error {
  override readonly name = "ClusterError";
}

/** The message of whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
