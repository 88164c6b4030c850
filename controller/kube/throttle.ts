export interface Throttle {
  run<T>(
    call: () => Promise<T>,
    options?: { urgent?: boolean | undefined; signal?: AbortSignal | undefined },
  ): Promise<T>;
}
