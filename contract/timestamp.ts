/** A time as Kubernetes writes it: UTC, whole seconds. @param time a Date, or milliseconds since the epoch */
export function timestamp(time: Date | number): string {
  return `${new Date(time).toISOString().slice(0, 19)}Z`;
}
