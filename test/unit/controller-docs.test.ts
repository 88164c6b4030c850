import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { LINK_CONDITION, LINK_REASON, SERVICE_REASON } from "../../contract/index.ts";
import { MirrorMetrics } from "../../controller/mirror/metrics.ts";

const page = await readFile(join(import.meta.dirname, "../../docs/controller.md"), "utf8");

/** First cells of the rows of all tables that are in code. */
const rows = new Set([...page.matchAll(/^\| `([^`]+)`/gm)].map(([, cell]) => cell?.split("{")[0]));

test.each([
  ["condition", Object.values(LINK_CONDITION)],
  ["reason of a Link's condition", Object.values(LINK_REASON)],
  ["reason of a service", Object.values(SERVICE_REASON)],
  ["metric", new MirrorMetrics().registry.getMetricsAsArray().map(({ name }) => name)],
])("every %s has its row in docs/controller.md", (_, names) => {
  expect(names.filter((name) => !rows.has(name))).toEqual([]);
});
