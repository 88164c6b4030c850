import type { FakeRequest } from "./fake-api-request.ts";

/** What goes wrong with a request. */
export type Fault =
  /** The server refuses it with a Status. */
  | { kind: "status"; status: number; reason?: string; message?: string; retryAfterSeconds?: number }
  /** Something else answers. */
  | { kind: "body"; status?: number; type?: string; body: string; headers?: Record<string, string> }
  /** An answer begins so, and never goes on. */
  | { kind: "stall"; body: string }
  /** The connection breaks, with all that is on it, before anything is done. */
  | { kind: "drop" }
  /** The request is carried out, then the connection breaks: whoever asked does not know. */
  | { kind: "drop-after" }
  /** No answer ever comes. */
  | { kind: "hang" }
  /** It takes a while, then all is well. */
  | { kind: "delay"; ms: number }
  /** Page follows page, for ever. */
  | { kind: "endless-list" };

interface Injected {
  fault: Fault;
  times: number;
  when: (request: FakeRequest) => boolean;
}

/** The faults that tests asked for, first come, first served. */
export class Faults {
  #injected: Injected[] = [];

  /** Let the next `times` requests for which `when` holds fail. The function returned ends that. */
  inject(
    fault: Fault,
    { times = 1, when = () => true }: { times?: number; when?: (request: FakeRequest) => boolean } = {},
  ): () => void {
    const injected = { fault, times, when };
    this.#injected.push(injected);
    return () => {
      injected.times = 0;
    };
  }

  clear(): void {
    this.#injected = [];
  }

  take(request: FakeRequest): Fault | undefined {
    const found = this.#injected.find(({ times, when }) => times > 0 && when(request));
    if (!found) return undefined;
    found.times--;
    this.#injected = this.#injected.filter(({ times }) => times > 0);
    return found.fault;
  }
}
