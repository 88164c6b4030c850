export type { GatewayOptions } from "./options.ts";
export { runGateway } from "./run.ts";
