export {
  clustersDown,
  clustersUp,
  driverName,
  kubeconfigPath,
  kubectlPath,
  listClusters,
  loadImage,
  startApiServer,
  statusOfClusters,
  stopApiServer,
} from "./clusters.ts";
export type { ClusterStatus, UpOptions } from "./driver.ts";
export { ClusterError, UsageError } from "./errors.ts";
