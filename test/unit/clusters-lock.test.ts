import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { describe, expect, test } from "@jest/globals";
import { withLock } from "../../scripts/clusters/lock.ts";

const unused = () => undefined;
let count = 0;
const freshName = () => `test-${process.pid}-${count++}`;

describe("the lock of a checkout's clusters", () => {
  test("lets one at a time through, and gives back what the action gave", async () => {
    const name = freshName();
    const events: string[] = [];
    const action = (who: string) => async () => {
      events.push(`${who} begins`);
      await new Promise(setImmediate);
      events.push(`${who} ends`);
      return who;
    };
    const results = await Promise.all(["a", "b", "c"].map((who) => withLock(name, unused, action(who))));
    expect(results).toEqual(["a", "b", "c"]);
    for (let i = 0; i < events.length; i += 2) {
      expect(events[i + 1]).toBe(events[i]?.replace("begins", "ends"));
    }
  });

  test("is let go of when the action fails", async () => {
    const name = freshName();
    await expect(withLock(name, unused, () => Promise.reject(new Error("no")))).rejects.toThrow("no");
    expect(await withLock(name, unused, async () => "mine")).toBe("mine");
  });

  test("tells who holds it, and passes on when that process is killed", async () => {
    const name = freshName();
    const module = join(import.meta.dirname, "../../scripts/clusters/lock.ts");
    const script = `import { withLock } from ${JSON.stringify(module)};
      await withLock(${JSON.stringify(name)}, () => undefined, () => {
        console.log("held");
        return new Promise(() => setInterval(() => undefined, 1000));
      });`;
    const holder = spawn(process.execPath, ["--input-type=module", "--eval", script], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    await once(holder.stdout, "data");
    const waited: string[] = [];
    const result = await withLock(
      name,
      (pid) => {
        waited.push(pid);
        holder.kill("SIGKILL");
      },
      async () => "mine",
    );
    expect(result).toBe("mine");
    expect(waited).toEqual([String(holder.pid)]);
  });
});
