import { Refusal } from "../fake-api-objects.ts";
import type { FakeRequest } from "../fake-api-request.ts";
import type { Random } from "./random.ts";

/** How it stands with the way to an API server, and with the server itself. */
export interface Weather {
  /** `refusing`: nothing listens there, connections break. `hanging`: what is sent waits, and so does what comes back. */
  state: "up" | "refusing" | "hanging";
  /** Milliseconds one way, least and most. */
  latency: readonly [number, number];
  /** Probability that a way takes up to three seconds. */
  slow: number;
  /** Probability that something goes wrong with a call. */
  faults: number;
  /** Probability that an event of a watch is sent twice. */
  repeats: number;
  /** Probability that a watch breaks instead of bringing an event. */
  breaks: number;
}

/** What goes wrong with one call. */
export type Fault =
  /** The server refuses. */
  | { kind: "status"; refusal: Refusal; retryAfterSeconds?: number }
  /** Something else answers. */
  | { kind: "body"; status: number; body: string }
  /** The connection breaks before the server has done anything; or after, and whoever asked does not know. */
  | { kind: "lost-before" | "lost-after" }
  /** No answer ever comes; the server has, or has not, done it. */
  | { kind: "hang-before" | "hang-after" }
  /** The answer ends in the middle; `clean`, as if that were its end. */
  | { kind: "half"; clean: boolean };

const CALM: Pick<Weather, "slow" | "faults" | "repeats" | "breaks"> = {
  slow: 0,
  faults: 0,
  repeats: 0,
  breaks: 0,
};

export function fairWeather(latency: readonly [number, number]): Weather {
  return { state: "up", latency, ...CALM };
}

/** Back to fair weather, at the same distance. */
export function clearUp(weather: Weather): void {
  Object.assign(weather, { state: "up", ...CALM });
}

export function drawFault(random: Random, weather: Weather, request: FakeRequest): Fault | undefined {
  if (!random.chance(weather.faults)) return undefined;
  const reading = request.method === "GET";
  const status = (code: number, reason: string): Fault => ({
    kind: "status",
    refusal: new Refusal(code, reason, "a fault"),
  });
  const fault = random.weighted<Fault>([
    [3, status(500, "InternalError")],
    [2, status(503, "ServiceUnavailable")],
    [1, status(504, "Timeout")],
    [
      2,
      {
        kind: "status",
        refusal: new Refusal(429, "TooManyRequests", "a fault"),
        retryAfterSeconds: random.between(1, 5),
      },
    ],
    [1, { kind: "body", status: 502, body: "<html>bad gateway</html>" }],
    [1, { kind: "body", status: 200, body: "<html>log in</html>" }],
    [2, { kind: "lost-before" }],
    [3, { kind: "lost-after" }],
    [1, { kind: "hang-before" }],
    [1, { kind: "hang-after" }],
    [2, { kind: "half", clean: false }],
    [2, { kind: "half", clean: true }],
    // Conflicts are for those who write over something, the end of history for those who read it.
    [
      2,
      reading
        ? status(410, "Expired")
        : request.method === "POST"
          ? status(500, "InternalError")
          : status(409, "Conflict"),
    ],
    [1, status(401, "Unauthorized")],
  ]);
  return fault;
}
