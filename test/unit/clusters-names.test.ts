import { describe, expect, test } from "@jest/globals";
import {
  cacheDirectory,
  checkNames,
  checkoutId,
  clusterId,
  projectKubeconfig,
} from "../../scripts/clusters/checkout.ts";
import { UsageError } from "../../scripts/clusters/errors.ts";

describe("names of local clusters", () => {
  test("everything of a cluster is named after its checkout, so that two checkouts do not collide", () => {
    const [one, two] = [checkoutId("/a/isthmus"), checkoutId("/b/isthmus")];
    expect(one).toMatch(/^[0-9a-f]{6}$/);
    expect(clusterId(one, "local")).toBe(`isthmus-${one}-local`);
    expect(clusterId(two, "local")).not.toBe(clusterId(one, "local"));
  });

  test.each(["", "Local", "-a", "a-", "a.b", "a/b", "a b", "é", "a".repeat(64)])("%j is refused", (name) => {
    expect(() => checkNames([name])).toThrow(UsageError);
    expect(() => checkNames([name])).toThrow(`"${name}" cannot name a cluster`);
  });

  test.each(["a", "1", "local", "east-2", "a".repeat(63)])("%j is taken", (name) => {
    expect(() => checkNames([name])).not.toThrow();
  });

  test("a name given twice is refused", () => {
    expect(() => checkNames(["a", "b", "a"])).toThrow('the cluster "a" is named twice');
  });

  test("the kubeconfig is the checkout's, unless ISTHMUS_KUBECONFIG names another", () => {
    expect(projectKubeconfig("/a/isthmus", {})).toBe("/a/isthmus/.isthmus/kubeconfig");
    expect(projectKubeconfig("/a/isthmus", { ISTHMUS_KUBECONFIG: "/tmp/k" })).toBe("/tmp/k");
  });

  test("the cache is outside of the checkout", () => {
    expect(cacheDirectory({ ISTHMUS_CACHE: "/var/cache/isthmus" })).toBe("/var/cache/isthmus");
    expect(cacheDirectory({ XDG_CACHE_HOME: "/home/me/.c" })).toBe("/home/me/.c/isthmus");
    expect(cacheDirectory({})).toMatch(/\/\.cache\/isthmus$/);
  });
});
