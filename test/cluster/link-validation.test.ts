import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import type { LinkSpec } from "../../contract/index.ts";
import { World } from "./world.ts";

let world: World;
beforeAll(async () => {
  world = await World.create();
});
afterAll(() => world.destroy());

describe("the API server refuses a Link", () => {
  test.each<[string, Record<string, unknown>, string]>([
    ["without a target", { targetClusterName: null }, "spec.targetClusterName"],
    ["whose target is no DNS label", { targetClusterName: "East_1" }, "spec.targetClusterName"],
    ["whose target has dots", { targetClusterName: "a.b" }, "spec.targetClusterName"],
    ["without a credentials Secret", { clusterCredentialsSecret: "" }, "spec.clusterCredentialsSecret"],
    [
      "with a gateway but no identity to expect of it",
      { gatewayIdentity: "" },
      "gatewayIdentity is required",
    ],
    ["with a gateway's port out of range", { gatewayPort: 70_000 }, "spec.gatewayPort"],
    ["with a gateway's address that is none", { gatewayAddresses: ["a b"] }, "spec.gatewayAddresses"],
    ["with an identity that is no DNS name", { gatewayIdentity: "Gateway!" }, "spec.gatewayIdentity"],
    ["with a cluster domain that is none", { targetClusterDomain: "-" }, "spec.targetClusterDomain"],
    ["with a probe period that is no duration", { probe: { period: "3" } }, "spec.probe.period"],
    ["with a probe path that is none", { probe: { path: "ready" } }, "spec.probe.path"],
    [
      "with a selector operator that does not exist",
      { selector: { matchExpressions: [{ key: "a", operator: "Like" }] } },
      "spec.selector.matchExpressions[0].operator",
    ],
  ])("%s, and says which field", async (_, spec, words) => {
    const name = `bad-${Math.random().toString(36).slice(2)}`;
    await expect(world.putLink(spec as Partial<LinkSpec>, name)).rejects.toMatchObject({
      status: 422,
      detail: expect.stringContaining(words),
    });
  });

  test("whose target changes, and says to make another", async () => {
    await world.putLink({}, "fixed");
    await expect(world.putLink({ targetClusterName: "other" }, "fixed")).rejects.toMatchObject({
      status: 422,
      detail: expect.stringContaining("targetClusterName cannot change: delete this Link and make another"),
    });
  });
});

test("a Link that leaves out what has a default gets it", async () => {
  const { spec } = await world.putLink({ gatewayPort: undefined as never, probe: {} }, "defaults");
  expect(spec).toMatchObject({
    targetClusterDomain: "cluster.local",
    gatewayPort: 4143,
    probe: { path: "/ready", port: 4191, period: "3s", timeout: "5s", failureThreshold: 3 },
  });
});
