import type { Clock } from "../kube/clock.ts";
import type { Log } from "../kube/log.ts";
import type { GatewayFiles } from "./files.ts";
import { backendsOf, configDigest } from "./haproxy/config.ts";
import { type HaproxyMaster, ReloadError } from "./haproxy/master.ts";
import type { HaproxyRuntime, TrustChange } from "./haproxy/runtime.ts";
import { HaproxyUnreachableError } from "./haproxy/socket.ts";
import type { Material } from "./material.ts";
import { type DesiredMap, type Picture, parseMap, renderMap, usableEntries } from "./picture.ts";
import { readIfThere, writeAtomically } from "./write.ts";

/** What an application came to; counted by the metrics. */
export interface Applied {
  /** A configuration made of a picture is in force: this one, or one before it. */
  inForce: boolean;
  reloaded: boolean;
  /** Why the configuration in force is not the desired one. */
  refused?: ReloadError;
  /** Entries of maps that were added, changed or removed without a reload. */
  changes: number;
  certificateReplaced: boolean;
  trust: TrustChange;
}

export interface ApplierOptions {
  files: GatewayFiles;
  runtime: HaproxyRuntime;
  master: HaproxyMaster;
  /** Called before a reload: the old worker's counters are about to be gone. */
  beforeReload?: () => Promise<void>;
  clock: Clock;
  log: Log;
}

/** A configuration that HAProxy refused is tried again no sooner than this. */
const REFUSED_AGAIN_MS = 60_000;
/** How long the worker of a reload may take to answer in the place of the one before. */
const TAKE_OVER_MS = 10_000;

/** HAProxy took a configuration, and its new worker does not answer. It may come yet: what it is to run stays on disk. */
class LateWorkerError extends ReloadError {}

/**
 * Makes a running HAProxy do what a picture says. Files first, then the running process: what it forgets in a reload or a
 * restart it finds again on disk.
 */
export class Applier {
  readonly #options: ApplierOptions;
  #wasInForce = false;
  /** A trust anchor was dropped, and no new worker has started since. */
  #mustReload = false;
  #refused: { digest: string; at: number; error: ReloadError } | undefined;

  constructor(options: ApplierOptions) {
    this.#options = options;
  }

  /** @throws HaproxyUnreachableError while there is no HAProxy; HaproxyCommandError when it refuses a command */
  async apply(picture: Picture, material: Material, serving: boolean): Promise<Applied> {
    const { files, runtime } = this.#options;
    await writeMaterial(files, material);
    const onDisk = await readIfThere(files.config);
    await this.#writeMaps(picture.maps, onDisk ?? picture.config);

    const certificateReplaced = await runtime.syncCertificate(files.certificate, material.certificatePem);
    const trust = await runtime.syncTrust(files.trust, material.trustPem);
    // Remembered until it is done: what comes in between may fail, and the next round finds nothing to narrow.
    if (trust === "narrowed") this.#mustReload = true;
    const changes = await this.#syncMaps(picture.maps);
    await this.#cutRevoked(picture);

    // TLS sessions from before would be taken up again without a look at the bundle; a new worker knows none of them.
    const outcome = await this.#ensureConfig(picture, onDisk, this.#mustReload);
    if (outcome.reloaded) this.#mustReload = false;
    if (outcome.refused === undefined) this.#wasInForce = true;
    await this.#setStatus(serving && this.#wasInForce);
    return { ...outcome, inForce: this.#wasInForce, changes, certificateReplaced, trust };
  }

  /** What `/ready` of HAProxy answers: never 200 before the first picture is in force. */
  async #setStatus(ready: boolean): Promise<void> {
    const { files, runtime } = this.#options;
    const entries = new Map(ready ? [["ready", "true"]] : []);
    await writeAtomically(files.status, renderMap(entries));
    await runtime.syncMap(files.status, entries);
  }

