import { Counter, Gauge, type Registry } from "prom-client";
import type { Applied } from "./apply.ts";
import { backendPeer } from "./egress-config.ts";
import type { StatRow } from "./haproxy/stat.ts";
import { backendSource } from "./ingress-config.ts";
import type { Material } from "./material.ts";
import type { Picture } from "./picture.ts";

export type Direction = "ingress" | "egress";

/** What a gateway tells Prometheus. `peer` is the source of an ingress' calls, the gateway of an egress'. */
export class GatewayMetrics {
  readonly #direction: Direction;
  readonly #reloads: Counter;
  readonly #changes: Counter;
  readonly #errors: Counter;
  readonly #routes: Gauge;
  readonly #problems: Gauge;
  readonly #expiry: Gauge;
  readonly #open: Gauge;
  readonly #connections: Counter;
  readonly #bytes: Counter;
  readonly #refused: Counter;
  readonly #up: Gauge;
  readonly #last = new Map<string, number>();
  #refusal: Applied["refused"];

  constructor(registry: Registry, direction: Direction) {
    const registers = [registry];
    const counter = (name: string, help: string, ...labelNames: string[]) =>
      new Counter({ name, help, labelNames, registers });
    const gauge = (name: string, help: string, ...labelNames: string[]) =>
      new Gauge({ name, help, labelNames, registers });
    this.#direction = direction;
    this.#reloads = counter("isthmus_gateway_reloads_total", "Reloads of HAProxy.", "outcome");
    this.#changes = counter("isthmus_gateway_map_changes_total", "Map entries changed without a reload.");
    this.#errors = counter("isthmus_gateway_errors_total", "Rounds in which HAProxy could not be updated.");
    this.#routes = gauge("isthmus_gateway_routes", "Entries of the routes map.");
    this.#problems = gauge("isthmus_gateway_problems", "Objects that could not be carried over; see /state.");
    this.#expiry = gauge(
      "isthmus_gateway_certificate_expiry_timestamp_seconds",
      "When the certificate in use expires.",
    );
    this.#open = gauge("isthmus_gateway_open_connections", "Connections open now.", "direction", "peer");
    this.#connections = counter(
      "isthmus_gateway_connections_total",
      "Connections carried.",
      "direction",
      "peer",
    );
    this.#bytes = counter("isthmus_gateway_bytes_total", "Bytes carried.", "direction", "peer", "to");
    this.#refused = counter(
      "isthmus_gateway_refused_total",
      "Connections closed because nothing allows them.",
      "direction",
    );
    this.#up = gauge("isthmus_gateway_target_up", "Whether the target's gateway answers.", "peer", "gateway");
  }

  applied(applied: Applied, picture: Picture, material: Material): void {
    if (applied.reloaded) this.#reloads.inc({ outcome: "success" });
    // A refusal is reported round after round until it is over.
    if (applied.refused && applied.refused !== this.#refusal) this.#reloads.inc({ outcome: "refused" });
    this.#refusal = applied.refused;
    this.#changes.inc(applied.changes);
    this.#routes.set(picture.maps.at(-1)?.entries.size ?? 0);
    this.#problems.set(picture.problems.length);
    this.#expiry.set(material.notAfter.getTime() / 1000);
  }

  failed(): void {
    this.#errors.inc();
  }

  /** Take over what HAProxy counts. Its counts begin at 0 in every new worker; ours go on. */
  observe(rows: readonly StatRow[]): void {
    const direction = this.#direction;
    this.#open.reset();
    this.#up.reset();
    for (const row of rows) {
      const peer = backendSource(row.proxy) ?? backendPeer(row.proxy);
      if (peer === undefined) {
        if (row.service === "FRONTEND" && row.proxy === direction) {
          this.#refused.inc({ direction }, this.#since(`${row.proxy} refused`, row.refused));
        }
      } else if (row.service === "BACKEND") {
        this.#open.set({ direction, peer }, row.open);
        this.#connections.inc({ direction, peer }, this.#since(`${row.proxy} total`, row.total));
        this.#bytes.inc({ direction, peer, to: "callee" }, this.#since(`${row.proxy} in`, row.bytesIn));
        this.#bytes.inc({ direction, peer, to: "caller" }, this.#since(`${row.proxy} out`, row.bytesOut));
      } else if (direction === "egress" && !row.status.startsWith("MAINT")) {
        // In maintenance are the places kept for more addresses than a host name has.
        this.#up.set({ peer, gateway: row.service }, row.status.startsWith("UP") ? 1 : 0);
      }
    }
  }

  /** How much `value` has grown since the last time, where it may have begun anew. */
  #since(name: string, value: number): number {
    const last = this.#last.get(name) ?? 0;
    this.#last.set(name, value);
    return value >= last ? value - last : value;
  }
}
