export { Cluster, type ClusterArgs } from "./cluster.ts";
export { type ControllerSettingsArgs, LogLevel } from "./controller-settings.ts";
export type { PortRangeArgs } from "./egress-ports.ts";
export { ExportedService, type ExportedServiceArgs } from "./exported-service.ts";
export { GatewayExposure } from "./exposure.ts";
export {
  Gateway,
  type GatewayArgs,
  type GatewayEndpoint,
  type GatewayProbe,
  type GatewayServiceReference,
} from "./gateway.ts";
export type { GatewaySettingsArgs } from "./gateway-settings.ts";
export { ImagePullPolicy, type ImagesArgs } from "./images.ts";
export type { ApiServer } from "./kubeconfig.ts";
export {
  Link,
  type LinkArgs,
  type SelectorArgs,
  SelectorOperator,
  type SelectorRequirementArgs,
} from "./link.ts";
export { Mesh, type MeshArgs, type MeshClusterArgs, type MeshExportArgs } from "./mesh.ts";
export { DataPlane, MirrorController, type MirrorControllerArgs } from "./mirror-controller.ts";
export { RemoteAccess, type RemoteAccessArgs } from "./remote-access.ts";
export { type LinkEnds, type Topology, TopologyShape } from "./topology.ts";
export { type Issuer, TrustAnchor, type TrustAnchorArgs } from "./trust-anchor.ts";
export { ArgumentError } from "./validation.ts";
