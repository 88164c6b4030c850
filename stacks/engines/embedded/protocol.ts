/**
 * Pulumi's generated protocol code, loaded as CommonJS: the modules fill their exports at run time, which an ESM import
 * cannot name, and the service definitions come without types.
 */
import { createRequire } from "node:module";
import type * as grpc from "@grpc/grpc-js";
import type * as engineMessages from "@pulumi/pulumi/proto/engine_pb.js";
import type * as resourceMessages from "@pulumi/pulumi/proto/resource_pb.js";

const require = createRequire(import.meta.url);

export const resourceProto: typeof resourceMessages = require("@pulumi/pulumi/proto/resource_pb.js");
export const engineProto: typeof engineMessages = require("@pulumi/pulumi/proto/engine_pb.js");
export const monitorService: grpc.ServiceDefinition =
  require("@pulumi/pulumi/proto/resource_grpc_pb.js").ResourceMonitorService;
export const engineService: grpc.ServiceDefinition =
  require("@pulumi/pulumi/proto/engine_grpc_pb.js").EngineService;
