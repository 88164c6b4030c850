/** What an API server answers when it does not do what was asked, in words. */

interface Cause {
  field?: string;
  message?: string;
  reason?: string;
}

interface Status {
  message?: string;
  reason?: string;
  details?: { kind?: string; name?: string; causes?: Cause[] };
}

export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly status: number;
  readonly reason: string;
  readonly retryAfter: number | undefined;
  readonly #details: Status["details"];

  constructor(status: number, body: string, cluster: string, retryAfter?: number) {
    const parsed = parseStatus(body);
    super(parsed.message ?? `cluster ${cluster} answered ${status}: ${body.slice(0, 300)}`);
    this.status = status;
    this.reason = parsed.reason ?? "";
    this.retryAfter = retryAfter;
    this.#details = parsed.details;
  }

  /** The fields that other managers hold, and which ones, when server-side apply was refused for that. */
  get conflicts(): { field: string; manager: string }[] {
    if (this.status !== 409) return [];
    return (this.#details?.causes ?? []).flatMap((cause) => {
      if (cause.reason !== "FieldManagerConflict") return [];
      const manager = /conflict with "((?:[^"\\]|\\.)*)"/.exec(cause.message ?? "")?.[1] ?? "another manager";
      return [{ field: cause.field ?? "", manager }];
    });
  }

  /** The field cannot be changed once the object is there. */
  get isImmutable(): boolean {
    return (
      this.status === 422 &&
      /immutable|may not change once set|cannot change|updates to .* are forbidden/i.test(this.message)
    );
  }

  /** A 404 for the namespace of the object, not for the object itself. */
  get isMissingNamespace(): boolean {
    return this.status === 404 && this.#details?.kind === "namespaces";
  }
}

function parseStatus(body: string): Status {
  try {
    return JSON.parse(body) as Status;
  } catch {
    return {};
  }
}

export class Unreachable extends Error {
  override readonly name = "Unreachable";
  readonly code: string | undefined;

  constructor(cluster: string, server: string, why: string, code?: string) {
    super(
      `cluster ${cluster} (${server}) cannot be reached: ${why}. Check that it runs and that its kubeconfig context is right`,
    );
    this.code = code;
  }
}

export function conflictMessage(conflicts: { field: string; manager: string }[]): string {
  const fields = conflicts.map(({ field, manager }) => `${field} (held by ${manager})`).join(", ");
  return (
    `other field managers hold what should be set here: ${fields}. Take these fields out of the program, or out of ` +
    'the other manager\'s hands, or take them over with the annotation pulumi.com/patchForce: "true"'
  );
}
