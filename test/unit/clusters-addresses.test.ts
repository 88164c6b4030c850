import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import {
  bridgeAddress,
  bridgeName,
  cableName,
  freeIndex,
  freeNetwork,
  MAX_INDEX,
  nodeAddress,
  nodeNetworks,
  overlaps,
  POD_CIDR,
  SERVICE_CIDR,
} from "../../scripts/clusters/addresses.ts";
import { allocate } from "../../scripts/clusters/allocation.ts";
import { checkoutId } from "../../scripts/clusters/checkout.ts";

const checkouts = fc.string({ minLength: 1 }).map(checkoutId);

describe("addresses of local clusters", () => {
  test("interface names have at most the 15 characters that Linux allows", () => {
    fc.assert(
      fc.property(checkouts, fc.integer({ min: 1, max: MAX_INDEX }), (checkout, index) => {
        expect(bridgeName(checkout).length).toBeLessThanOrEqual(15);
        expect(cableName(checkout, index).length).toBeLessThanOrEqual(15);
      }),
    );
  });

  test("a checkout's networks are 512 different ones, none of them overlapping pods or Services", () => {
    const networks = [...nodeNetworks(checkoutId("/home/me/isthmus"))];
    expect(new Set(networks).size).toBe(512);
    for (const network of networks) {
      expect(network).toMatch(/^198\.1[89]\.\d+\.0\/24$/);
      expect(overlaps(network, POD_CIDR) || overlaps(network, SERVICE_CIDR)).toBe(false);
    }
  });

  test("two checkouts prefer networks of their own", () => {
    const first = [...nodeNetworks(checkoutId("/home/me/isthmus"))][0];
    expect([...nodeNetworks(checkoutId("/home/me/isthmus-2"))][0]).not.toBe(first);
  });

  test.each([
    ["10.0.0.0/8", "10.244.0.0/16", true],
    ["10.244.0.0/16", "10.0.0.0/8", true],
    ["198.18.1.0/24", "198.18.2.0/24", false],
    ["198.18.1.0/24", "198.18.1.77", true],
    ["0.0.0.0/0", "198.18.1.0/24", true],
    ["198.18.0.0/15", "198.19.255.0/24", true],
    ["198.18.0.0/15", "198.20.0.0/24", false],
  ])("%s and %s overlap: %s", (a, b, expected) => {
    expect(overlaps(a, b)).toBe(expected);
  });

  test("a network that the machine uses is passed over", () => {
    expect(freeNetwork(["198.18.1.0/24", "198.18.2.0/24"], ["198.18.1.128/25"])).toBe("198.18.2.0/24");
    expect(freeNetwork(["198.18.1.0/24"], ["198.18.0.0/15"])).toBeUndefined();
  });

  test("no two indexes have the same address, and none has the bridge's", () => {
    const addresses = Array.from({ length: MAX_INDEX }, (_, i) => nodeAddress("198.18.7.0/24", i + 1));
    expect(new Set([...addresses, bridgeAddress("198.18.7.0/24")]).size).toBe(MAX_INDEX + 1);
    for (const address of addresses) expect(Number(address.split(".")[3])).toBeLessThan(255);
  });

  test("the smallest free index is taken", () => {
    expect(freeIndex(new Set())).toBe(1);
    expect(freeIndex(new Set([1, 3]))).toBe(2);
    expect(freeIndex(new Set(Array.from({ length: MAX_INDEX }, (_, i) => i + 1)))).toBeUndefined();
  });
});

describe("allocating a cluster", () => {
  const other = { index: 1, network: "198.18.9.0/24", address: "198.18.9.11", controlPlaneOnly: false };

  test("the first gets the checkout's own network", () => {
    const checkout = checkoutId("/home/me/isthmus");
    const [own] = nodeNetworks(checkout);
    expect(allocate(checkout, [], [], false)).toMatchObject({ index: 1, network: own });
  });

  test("another is put beside those that are there, though the machine's routes name their network", () => {
    expect(allocate("abcdef", [other], ["198.18.9.0/24"], true)).toEqual({
      index: 2,
      network: "198.18.9.0/24",
      address: "198.18.9.12",
      controlPlaneOnly: true,
    });
  });

  test("a machine that uses all of 198.18.0.0/15 is told so", () => {
    expect(() => allocate("abcdef", [], ["198.18.0.0/15"], false)).toThrow(
      "every network in 198.18.0.0/15 is in use on this machine; see `ip route`",
    );
  });

  test("there is an end to the clusters of one checkout", () => {
    const all = Array.from({ length: MAX_INDEX }, (_, i) => ({ ...other, index: i + 1 }));
    expect(() => allocate("abcdef", all, [], false)).toThrow(`has ${MAX_INDEX} clusters already`);
  });
});
