import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { EVENT_REASON, LINK_CONDITION, LINK_REASON, SERVICE_REASON } from "../../contract/index.ts";
import { MirrorMetrics } from "../../controller/mirror/metrics.ts";
import { createProgram } from "../../controller/program.ts";

const page = await readFile(join(import.meta.dirname, "../../docs/controller.md"), "utf8");

const nothing = () => Promise.resolve();
const { commands } = createProgram({ mirror: nothing, gateway: nothing, identity: nothing });
const flags = commands.find((command) => command.name() === "mirror")?.options ?? [];

/** First cells of the rows of all tables that are in code. */
const rows = new Set([...page.matchAll(/^\| `([^`]+)`/gm)].map(([, cell]) => cell?.split("{")[0]));

test.each([
  ["condition", Object.values(LINK_CONDITION)],
  ["reason of a Link's condition", Object.values(LINK_REASON)],
  ["reason of an Event alone", Object.values(EVENT_REASON)],
  ["reason of a service", Object.values(SERVICE_REASON)],
  ["flag of the role mirror", flags.map(({ long }) => long ?? "a flag without a name")],
  ["metric", new MirrorMetrics().registry.getMetricsAsArray().map(({ name }) => name)],
])("every %s has its row in docs/controller.md", (_, names) => {
  expect(names).not.toEqual([]);
  expect(names.filter((name) => !rows.has(name))).toEqual([]);
});
