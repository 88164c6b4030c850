/** Runs steps side by side as far as their order allows. */
import { Limit } from "../engines/limit.ts";

export interface Ordered {
  stack: string;
  after: string[];
}

/**
 * Each step begins when all that it comes after have ended well, and at most `parallel` are at work at once.
 * @param work Returns whether the step ended well; it does not throw.
 * @param skip Called instead of `work` with the step that it waited for in vain.
 */
export async function inOrder<S extends Ordered>(
  steps: readonly S[],
  parallel: number,
  work: (step: S) => Promise<boolean>,
  skip: (step: S, because: string) => void,
): Promise<void> {
  const limit = new Limit(parallel);
  const byName = new Map(steps.map((step) => [step.stack, step]));
  const running = new Map<string, Promise<boolean>>();
  const run = (step: S): Promise<boolean> => {
    let result = running.get(step.stack);
    if (result === undefined) {
      result = begin(step);
      running.set(step.stack, result);
    }
    return result;
  };
  const begin = async (step: S): Promise<boolean> => {
    const before = step.after.flatMap((name) => byName.get(name) ?? []);
    const ended = await Promise.all(before.map(run));
    const failed = before[ended.indexOf(false)];
    if (failed === undefined) return limit.run(() => work(step));
    skip(step, failed.stack);
    return false;
  };
  await Promise.all(steps.map(run));
}