  /**
   * The maps' files, as a worker can use them that starts with this configuration.
   *
   * @param present what a map is now @default what its file says
   */
  async #writeMaps(
    maps: readonly DesiredMap[],
    config: string,
    present = async (file: string) => parseMap((await readIfThere(file)) ?? ""),
  ): Promise<void> {
    const backends = backendsOf(config);
    for (const map of maps) {
      const entries = await usableEntries(map, backends, () => present(map.file));
      await writeAtomically(map.file, renderMap(entries));
    }
  }

  /** As the running worker can use them: for some it may not have the backend yet. */
  async #syncMaps(maps: readonly DesiredMap[]): Promise<number> {
    const { runtime } = this.#options;
    const backends = await runtime.backends();
    let changes = 0;
    for (const map of maps) {
      const entries = await usableEntries(map, backends, () => runtime.map(map.file));
      const { added, changed, removed } = await runtime.syncMap(map.file, entries);
      changes += added + changed + removed;
    }
    return changes;
  }

  /** Workers from before a reload may carry connections of such a caller, and handshakes that are about to be one. */
  async #cutRevoked(picture: Picture): Promise<void> {
    const { runtime, master, log } = this.#options;
    for (const { backend, file, key } of picture.revoked?.(await runtime.backends()) ?? []) {
      await master.tellWorkers(`del map ${file} ${key}`);
      const cut = await master.cutConnections(backend);
      log.info("a caller is let in no longer", { caller: key, connectionsCut: cut });
    }
  }

  /** @param onDisk the configuration that HAProxy would find if it were started anew */
  async #ensureConfig(
    { config, maps }: Picture,
    onDisk: string | undefined,
    forced: boolean,
  ): Promise<{ reloaded: boolean; refused?: ReloadError }> {
    const { files, runtime, master, clock, log, beforeReload } = this.#options;
    const digest = configDigest(config)!;
    const inForce = await runtime.digest();
    if (digest === inForce) {
      // What was tried in between may have left another one on disk.
      if (onDisk !== config) {
        await writeAtomically(files.config, config);
        await this.#writeMaps(maps, config, (file) => runtime.map(file));
      }
      if (!forced || this.#refused?.error instanceof LateWorkerError) this.#refused = undefined;
      if (!forced) return { reloaded: false };
    }
    if (this.#refused?.digest === digest && clock.monotonic() - this.#refused.at < REFUSED_AGAIN_MS) {
      return { reloaded: false, refused: this.#refused.error };
    }
    const before = digest === inForce ? config : onDisk;
    await beforeReload?.();
    await writeAtomically(files.servers, await runtime.servers());
    await this.#writeMaps(maps, config);
    await writeAtomically(files.config, config);
    try {
      await master.reload();
      await this.#waitFor(digest);
    } catch (error) {
      if (!(error instanceof ReloadError)) throw error;
      // Should HAProxy be started anew, it must find a configuration that it takes.
      if (before !== undefined && !(error instanceof LateWorkerError)) {
        await writeAtomically(files.config, before);
        await this.#writeMaps(maps, before, (file) => runtime.map(file));
      }
      this.#refused = { digest, at: clock.monotonic(), error };
      return { reloaded: false, refused: error };
    }
    this.#refused = undefined;
    log.info("HAProxy runs a new configuration", { digest, before: inForce });
    return { reloaded: true };
  }

  /** Until the new worker is the one that answers. */
  async #waitFor(digest: string): Promise<void> {
    const { runtime, clock } = this.#options;
    const deadline = clock.monotonic() + TAKE_OVER_MS;
    for (;;) {
      try {
        if ((await runtime.digest()) === digest) return;
      } catch (error) {
        if (!(error instanceof HaproxyUnreachableError)) throw error;
      }
      if (clock.monotonic() >= deadline) {
        throw new LateWorkerError(`HAProxy's new worker did not answer within ${TAKE_OVER_MS} ms`);
      }
      await clock.sleep(20);
    }
  }
}

/** Write the certificate and the bundle where HAProxy loads them. */
export async function writeMaterial(files: GatewayFiles, material: Material): Promise<void> {
  await writeAtomically(files.certificate, material.certificatePem);
  await writeAtomically(files.trust, material.trustPem);
}
