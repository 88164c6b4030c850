/** How a command ends. */
export const ExitCode = {
  ok: 0,
  /** Something could not be done, or a check did not hold. */
  failure: 1,
  /** The command line or the declaration is wrong: nothing was tried. */
  usage: 2,
  /** Ended by Ctrl-C. */
  interrupted: 130,
} as const;
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode];

/** The command line cannot be followed as it is. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}
