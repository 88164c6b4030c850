/** Says what happens now, and how long it has been: `local: API server ready (3.1 s)`. */
export type Progress = (message: string) => void;

/** Progress on standard error, so that standard output stays free for results. */
export function progressOf(subject: string): Progress {
  const start = performance.now();
  return (message) => {
    const seconds = ((performance.now() - start) / 1000).toFixed(1);
    process.stderr.write(`${subject}: ${message} (${seconds} s)\n`);
  };
}
