import { describe, expect, test } from "@jest/globals";
import { copiedAnnotations, copiedLabels, mergedAnnotations } from "../../controller/mirror/metadata.ts";
import { aLink } from "../support/mirror-objects.ts";

describe("labels taken from the target", () => {
  test.each([
    ["app", true],
    ["app.kubernetes.io/name", true],
    ["mirror.linkerd.io/exported", false],
    ["mirror.linkerd.io/federated", false],
    ["isthmus.dev/link", false],
    ["multicluster.linkerd.io/remote-discovery", false],
    ["app.kubernetes.io/managed-by", false],
    ["app.kubernetes.io/instance", false],
    ["argocd.argoproj.io/instance", false],
    ["helm.sh/chart", false],
    ["service.kubernetes.io/service-proxy-name", false],
    ["evil", false],
    ["evil.linkerd/a", false],
    ["evil.linkerdX/a", true],
    ["good.linkerd/c", true],
  ])("%s: %p", (key, copied) => {
    const { spec } = aLink({ excludedLabels: ["evil", "evil.linkerd/*"] });
    expect(copiedLabels({ [key]: "v" }, spec)).toEqual(copied ? { [key]: "v" } : {});
  });
});

describe("annotations taken from the target", () => {
  test.each([
    ["example.com/team", true],
    ["kubectl.kubernetes.io/last-applied-configuration", false],
    ["argocd.argoproj.io/tracking-id", false],
    ["meta.helm.sh/release-name", false],
    ["service.beta.kubernetes.io/aws-load-balancer-type", false],
    ["service.kubernetes.io/topology-mode", false],
    ["cloud.google.com/neg", false],
    ["metallb.universe.tf/address-pool", false],
    ["external-dns.alpha.kubernetes.io/hostname", false],
    ["pulumi.com/patchForce", false],
    ["isthmus.dev/egress-ports", false],
    ["evil.linkerd/a", false],
    ["config.linkerd.io/opaque-ports", true],
  ])("%s: %p", (key, copied) => {
    const { spec } = aLink({ excludedAnnotations: ["evil.linkerd/*", "config.linkerd.io/*"] });
    expect(copiedAnnotations({ [key]: "v" }, spec)).toEqual(copied ? { [key]: "v" } : {});
  });
});

test("what another tool of the source wrote on a mirror stays; what somebody else wrote goes", () => {
  const actual = { "field.cattle.io/publicEndpoints": "[]", "example.com/by-hand": "x", kept: "wrong" };
  expect(mergedAnnotations(actual, { kept: "right" })).toEqual({
    "field.cattle.io/publicEndpoints": "[]",
    kept: "right",
  });
});
