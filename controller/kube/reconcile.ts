/**
 * Makes the world as it should be for one key.
 *
 * A key is only a name. It says nothing about what happened, how often, or whether anything happened at all: reconcile
 * looks at what there is now, works out what there should be, and changes what differs. So it may be called again for the
 * same key at any time, and must then find nothing to do.
 *
 * Never is one key reconciled twice at a time. A key that is added while it is being reconciled is reconciled once more
 * afterwards, however often it was added.
 *
 * - Resolve with nothing when done: the key is looked at again when it is added.
 * - Resolve with `againMs` to be called after that time even if nothing is added (a certificate runs out, a token does).
 * - Throw when something failed: called again after a pause that doubles with every failure in a row.
 * - Throw a `TerminalError` when only a change can help: not called again until the key is added.
 *
 * `signal` is aborted when the queue stops. What is then under way should end soon; its key is not lost, but taken up when
 * the queue runs again.
 */
export type Reconcile = (key: string, signal: AbortSignal) => Promise<ReconcileResult | undefined>;

export interface ReconcileResult {
  againMs?: number;
}

/** Thrown by a reconcile for what only a change can heal: logged and counted once, not tried again until the next `add`. */
export class TerminalError extends Error {
  override readonly name: string = "TerminalError";
}
