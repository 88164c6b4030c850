import { describe, expect, test } from "@jest/globals";
import { keyOf, refOf } from "../../controller/kube/objects.ts";
import {
  apiVersion,
  ENDPOINT_SLICES,
  LINKS,
  NAMESPACES,
  path,
  SERVICE_ACCOUNTS,
  SERVICES,
} from "../../controller/kube/resource.ts";

describe("the path of", () => {
  test.each([
    ["all objects", path(SERVICES), "/api/v1/services"],
    ["a namespace's objects", path(SERVICES, { namespace: "ns" }), "/api/v1/namespaces/ns/services"],
    ["an object", path(SERVICES, { namespace: "ns", name: "a" }), "/api/v1/namespaces/ns/services/a"],
    [
      "an object of a group",
      path(ENDPOINT_SLICES, { namespace: "ns", name: "a" }),
      "/apis/discovery.k8s.io/v1/namespaces/ns/endpointslices/a",
    ],
    [
      "an object's status",
      path(LINKS, { namespace: "ns", name: "a", subresource: "status" }),
      "/apis/isthmus.dev/v1alpha1/namespaces/ns/links/a/status",
    ],
    [
      "a token",
      path(SERVICE_ACCOUNTS, { namespace: "ns", name: "a", subresource: "token" }),
      "/api/v1/namespaces/ns/serviceaccounts/a/token",
    ],
    ["a cluster-wide object", path(NAMESPACES, { name: "ns" }), "/api/v1/namespaces/ns"],
    [
      "a name that wants to be more than one",
      path(SERVICES, { namespace: "ns", name: "../../secrets" }),
      "/api/v1/namespaces/ns/services/..%2F..%2Fsecrets",
    ],
  ])("%s", (_what, actual, expected) => {
    expect(actual).toBe(expected);
  });

  test("an object without its name or namespace does not exist", () => {
    expect(() => path(SERVICES, { namespace: "ns", name: "" })).toThrow(
      "a Service without a name has no path",
    );
    expect(() => path(SERVICES, { name: "a" })).toThrow('Service "a" has no path without its namespace');
  });
});

describe("a resource", () => {
  test("knows what its objects carry as apiVersion", () => {
    expect([SERVICES, ENDPOINT_SLICES, LINKS].map(apiVersion)).toEqual([
      "v1",
      "discovery.k8s.io/v1",
      "isthmus.dev/v1alpha1",
    ]);
  });
});

describe("a key", () => {
  test.each([
    ["ns/a", { namespace: "ns", name: "a" }],
    ["a", { name: "a" }],
  ])("%s can be taken apart and put together", (key, ref) => {
    expect(keyOf({ metadata: ref })).toBe(key);
    expect(refOf(key)).toEqual(ref);
  });
});
