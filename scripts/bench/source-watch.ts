import { sliceName } from "../../contract/index.ts";
import type { KubeClient } from "../../controller/kube/client.ts";
import { createLog } from "../../controller/kube/log.ts";
import type { EndpointSlice, Service } from "../../controller/kube/objects.ts";
import { Reflector } from "../../controller/kube/reflector.ts";
import { ENDPOINT_SLICES, SERVICES } from "../../controller/kube/resource.ts";
import { Store } from "../../controller/kube/store.ts";
import { WORK } from "./site.ts";

/** Longer than any mirror takes to come or go. */
const PATIENCE_MS = 60_000;

/** Sees mirrors come and go as any other client of the source would: by watches. */
export class SourceWatch {
  readonly #services = new Store<Service>();
  readonly #slices = new Store<EndpointSlice>();
  readonly #stop = new AbortController();
  readonly #waiting = new Set<() => void>();
  readonly #running: Promise<unknown>;
  readonly #synced: Promise<unknown>;

  private constructor(client: KubeClient) {
    const common = { client, namespace: WORK, log: createLog({ level: "warn" }) };
    const services = new Reflector({ ...common, resource: SERVICES, sink: this.#services });
    const slices = new Reflector({ ...common, resource: ENDPOINT_SLICES, sink: this.#slices });
    for (const store of [this.#services, this.#slices]) {
      store.onChange(() => {
        for (const look of this.#waiting) look();
      });
    }
    this.#running = Promise.all([services.run(this.#stop.signal), slices.run(this.#stop.signal)]);
    this.#synced = Promise.all([services.synced, slices.synced]);
  }

  static async open(client: KubeClient): Promise<SourceWatch> {
    const watch = new SourceWatch(client);
    await watch.#synced;
    return watch;
  }

  /** Resolves with the time (`performance.now`) at which a Service and a slice of it that has an address are there. */
  pair(service: string): Promise<number> {
    return this.#until(`Service ${service} and its slice`, () => {
      const slice = this.#slices.get(`${WORK}/${sliceName(service)}`);
      return this.#services.has(`${WORK}/${service}`) && (slice?.endpoints?.length ?? 0) > 0;
    });
  }

  /** Resolves when neither the Service nor its slice is there. */
  async gone(service: string): Promise<void> {
    await this.#until(`the end of Service ${service}`, () => {
      return !this.#services.has(`${WORK}/${service}`) && !this.#slices.has(`${WORK}/${sliceName(service)}`);
    });
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  #until(what: string, holds: () => boolean): Promise<number> {
    return new Promise((resolve, reject) => {
      const patience = setTimeout(() => {
        this.#waiting.delete(look);
        reject(new Error(`gave up waiting for ${what} in namespace ${WORK} of the source`));
      }, PATIENCE_MS);
      const look = () => {
        if (!holds()) return;
        clearTimeout(patience);
        this.#waiting.delete(look);
        resolve(performance.now());
      };
      this.#waiting.add(look);
      look();
    });
  }
}
