import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, test } from "@jest/globals";
import { CommanderError } from "commander";
import { createProgram } from "../../controller/program.ts";

const MAIN = fileURLToPath(new URL("../../controller/main.ts", import.meta.url));

describe("the command line of the controller", () => {
  const before = { ...process.env };

  afterEach(() => {
    process.env = { ...before };
  });

  /** Which role would run, and with what. */
  async function read(...args: string[]) {
    const calls: [string, Record<string, unknown>][] = [];
    const role = (name: string) => async (flags: object) => void calls.push([name, { ...flags }]);
    const program = createProgram({
      mirror: role("mirror"),
      gateway: role("gateway"),
      identity: role("identity"),
    });
    const silence = { writeOut: () => undefined, writeErr: () => undefined };
    for (const each of [program, ...program.commands]) each.configureOutput(silence);
    await program.parseAsync(args, { from: "user" });
    return calls[0];
  }

  test("has a default for everything a mirror needs", async () => {
    expect(await read("mirror")).toEqual([
      "mirror",
      {
        namespace: "isthmus",
        adminAddress: ":9990",
        logLevel: "info",
        logFormat: "plain",
        dataPlane: "standalone",
        linkerdNamespace: "linkerd",
        workers: 32,
        allowNamespaces: [],
        createNamespaces: false,
        federatedServiceSelector: { "mirror.linkerd.io/federated": "member" },
        excludedLabels: [],
        excludedAnnotations: [],
        egressPorts: { first: 20_000, last: 28_191 },
      },
    ]);
  });

  test("takes every flag", async () => {
    const common = [
      "--namespace",
      "mesh",
      "--kubeconfig",
      "k",
      "--context",
      "east",
      "--admin-address",
      "127.0.0.1:1",
    ];
    const logs = ["--log-level", "debug", "--log-format", "json"];
    const own = [
      "--data-plane",
      "linkerd",
      "--linkerd-namespace",
      "control-plane",
      "--workers",
      "7",
      "--allow-namespaces",
      "a,b",
      "--create-namespaces",
      "--federated-service-selector",
      "a=b,c==d",
      "--excluded-labels",
      "evil,evil.example.com/*",
      "--excluded-annotations",
      "x",
      "--egress-ports",
      "1-2",
    ];
    expect(await read("mirror", ...common, ...logs, ...own)).toEqual([
      "mirror",
      {
        namespace: "mesh",
        kubeconfig: "k",
        context: "east",
        adminAddress: "127.0.0.1:1",
        logLevel: "debug",
        logFormat: "json",
        dataPlane: "linkerd",
        linkerdNamespace: "control-plane",
        workers: 7,
        allowNamespaces: ["a", "b"],
        createNamespaces: true,
        federatedServiceSelector: { a: "b", c: "d" },
        excludedLabels: ["evil", "evil.example.com/*"],
        excludedAnnotations: ["x"],
        egressPorts: { first: 1, last: 2 },
      },
    ]);
  });

  test.each([
    ["true", true],
    ["false", false],
  ])("takes %s from the variable of a flag that is yes or no", async (value, expected) => {
    process.env.ISTHMUS_CREATE_NAMESPACES = value;
    expect(await read("mirror")).toEqual(["mirror", expect.objectContaining({ createNamespaces: expected })]);
    process.env.ISTHMUS_CREATE_NAMESPACES = "perhaps";
    await expect(read("mirror")).rejects.toThrow("It must be true or false.");
  });

  test("takes every flag as a variable, and the flag before the variable", async () => {
    Object.assign(process.env, {
      ISTHMUS_IDENTITY: "gateway.east.demo.mesh",
      ISTHMUS_POD_IPS: "10.0.0.1,fd00::1",
      ISTHMUS_DRAIN_TIMEOUT: "60",
      ISTHMUS_NAMESPACE: "from-variable",
    });
    expect(await read("gateway", "egress", "--namespace", "from-flag")).toEqual([
      "gateway",
      expect.objectContaining({
        direction: "egress",
        identity: "gateway.east.demo.mesh",
        podIps: ["10.0.0.1", "fd00::1"],
        drainTimeout: 60,
        namespace: "from-flag",
        init: false,
      }),
    ]);
  });

  test.each([
    ["an unknown role", ["proxy"]],
    ["an unknown flag", ["mirror", "--proxy"]],
    ["no direction", ["gateway", "--identity", "x"]],
    ["an unknown direction", ["gateway", "sideways", "--identity", "x"]],
    ["no identity", ["identity"]],
    ["no workers", ["mirror", "--workers", "0"]],
    ["a fraction of a worker", ["mirror", "--workers", "1.5"]],
    ["an unknown data plane", ["mirror", "--data-plane", "istio"]],
    ["an unknown level", ["mirror", "--log-level", "loud"]],
    ["an address without a port", ["mirror", "--admin-address", "localhost"]],
    ["ports the wrong way round", ["mirror", "--egress-ports", "3-2"]],
    ["a selector that is none", ["mirror", "--federated-service-selector", "a in (b)"]],
    ["ports that cannot be", ["mirror", "--egress-ports", "1-70000"]],
  ])("refuses %s", async (_what, args) => {
    await expect(read(...args)).rejects.toThrow(CommanderError);
  });

  describe("ends with", () => {
    const run = (...args: string[]) => {
      const { status, stderr } = spawnSync(
        process.execPath,
        ["--disable-warning=ExperimentalWarning", MAIN, ...args],
        {
          encoding: "utf8",
          env: { PATH: before.PATH },
        },
      );
      return { status, stderr };
    };

    test("2 for a command line that cannot be, saying why", () => {
      const { status, stderr } = run("mirror", "--workers", "none");
      expect([status, stderr]).toEqual([2, expect.stringContaining("It must be a whole number above 0.")]);
    });

    test("1 for a failure, in one line without a stack", () => {
      expect(run("mirror", "--kubeconfig", "/does/not/exist")).toEqual({
        status: 1,
        stderr: "isthmus-controller: cannot read the kubeconfig, /does/not/exist: no such file\n",
      });
    });

    test("0 for a question", () => {
      expect(run("mirror", "--help").status).toBe(0);
    });
  });
});
