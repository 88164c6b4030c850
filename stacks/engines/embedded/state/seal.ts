/** Encryption of the state with a passphrase: scrypt makes the key, AES-256-GCM seals and authenticates. */
import { createCipheriv, createDecipheriv, randomBytes, scrypt } from "node:crypto";

/** Cost of guessing a passphrase: about 64 MB and a tenth of a second a try. */
const COST = { N: 2 ** 16, r: 8, p: 1 } as const;
const MAX_MEMORY = 256 * 1024 * 1024;
const CIPHER = "aes-256-gcm";

export interface SealedState {
  encryption: {
    kdf: "scrypt";
    cipher: typeof CIPHER;
    N: number;
    r: number;
    p: number;
    /** Base64, as all that follows. */
    salt: string;
    nonce: string;
    tag: string;
  };
  data: string;
}

export function isSealed(value: unknown): value is SealedState {
  return typeof value === "object" && value !== null && "encryption" in value && "data" in value;
}

/** Seals texts under one passphrase. The key is made once for each salt, the nonce is new each time. */
export class Seal {
  readonly #passphrase: string;
  readonly #salt = randomBytes(16);
  readonly #keys = new Map<string, Promise<Buffer>>();

  constructor(passphrase: string) {
    this.#passphrase = passphrase;
  }

  async seal(text: string): Promise<SealedState> {
    const nonce = randomBytes(12);
    const cipher = createCipheriv(CIPHER, await this.#key(this.#salt, COST), nonce);
    const data = Buffer.concat([cipher.update(text, "utf8"), cipher.final()]);
    return {
      encryption: {
        kdf: "scrypt",
        cipher: CIPHER,
        ...COST,
        salt: this.#salt.toString("base64"),
        nonce: nonce.toString("base64"),
        tag: cipher.getAuthTag().toString("base64"),
      },
      data: data.toString("base64"),
    };
  }

  /** @throws Error when the passphrase is another one, or the text was changed. */
  async open(sealed: SealedState): Promise<string> {
    const { kdf, cipher, N, r, p, salt, nonce, tag } = sealed.encryption;
    if (kdf !== "scrypt" || cipher !== CIPHER) {
      throw new Error(`it is encrypted with ${kdf} and ${cipher}, which this version does not know`);
    }
    const key = await this.#key(Buffer.from(salt, "base64"), { N, r, p });
    const decipher = createDecipheriv(CIPHER, key, Buffer.from(nonce, "base64"));
    decipher.setAuthTag(Buffer.from(tag, "base64"));
    try {
      const text = Buffer.concat([decipher.update(Buffer.from(sealed.data, "base64")), decipher.final()]);
      return text.toString("utf8");
    } catch {
      throw new Error("the passphrase is not the one it was encrypted with, or the file was changed");
    }
  }

  #key(salt: Buffer, cost: { N: number; r: number; p: number }): Promise<Buffer> {
    const name = `${salt.toString("base64")} ${cost.N} ${cost.r} ${cost.p}`;
    let key = this.#keys.get(name);
    if (key === undefined) {
      key = new Promise((resolve, reject) => {
        scrypt(this.#passphrase, salt, 32, { ...cost, maxmem: MAX_MEMORY }, (error, made) =>
          error === null ? resolve(made) : reject(error),
        );
      });
      this.#keys.set(name, key);
    }
    return key;
  }
}
