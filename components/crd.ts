import { existsSync, readFileSync } from "node:fs";
import type * as k8s from "@pulumi/kubernetes";
import { parse } from "yaml";

type Definition = k8s.types.input.apiextensions.v1.CustomResourceDefinition;

/**
 * The definition of `links.isthmus.dev`, from the one file that holds it. The compiled form of this module stands one
 * folder deeper (`dist/components/`) than its source.
 */
export function linkDefinition(): Definition {
  const places = ["../contract/crd/", "../../contract/crd/"].map(
    (folder) => new URL(`${folder}links.isthmus.dev.yaml`, import.meta.url),
  );
  const file = places.find((place) => existsSync(place));
  if (!file) {
    throw new Error(
      `the package is not whole: ${places.map((place) => place.pathname).join(" and ")} are missing`,
    );
  }
  return parse(readFileSync(file, "utf8"), { merge: true }) as Definition;
}
