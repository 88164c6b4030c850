import { describe, expect, test } from "@jest/globals";
import type { EndpointSlice } from "../../controller/kube/objects.ts";
import { desiredService } from "../../controller/mirror/desired.ts";
import { headlessSlices, isMirroredByPod, type PodEndpoint } from "../../controller/mirror/headless.ts";
import { aLink, anExport } from "../support/mirror-objects.ts";

const remote = anExport("web", { spec: { clusterIP: "None" } });
const root = desiredService(remote, aLink(), {
  ports: [{ name: "http", port: 80, appProtocol: "http" }],
  mode: "gateway",
  headless: true,
});

const pods = (count: number, from = 0): PodEndpoint[] =>
  Array.from({ length: count }, (_, i) => ({
    host: `web-${from + i}`,
    ips: [`10.96.${(from + i) >> 8}.${(from + i) & 255}`],
    ready: true,
  }));

const hosts = (slices: readonly EndpointSlice[]) =>
  slices.map(({ endpoints = [] }) => endpoints.map(({ hostname }) => hostname));

describe("the slices of a headless mirror", () => {
  test("name each pod at the address of its mirror, on the ports of the service", () => {
    expect(headlessSlices(root, pods(2), [])).toMatchObject([
      {
        metadata: { name: "web-remote-isthmus", labels: { "kubernetes.io/service-name": "web-remote" } },
        addressType: "IPv4",
        endpoints: [
          { addresses: ["10.96.0.0"], hostname: "web-0", conditions: { ready: true } },
          { addresses: ["10.96.0.1"], hostname: "web-1", conditions: { ready: true } },
        ],
        ports: [{ name: "http", protocol: "TCP", port: 80, appProtocol: "http" }],
      },
    ]);
  });

  test("of a service without pods are one that is empty", () => {
    expect(headlessSlices(root, [], [])).toMatchObject([{ endpoints: [] }]);
  });

  test("hold a hundred pods each", () => {
    const slices = headlessSlices(root, pods(250), []);
    expect(slices.map(({ endpoints }) => endpoints?.length)).toEqual([100, 100, 50]);
    expect(slices.map(({ metadata }) => metadata.name)).toEqual([
      "web-remote-isthmus",
      "web-remote-isthmus-n1",
      "web-remote-isthmus-n2",
    ]);
  });

  test("keep everybody where they are: a pod that goes and one that comes change a slice each at most", () => {
    const before = headlessSlices(root, pods(250), []);
    const after = headlessSlices(root, [...pods(249, 1), ...pods(1, 900)], before);
    expect(after[0]?.endpoints).toHaveLength(100);
    expect(hosts(after)[0]).not.toContain("web-0");
    expect(hosts(after).slice(1)).toEqual(hosts(before).slice(1));
  });

  test("come to the same however often they are made anew", () => {
    let slices = headlessSlices(root, pods(250), []);
    for (const now of [pods(30), pods(200, 20), pods(120, 100)]) slices = headlessSlices(root, now, slices);
    expect(headlessSlices(root, pods(120, 100), slices)).toEqual(slices);
    expect(hosts(slices).flat().sort()).toEqual(
      pods(120, 100)
        .map(({ host }) => host)
        .sort(),
    );
  });

  test("are of the family that the mirrors of the pods have", () => {
    const dual = [{ host: "web-0", ips: ["10.96.0.1", "fd00::1"], ready: false }];
    expect(headlessSlices(root, dual, [])).toMatchObject([
      { addressType: "IPv4", endpoints: [{ addresses: ["10.96.0.1"], conditions: { ready: false } }] },
      {
        metadata: { name: "web-remote-isthmus-6" },
        addressType: "IPv6",
        endpoints: [{ addresses: ["fd00::1"], hostname: "web-0" }],
      },
    ]);
  });
});

describe("a headless service is mirrored pod by pod", () => {
  const slice = (hostname?: string): EndpointSlice => ({
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: { namespace: "ns1", name: "web-x" },
    addressType: "IPv4",
    endpoints: [{ addresses: ["10.1.0.1"], ...(hostname && { hostname }) }],
  });
  const ordinary = { ...root, spec: { clusterIP: "10.96.0.9" } };

  test("always, where our gateway carries the calls", () => {
    expect(isMirroredByPod(remote, [], "standalone", ordinary)).toBe(true);
    expect(isMirroredByPod(anExport("web"), [], "standalone", undefined)).toBe(false);
  });

  test("where Linkerd's does, if pods have hostnames; without any pod it stays what it was", () => {
    expect(isMirroredByPod(remote, [slice("web-0")], "linkerd", undefined)).toBe(true);
    expect(isMirroredByPod(remote, [slice()], "linkerd", root)).toBe(false);
    expect(isMirroredByPod(remote, [], "linkerd", root)).toBe(true);
    expect(isMirroredByPod(remote, [], "linkerd", ordinary)).toBe(false);
    expect(isMirroredByPod(remote, [], "linkerd", undefined)).toBe(false);
  });
});
