import { describe, expect, test } from "@jest/globals";
import * as pulumi from "@pulumi/pulumi";
import {
  ArgumentError,
  checked,
  dnsLabel,
  dnsLabels,
  portNumber,
  required,
} from "../../components/validation.ts";
import { observe } from "../support/pulumi.ts";

interface Args {
  name?: pulumi.Input<string>;
  names?: pulumi.Input<pulumi.Input<string>[]>;
  port?: pulumi.Input<number>;
}
const RULES = { name: required(dnsLabel), names: dnsLabels, port: portNumber };
const check = (args: Args) => checked("Thing", "a", args, RULES);

describe("arguments", () => {
  test("that are plain are refused at once", () => {
    expect(() => check({ name: "x", port: 0 })).toThrow(
      new ArgumentError('Thing "a": port is 0; it must be a port number, 1 to 65535'),
    );
  });

  test("that are missing are refused with what they must be", () => {
    expect(() => check({})).toThrow(
      new ArgumentError(
        'Thing "a": name is missing; it must be a DNS label: 1 to 63 of a-z, 0-9 and -, with no - at its ends',
      ),
    );
  });

  test("that are good come back as they are, those that no rule is for too", () => {
    const args = { name: "x", names: ["a", "b"], other: 1 };
    expect(checked("Thing", "a", args, RULES as object)).toEqual(args);
  });

  test("that are Outputs are refused when they are known", async () => {
    const { port } = check({ name: "x", port: pulumi.output(0) });
    await expect(observe(port)).rejects.toThrow('Thing "a": port is 0; it must be a port number, 1 to 65535');
  });

  test("with Outputs inside are refused when all of them are known", async () => {
    const { names } = check({ name: "x", names: ["a", pulumi.output("a")] });
    await expect(observe(names)).rejects.toThrow(
      'Thing "a": names is ["a","a"]; it must be a list of different',
    );
  });

  test("that stay unknown are not refused, and stay unknown", async () => {
    const unknown = pulumi.output(pulumi.unknown) as unknown as pulumi.Output<number>;
    expect(await observe(check({ name: "x", port: unknown }).port)).toMatchObject({ known: false });
  });

  test("that are secret stay so", async () => {
    const { port } = check({ name: "x", port: pulumi.secret(80) });
    expect(await observe(port)).toEqual({ known: true, secret: true, value: 80 });
  });
});
