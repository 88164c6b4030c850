import { checkNames, checkoutId, checkoutRoot, clusterKubeconfig, projectKubeconfig } from "./checkout.ts";
import { chooseDriver } from "./choose-driver.ts";
import type { ClusterStatus, Driver, UpOptions } from "./driver.ts";
import { ClusterError } from "./errors.ts";
import { addContext, readKubeconfig, removeContext } from "./kubeconfig.ts";
import { withLock } from "./lock.ts";
import { progressOf } from "./progress.ts";

/**
 * Start the clusters `names` of this checkout, or whatever is missing of them, and wait until they are ready. Each has a
 * context of its name in the checkout's kubeconfig (`projectKubeconfig`).
 *
 * @throws UsageError for a name that is no DNS label; ClusterError when the machine lacks something, or a part fails.
 */
export async function clustersUp(names: readonly string[], options: UpOptions = {}): Promise<void> {
  checkNames(names);
  await exclusively(async (driver) => {
    await driver.up(names, options, progressOf);
    for (const name of names) {
      const config = await readKubeconfig(clusterKubeconfig(checkoutRoot, name));
      if (config) await addContext(projectKubeconfig(checkoutRoot), config);
    }
  });
}

/**
 * Remove clusters of this checkout and all that is left of them.
 *
 * @param names @default all of them
 * @throws ClusterError for a name that is none of them.
 */
export async function clustersDown(names?: readonly string[]): Promise<void> {
  checkNames(names ?? []);
  await exclusively(async (driver) => {
    const existing = await driver.list();
    for (const name of names ?? []) checkExists(name, existing);
    const going = names ?? existing;
    await driver.down(going, progressOf);
    for (const name of going) await removeContext(projectKubeconfig(checkoutRoot), name);
  });
}

/** Names of this checkout's clusters. */
export async function listClusters(): Promise<string[]> {
  return (await chooseDriver(checkoutRoot)).list();
}

/** How this machine has clusters: see docs/local-clusters.md. */
export async function driverName(): Promise<Driver["name"]> {
  return (await chooseDriver(checkoutRoot)).name;
}

/** What there is of this checkout's clusters. */
export async function statusOfClusters(): Promise<ClusterStatus[]> {
  const driver = await chooseDriver(checkoutRoot);
  return Promise.all((await driver.list()).map((name) => driver.status(name)));
}

/** Give a cluster's node an image, from a docker archive. */
export async function loadImage(name: string, archive: string): Promise<void> {
  await (await driverWith(name)).loadImage(name, archive);
}

/** Stop a cluster's API server, as a crash would; its pods and everything else keep running. */
export async function stopApiServer(name: string): Promise<void> {
  await (await driverWith(name)).stopApiServer(name);
}

/** Start a cluster's API server again, and wait until it is ready. */
export async function startApiServer(name: string): Promise<void> {
  await (await driverWith(name)).startApiServer(name);
}

/** Path of a kubectl that suits these clusters. Where it is built with them, it exists once a cluster was started. */
export async function kubectlPath(): Promise<string> {
  return (await chooseDriver(checkoutRoot)).kubectl();
}

/**
 * Path of a kubeconfig: of the one with a context for every cluster, or of the administrator's of one cluster.
 *
 * @throws ClusterError when there is no such cluster.
 */
export async function kubeconfigPath(name?: string): Promise<string> {
  if (name === undefined) return projectKubeconfig(checkoutRoot);
  await driverWith(name);
  return clusterKubeconfig(checkoutRoot, name);
}

async function driverWith(name: string): Promise<Driver> {
  checkNames([name]);
  const driver = await chooseDriver(checkoutRoot);
  checkExists(name, await driver.list());
  return driver;
}

function checkExists(name: string, existing: readonly string[]): void {
  if (existing.includes(name)) return;
  const others = existing.length > 0 ? `there are: ${existing.join(", ")}` : "there is none";
  throw new ClusterError(`this checkout has no cluster "${name}"; ${others}`);
}

/** One `up` or `down` of a checkout at a time. */
async function exclusively(action: (driver: Driver) => Promise<void>): Promise<void> {
  const driver = await chooseDriver(checkoutRoot);
  const tell = progressOf("clusters");
  await withLock(
    `clusters-${checkoutId(checkoutRoot)}`,
    (pid) => tell(`process ${pid} is at work on the clusters of this checkout; waiting for it`),
    () => action(driver),
  );
}
