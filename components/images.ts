import * as pulumi from "@pulumi/pulumi";
import { oneOf, type Rule } from "./validation.ts";

/** When a node pulls an image. */
export const ImagePullPolicy = {
  /** At every start of a container. */
  Always: "Always",
  /** When the node does not have it. */
  IfNotPresent: "IfNotPresent",
  /** Never: the image must be on the node. */
  Never: "Never",
} as const;

/** When a node pulls an image. */
export type ImagePullPolicy = (typeof ImagePullPolicy)[keyof typeof ImagePullPolicy];

/** The container images that run in a cluster. */
export interface ImagesArgs {
  /**
   * The image of all roles of Isthmus.
   *
   * @default "isthmus-controller:" and the version of this package
   */
  controller?: pulumi.Input<string>;
  /**
   * An image with `haproxy` on its PATH, 2.6 or newer.
   *
   * @default "haproxy:2.6"
   */
  haproxy?: pulumi.Input<string>;
  /** @default ImagePullPolicy.IfNotPresent */
  pullPolicy?: pulumi.Input<ImagePullPolicy>;
}

/** The version of this package, which is the tag of the controller's image. A test holds the two together. */
export const VERSION = "0.1.0";

/** Images with every default filled in. */
export interface Images {
  controller: pulumi.Output<string>;
  haproxy: pulumi.Output<string>;
  pullPolicy: pulumi.Output<ImagePullPolicy>;
}

export function imagesOf(args: pulumi.Input<ImagesArgs> | undefined): Images {
  const given = pulumi.output(args ?? {});
  return {
    controller: given.apply((images) => images.controller ?? `isthmus-controller:${VERSION}`),
    haproxy: given.apply((images) => images.haproxy ?? "haproxy:2.6"),
    pullPolicy: given.apply((images) => images.pullPolicy ?? ImagePullPolicy.IfNotPresent),
  };
}

const policies = oneOf(ImagePullPolicy);

/** What the argument `images` of a component may be. */
export const imagesRule: Rule = {
  allowed: `{ controller, haproxy, pullPolicy }, where pullPolicy is ${policies.allowed}`,
  test: (value) => {
    const { controller, haproxy, pullPolicy } = value as Record<keyof ImagesArgs, unknown>;
    return (
      [controller, haproxy].every(
        (image) => image === undefined || (typeof image === "string" && image !== ""),
      ) &&
      (pullPolicy === undefined || policies.test(pullPolicy))
    );
  },
};
