import type { WireEvent } from "../fake-api-watches.ts";
import type { Machine, Network } from "./network.ts";
import type { SimulatedApi } from "./simulated-api.ts";

export interface StreamOptions {
  network: Network;
  machine: Machine;
  api: SimulatedApi;
  /** The reader gives up after so long without a byte. */
  silenceMs: number;
  /** Something was read that was sent at `sentAt`, or the stream began; `pending` if more is on its way. */
  onDelivered: (sentAt: number, pending: boolean) => void;
  onClosed: () => void;
  timedOut: () => Error;
  broken: () => Error;
}

type Piece = { text: string } | { end: true } | { error: unknown };

/** The events of one watch, on their way from an API server to a process: in their order, each with a delay of its own. */
export class Stream {
  readonly #options: StreamOptions;
  readonly #arrived: Piece[] = [];
  /** When what is on its way was sent, the oldest first. */
  readonly #underWay: number[] = [];
  #wake: (() => void) | undefined;
  #lastArrival = 0;
  #heardAt = 0;
  #begun = false;
  #over = false;

  constructor(options: StreamOptions) {
    this.#options = options;
  }

  /** Everything that happened before this has been read. */
  knownUntil(): number {
    return this.#underWay[0] ?? this.#options.network.time.now;
  }

  send(event: WireEvent): void {
    const { network, api } = this.#options;
    const weather = network.weatherOf(api);
    if (network.chance(weather.breaks)) {
      this.fail(this.#options.broken());
      return;
    }
    const text = `${JSON.stringify(event)}\n`;
    this.#dispatch({ text: network.chance(weather.repeats) ? text + text : text });
  }

  end(): void {
    this.#dispatch({ end: true });
  }

  /** The reader's side breaks off, now. */
  fail(error: unknown): void {
    this.#arrive({ error });
  }

  /** Nobody reads any more. */
  vanish(): void {
    this.#over = true;
  }

  begin(): void {
    const { network, machine } = this.#options;
    this.#begun = true;
    this.#heardAt = network.time.now;
    this.#delivered(network.time.now);
    const watchSilence = (ms: number) => {
      machine.clock.after(ms, () => {
        if (this.#over) return;
        const left = this.#heardAt + this.#options.silenceMs - network.time.now;
        if (left > 0) watchSilence(left);
        else this.fail(this.#options.timedOut());
      });
    };
    watchSilence(this.#options.silenceMs);
  }

  async *read(): AsyncGenerator<Buffer> {
    try {
      for (;;) {
        const piece = this.#arrived.shift();
        if (piece === undefined) {
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
        } else if ("text" in piece) yield Buffer.from(piece.text);
        else if ("end" in piece) return;
        else throw piece.error;
      }
    } finally {
      this.#over = true;
      this.#options.onClosed();
    }
  }

  #dispatch(piece: Piece): void {
    if (this.#over) return;
    const { network, machine, api } = this.#options;
    const { now } = network.time;
    this.#lastArrival = Math.max(this.#lastArrival, now + network.latency(api));
    this.#underWay.push(now);
    network.time.after(this.#lastArrival - now, () =>
      network.whenOpen(machine, api, () => {
        const sentAt = this.#underWay.shift() ?? now;
        this.#arrive(piece);
        if (this.#begun) this.#delivered(sentAt);
      }),
    );
  }

  #arrive(piece: Piece): void {
    if (this.#over) return;
    // What broke brings nothing more.
    if ("error" in piece || "end" in piece) this.#over = true;
    this.#heardAt = this.#options.network.time.now;
    this.#arrived.push(piece);
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }

  #delivered(sentAt: number): void {
    if (!this.#over) this.#options.onDelivered(sentAt, this.#underWay.length > 0);
  }
}
