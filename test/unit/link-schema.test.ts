import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { parse } from "yaml";

interface Schema {
  description?: string;
  properties?: Record<string, Schema>;
  items?: Schema;
}

const file = join(import.meta.dirname, "../../contract/crd/links.isthmus.dev.yaml");
const { spec } = parse(await readFile(file, "utf8"), { merge: true });

/** By their paths, as `kubectl explain` is asked: `.spec.probe.period`. */
function fields({ properties = {}, items }: Schema, path = ""): [string, Schema][] {
  return [
    ...Object.entries(properties).flatMap(([name, schema]): [string, Schema][] => [
      [`${path}.${name}`, schema],
      ...fields(schema, `${path}.${name}`),
    ]),
    ...(items === undefined ? [] : fields(items, path)),
  ];
}

test("kubectl explain says something of every field of a Link", () => {
  const own = fields(spec.versions[0].schema.openAPIV3Schema).filter(([path]) =>
    /^\.(spec|status)/.test(path),
  );
  expect(own.length).toBeGreaterThan(40);
  expect(own.filter(([, { description }]) => !description).map(([path]) => path)).toEqual([]);
});
