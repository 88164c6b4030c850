import { connect } from "node:net";

/** HAProxy could not be asked: it is not there, or it said nothing in time. */
export class HaproxyUnreachableError extends Error {
  override readonly name = "HaproxyUnreachableError";
}

/** HAProxy understood, and refused. */
export class HaproxyCommandError extends Error {
  override readonly name = "HaproxyCommandError";
}

/** Longest that HAProxy may take for an answer. */
const TIMEOUT_MS = 10_000;

/**
 * Send one command to a HAProxy socket and return the whole answer. `command` may end in a payload
 * (`… <<\n<lines>\n`), or be several commands joined by `;`.
 *
 * @throws HaproxyUnreachableError
 */
export function ask(socketPath: string, command: string, timeoutMs = TIMEOUT_MS): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(socketPath);
    const chunks: Buffer[] = [];
    const fail = (why: string) => {
      socket.destroy();
      reject(new HaproxyUnreachableError(`HAProxy at ${socketPath} does not answer: ${why}`));
    };
    socket.setTimeout(timeoutMs, () => fail(`nothing came for ${timeoutMs} ms`));
    // The master keeps a connection for further commands until told that there are none.
    socket.on("connect", () => socket.end(`${command}\n`));
    socket.on("data", (chunk) => chunks.push(chunk));
    socket.on("error", (error) => fail(error.message));
    socket.on("end", () => {
      socket.destroy();
      resolve(Buffer.concat(chunks).toString("utf8"));
    });
  });
}
