/** How to reach and persuade one API server. */
export interface Credentials {
  /** `https://host:port`, perhaps with a path before `/api`. */
  readonly server: string;
  readonly tls: TlsMaterial;
  /** Headers that authenticate a call, asked for before each one: tokens are renewed behind it. */
  headers(signal?: AbortSignal): Promise<Record<string, string>>;
}

/** PEM texts. */
export interface TlsMaterial {
  /** Who may have signed the server's certificate. @default the system's authorities */
  ca?: string;
  cert?: string;
  key?: string;
  /** Name to expect in the server's certificate. @default the host of `server` */
  servername?: string;
  /** @default true */
  rejectUnauthorized?: boolean;
}

/** Credentials that cannot be used. The message says what is wrong with them and never contains them. */
export class CredentialsError extends Error {
  override readonly name = "CredentialsError";
}
