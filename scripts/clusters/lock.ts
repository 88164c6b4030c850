import { mkdirSync, unlinkSync } from "node:fs";
import { connect, createServer, type Server } from "node:net";
import { platform, tmpdir, userInfo } from "node:os";
import { join } from "node:path";

/**
 * Run `action` while no other process, and nothing else in this one, holds the lock `name`.
 *
 * The lock is a listening socket: the kernel lets go of it when its process ends, however that happens, and whoever
 * waits is connected to it, so learns of that at once.
 *
 * @param onWait called once, when the lock is held by another, with that process's id.
 */
export async function withLock<T>(
  name: string,
  onWait: (pid: string) => void,
  action: () => Promise<T>,
): Promise<T> {
  const address = lockAddress(name);
  let told = false;
  for (;;) {
    const server = await tryListen(address);
    if (server !== undefined) {
      try {
        return await action();
      } finally {
        await close(server);
      }
    }
    const held = await waitForHolder(address, (pid) => {
      if (!told) onWait(pid);
      told = true;
    });
    // Elsewhere than on Linux the socket is a file, which outlives a killed process.
    if (!held && !address.startsWith("\0")) unlinkSync(address);
  }
}

/** On Linux a name outside the file system; elsewhere a file that only this user can reach. */
function lockAddress(name: string): string {
  if (platform() === "linux") return `\0isthmus-${userInfo().uid}-${name}`;
  const directory = join(tmpdir(), `isthmus-${userInfo().uid}`);
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  return join(directory, `${name}.lock`);
}

const waiting = new WeakMap<Server, Set<{ destroy(): void }>>();

function tryListen(address: string): Promise<Server | undefined> {
  return new Promise((resolve, reject) => {
    const connections = new Set<{ destroy(): void }>();
    const server = createServer((socket) => {
      connections.add(socket);
      socket.on("close", () => connections.delete(socket));
      // A waiter that goes away is no news.
      socket.on("error", () => socket.destroy());
      socket.write(`${process.pid}\n`);
    });
    waiting.set(server, connections);
    server.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "EADDRINUSE") resolve(undefined);
      else reject(error);
    });
    server.listen(address, () => {
      server.unref();
      resolve(server);
    });
  });
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    for (const socket of waiting.get(server) ?? []) socket.destroy();
  });
}

/** Resolves when the holder is gone: true if there was one, false if nobody listened. */
function waitForHolder(address: string, onPid: (pid: string) => void): Promise<boolean> {
  return new Promise((resolve) => {
    let connected = false;
    const socket = connect(address, () => {
      connected = true;
    });
    socket.once("data", (data) => onPid(data.toString().trim()));
    // An error is followed by "close"; a refused connection is how a free lock looks.
    socket.on("error", () => socket.destroy());
    socket.on("close", () => resolve(connected));
  });
}
