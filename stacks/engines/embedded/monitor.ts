/** The gRPC side of a deployment: Pulumi's `ResourceMonitor` and `Engine` services, on a socket only we can open. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as grpc from "@grpc/grpc-js";
import type * as engineMessages from "@pulumi/pulumi/proto/engine_pb.js";
import type * as resourceMessages from "@pulumi/pulumi/proto/resource_pb.js";
import empty from "google-protobuf/google/protobuf/empty_pb.js";
import struct from "google-protobuf/google/protobuf/struct_pb.js";
import type { LogSeverity } from "../engine.ts";
import type { Properties } from "../wire.ts";
import type { Deployment, Registered } from "./deployment.ts";
import { engineProto, engineService, monitorService, resourceProto } from "./protocol.ts";
import { readRegistration } from "./registration.ts";

/** As large as Pulumi's own: a single resource may carry a whole kubeconfig or dashboard. */
const MESSAGE_BYTES = 400 * 1024 * 1024;
/** The function behind `pulumi.StackReference`'s plain form: the only one that needs no provider. */
const READ_STACK_OUTPUTS = "pulumi:pulumi:readStackOutputs";
/** By the protocol's number. What the SDK says about itself (0, debug) is left out. */
const SEVERITIES: (LogSeverity | undefined)[] = [undefined, "info", "warning", "error"];

type Handler<Request, Response> = (request: Request) => Response | Promise<Response>;

export class Monitor {
  readonly address: string;
  readonly #server: grpc.Server;
  readonly #directory: string | undefined;

  static async start(deployment: Deployment): Promise<Monitor> {
    const server = new grpc.Server({
      "grpc.max_receive_message_length": MESSAGE_BYTES,
      "grpc.max_send_message_length": MESSAGE_BYTES,
    });
    server.addService(monitorService, monitorHandlers(deployment));
    server.addService(engineService, engineHandlers(deployment));
    // Whoever can talk to the monitor can read the stacks' secrets. A socket in a directory of ours keeps others out.
    const directory = process.platform === "win32" ? undefined : await mkdtemp(join(tmpdir(), "isthmus-"));
    const wanted = directory === undefined ? "127.0.0.1:0" : `unix:${join(directory, "monitor.sock")}`;
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync(wanted, grpc.ServerCredentials.createInsecure(), (error, bound) =>
        error === null ? resolve(bound) : reject(error),
      );
    });
    return new Monitor(server, directory === undefined ? `127.0.0.1:${port}` : wanted, directory);
  }

  private constructor(server: grpc.Server, address: string, directory: string | undefined) {
    this.#server = server;
    this.address = address;
    this.#directory = directory;
  }

  async stop(): Promise<void> {
    this.#server.forceShutdown();
    if (this.#directory !== undefined) await rm(this.#directory, { recursive: true, force: true });
  }
}

/** Only what is really handled: the SDK refuses, or does without, the rest. */
function features(): resourceMessages.ResourceMonitorFeature[] {
  const feature = resourceProto.ResourceMonitorFeature;
  return [
    feature.RESOURCE_MONITOR_FEATURE_SECRETS,
    feature.RESOURCE_MONITOR_FEATURE_ALIAS_SPECS,
    feature.RESOURCE_MONITOR_FEATURE_DELETED_WITH,
  ];
}

function monitorHandlers(deployment: Deployment): grpc.UntypedServiceImplementation {
  return {
    getDeploymentInfo: unary(() => new resourceProto.DeploymentInfo().setSupportedfeaturesList(features())),
    supportsFeature: unary(() => new resourceProto.SupportsFeatureResponse().setHassupport(false)),
    registerResource: unary(async (request: resourceMessages.RegisterResourceRequest) => {
      const resource = { parent: request.getParent(), type: request.getType(), name: request.getName() };
      const { urn, id, outputs } = await deployment.register(resource, () => readRegistration(request));
      return new resourceProto.RegisterResourceResponse().setUrn(urn).setId(id).setObject(toStruct(outputs));
    }),
    registerResourceOutputs: unary((request: resourceMessages.RegisterResourceOutputsRequest) => {
      deployment.registerOutputs(request.getUrn(), toProperties(request.getOutputs()));
      return new empty.Empty();
    }),
    readResource: unary(async (request: resourceMessages.ReadResourceRequest) => {
      const read: Registered = await deployment.read({
        type: request.getType(),
        name: request.getName(),
        id: request.getId(),
        parent: request.getParent(),
        provider: request.getProvider(),
      });
      return new resourceProto.ReadResourceResponse().setUrn(read.urn).setProperties(toStruct(read.outputs));
    }),
    signalAndWaitForShutdown: unary(() => new empty.Empty()),
    invoke: unary(async (request: resourceMessages.ResourceInvokeRequest) => {
      if (request.getTok() !== READ_STACK_OUTPUTS) throw refused(`the function ${request.getTok()}`);
      const name = String(toProperties(request.getArgs()).name);
      const outputs = await deployment.outputsOf(name);
      // In the words of Pulumi's own engine.
      if (outputs === undefined) throw new Error(`unknown stack "${name}"`);
      return new resourceProto.ResourceInvokeResponse().setReturn(toStruct({ name, outputs }));
    }),
    ...refusing({
      call: (request) => `the method ${(request as resourceMessages.ResourceCallRequest).getTok()}`,
      existsResource: () => "asking whether a resource exists",
      registerStackTransform: () => "stack transforms",
      registerStackInvokeTransform: () => "invoke transforms",
      registerResourceHook: () => "resource hooks",
      registerErrorHook: () => "error hooks",
      registerPackage: () => "parameterized packages",
    }),
  };
}

function engineHandlers(deployment: Deployment): grpc.UntypedServiceImplementation {
  let root = "";
  return {
    log: unary((request: engineMessages.LogRequest) => {
      const severity = SEVERITIES[request.getSeverity()];
      if (severity !== undefined) deployment.programLog(severity, request.getMessage(), request.getUrn());
      return new empty.Empty();
    }),
    getRootResource: unary(() => new engineProto.GetRootResourceResponse().setUrn(root)),
    setRootResource: unary((request: engineMessages.SetRootResourceRequest) => {
      root = request.getUrn();
      return new engineProto.SetRootResourceResponse();
    }),
    requirePulumiVersion: unary(() => new engineProto.RequirePulumiVersionResponse()),
    ...refusing({ startDebugging: () => "debugging" }),
  };
}

function refused(what: string): Error {
  return new Error(`the embedded engine does not know ${what}. Use the Pulumi CLI (--engine pulumi)`);
}

function refusing(
  calls: Record<string, (request: unknown) => string>,
): Record<string, grpc.handleUnaryCall<unknown, unknown>> {
  return Object.fromEntries(
    Object.entries(calls).map(([name, what]) => [
      name,
      unary((request: unknown) => {
        throw refused(what(request));
      }),
    ]),
  );
}

function unary<Request, Response>(
  handle: Handler<Request, Response>,
): grpc.handleUnaryCall<Request, Response> {
  return (call, callback) => {
    Promise.resolve()
      .then(() => handle(call.request))
      .then(
        (response) => callback(null, response),
        (error: Error) => callback({ code: grpc.status.UNKNOWN, details: error.message }),
      );
  };
}

function toStruct(properties: Properties): struct.Struct {
  return struct.Struct.fromJavaScript(properties);
}

function toProperties(value: struct.Struct | undefined): Properties {
  return (value?.toJavaScript() ?? {}) as Properties;
}
