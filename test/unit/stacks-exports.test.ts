import { describe, expect, test } from "@jest/globals";
import { removeExport, setExport } from "../../stacks/exports.ts";
import type { MeshExport } from "../../stacks/mesh.ts";

const HEAD =
  "# the mesh of the shop\nname: demo     # prefix\nclusters: [{name: east}]\n\n# who may call what\n";
const WEB: MeshExport = { cluster: "east", namespace: "shop", service: "web" };
const WRITTEN = "{ cluster: east, namespace: shop, service: web }";
const CART = "{cluster: east, namespace: shop,   service: cart}";

describe("setting an export", () => {
  test.each<[string, string, string]>([
    [
      "to a list of exports",
      `exports:\n    - ${CART} # cash\n\n# the end\n`,
      `exports:\n    - ${CART} # cash\n    - ${WRITTEN}\n\n# the end\n`,
    ],
    [
      "to a list whose exports take several lines",
      "exports:\n- cluster: east\n  namespace: shop\n  service: cart # cash\ntopology: full-mesh\n",
      `exports:\n- cluster: east\n  namespace: shop\n  service: cart # cash\n- ${WRITTEN}\ntopology: full-mesh\n`,
    ],
    ["to a list on one line", `exports: [${CART}] # all\n`, `exports: [${CART}, ${WRITTEN}] # all\n`],
    ["to an empty list", "exports: [] # none yet\n", `exports:\n  - ${WRITTEN} # none yet\n`],
    ["behind a key with nothing to it", "exports:\n", `exports:\n  - ${WRITTEN}\n`],
    ["where there is no list", "", `exports:\n  - ${WRITTEN}\n`],
  ])("adds it %s, and leaves all else as it is", (_, before, after) => {
    expect(setExport(HEAD + before, WEB)).toBe(HEAD + after);
  });

  test("starts a file without a last line break on a new line", () => {
    expect(setExport("name: demo", WEB)).toBe(`name: demo\nexports:\n  - ${WRITTEN}\n`);
  });

  test.each([
    ["as it is", WEB, `exports:\n  - cluster: east\n    namespace: shop\n    service: web\n`],
    [
      "for the same clusters in another order",
      { ...WEB, allowedClusters: ["b", "a"] },
      "exports:\n  - { cluster: east, namespace: shop, service: web, allowedClusters: [a, b] }\n",
    ],
  ])("that is there %s changes nothing", (_, entry, before) => {
    expect(setExport(HEAD + before, entry)).toBe(HEAD + before);
  });

  test("that is there changes who may call it, and back", () => {
    const before = `${HEAD}exports:\n  - ${CART}\n  - ${WRITTEN} # till\n  - ${CART.replace("cart", "x")}\n`;
    const after = setExport(before, { ...WEB, allowedClusters: ["b", "c"] });
    expect(after).toBe(before.replace("service: web }", "service: web, allowedClusters: [ b, c ] }"));
    expect(setExport(after, WEB)).toBe(before);
  });
});

describe("removing an export", () => {
  test.each<[string, string, string]>([
    [
      "among others",
      `exports:\n  - ${CART}\n  - ${WRITTEN} # till\n  # next\n  - ${CART.replace("cart", "x")}\n`,
      `exports:\n  - ${CART}\n  # next\n  - ${CART.replace("cart", "x")}\n`,
    ],
    [
      "that takes several lines",
      `exports:\n  - cluster: east\n    namespace: shop\n    service: web\n  - ${CART}\n`,
      `exports:\n  - ${CART}\n`,
    ],
    [
      "that is the only one",
      `exports: # all\n  - ${WRITTEN}\ntopology: full-mesh\n`,
      "exports: [] # all\ntopology: full-mesh\n",
    ],
    [
      "on one line with others",
      `exports: [${WRITTEN}, ${CART}]\n`,
      "exports: [{ cluster: east, namespace: shop, service: cart }]\n",
    ],
    ["that is the only one on its line", `exports: [${WRITTEN}]\n`, "exports: []\n"],
    ["that is not there changes nothing", `exports:\n  - ${CART}\n`, `exports:\n  - ${CART}\n`],
    ["where there are none changes nothing", "", ""],
  ])("%s", (_, before, after) => {
    expect(removeExport(HEAD + before, WEB)).toBe(HEAD + after);
  });

  test("undoes setting it", () => {
    for (const before of [`${HEAD}exports:\n  - ${CART}\n`, `${HEAD}exports: [${CART}]\n`]) {
      expect(removeExport(setExport(before, WEB), WEB).replaceAll(" ", "")).toBe(before.replaceAll(" ", ""));
    }
  });
});
