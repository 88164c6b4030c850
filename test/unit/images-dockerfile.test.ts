import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { NODE_FLAGS } from "../../scripts/images/bundle.ts";

test("the image made by Docker runs the controller as the one made without it", async () => {
  const text = await readFile(join(import.meta.dirname, "../../controller/Dockerfile"), "utf8");
  const entrypoint = /^ENTRYPOINT (.*)$/m.exec(text)?.[1] ?? "";
  expect(JSON.parse(entrypoint)).toEqual(["node", ...NODE_FLAGS, "/isthmus-controller.mjs"]);
});
