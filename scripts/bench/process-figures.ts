import { readFile } from "node:fs/promises";

/** What a process holds of memory, in MiB. */
export interface Memory {
  /** Now. */
  resident: number;
  /** The most it ever was. */
  peak: number;
}

/** The unit of the times in `/proc/PID/stat`; Linux has it so on every architecture that Node runs on. */
const TICKS_PER_SECOND = 100;

export async function memoryOf(pid: number): Promise<Memory> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  const mebibytes = (field: string) =>
    Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, "m").exec(status)?.[1]) / 1024;
  return { resident: mebibytes("VmRSS"), peak: mebibytes("VmHWM") };
}

/** Seconds of processor time that a process has used so far. */
export async function cpuSecondsOf(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8");
  // The name of the program, in brackets, may hold spaces.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}
