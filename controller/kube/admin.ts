import type { Registry } from "prom-client";
import type { Initialized } from "./initialized.ts";
import type { Log } from "./log.ts";

export interface AdminOptions {
  /** `:9990`, `127.0.0.1:9990`, `[::1]:9990`; port 0 takes a free one. */
  address: string;
  registry: Registry;
  /** `/ready` answers 200 once these handles are done. */
  initialized: Initialized;
  /** More to be asked at `/ready`: what is not ready, in words. @default nothing */
  notReady?: () => string[];
  log: Log;
}

export declare class AdminServer {
  constructor(options: AdminOptions);
  /** Add a part to `/state`. */
  state(name: string, provider: () => unknown): void;
  /** Start listening; resolves with the port. Rejects where the address is taken. */
  listen(): Promise<number>;
  close(): Promise<void>;
}
