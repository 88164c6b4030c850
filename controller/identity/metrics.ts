import { Counter, Gauge, Registry } from "prom-client";

/** What the identity role tells Prometheus. */
export class IdentityMetrics {
  readonly registry = new Registry();
  readonly #expiry: Gauge;
  readonly #issuerExpiry: Gauge;
  readonly #renewals: Counter;
  readonly #problem: Gauge;

  constructor() {
    const registers = [this.registry];
    this.#expiry = new Gauge({
      name: "isthmus_identity_certificate_expiry_timestamp_seconds",
      help: "When the gateway's certificate expires.",
      registers,
    });
    this.#issuerExpiry = new Gauge({
      name: "isthmus_identity_issuer_expiry_timestamp_seconds",
      help: "When the cluster's issuer expires.",
      registers,
    });
    this.#renewals = new Counter({
      name: "isthmus_identity_renewals_total",
      help: "Certificates signed and written.",
      registers,
    });
    this.#problem = new Gauge({
      name: "isthmus_identity_problem",
      help: "1 while no certificate can be signed; /state says why.",
      registers,
    });
  }

  certificate(expires: Date): void {
    this.#expiry.set(expires.getTime() / 1000);
  }

  issuer(expires: Date): void {
    this.#issuerExpiry.set(expires.getTime() / 1000);
  }

  renewed(): void {
    this.#renewals.inc();
  }

  problem(present: boolean): void {
    this.#problem.set(present ? 1 : 0);
  }
}
