import { entering, type Sandbox } from "./sandbox.ts";
import { shell } from "./shell.ts";

/** IPv4 networks that this machine has an address in or a route to, less those of the interface `except`. */
export async function takenNetworks(except: string): Promise<string[]> {
  const routes = await shell`ip -json -4 route show table all`.json<{ dst: string; dev?: string }[]>();
  return routes.filter(({ dst, dev }) => /^\d/.test(dst) && dev !== except).map(({ dst }) => dst);
}

/** Have the bridge `name` with the address `address` on this machine, and what is on it reach each other. */
export async function ensureBridge(name: string, address: string): Promise<void> {
  if (!(await exists(name))) await shell`ip link add ${name} type bridge`;
  await shell`ip address replace ${address}/24 dev ${name}`;
  await shell`ip link set ${name} up`;
  if (!(await mayForward(name))) await shell`iptables --wait ${["--insert", ...forwarding(name)]}`;
}

/** Remove the bridge `name` and what was made with it. */
export async function removeBridge(name: string): Promise<void> {
  while (await mayForward(name)) await shell`iptables --wait ${["--delete", ...forwarding(name)]}`;
  await removeInterface(name);
}

/** Machines with Docker drop what they are not told to forward, even from one port of a bridge to another. */
function forwarding(bridge: string): string[] {
  return ["FORWARD", "--in-interface", bridge, "--out-interface", bridge, "--jump", "ACCEPT"];
}

async function mayForward(bridge: string): Promise<boolean> {
  const checked = await shell({ nothrow: true })`iptables --wait ${["--check", ...forwarding(bridge)]}`;
  return checked.exitCode === 0;
}

/** Remove an interface, if it exists; a cable goes with both its ends. */
export async function removeInterface(name: string): Promise<void> {
  if (!(await exists(name))) return;
  const removed = await shell({ nothrow: true })`ip link delete ${name}`;
  // A cable also goes by itself, a moment after the namespace of its other end.
  if (removed.exitCode !== 0 && (await exists(name))) throw new Error(removed.stderr.trim());
}

/**
 * Have a cable from the bridge to `eth0` of the sandbox, which gets `address`, and this machine as its way out.
 *
 * @returns whether anything had to be done.
 */
export async function ensureCable(
  sandbox: Sandbox,
  cable: string,
  bridge: string,
  address: string,
  gateway: string,
): Promise<boolean> {
  if ((await isPlugged(cable, bridge)) && (await hasRoute(sandbox, gateway))) return false;
  await removeInterface(cable);
  await shell`ip link add ${cable} type veth peer name eth0 address ${hardwareAddress(address)} netns ${sandbox.pid}`;
  await shell`${entering(sandbox)} ip address add ${address}/24 dev eth0`;
  await shell`${entering(sandbox)} ip link set eth0 up`;
  await shell`ip link set ${cable} master ${bridge} up`;
  // Last, so that its presence says that all of it is done.
  await shell`${entering(sandbox)} ip route replace default via ${gateway}`;
  return true;
}

/** Always the same for an address, so that what others remember of it is right when a cluster was started again. */
function hardwareAddress(address: string): string {
  const bytes = address.split(".").map((part) => Number(part).toString(16).padStart(2, "0"));
  return ["02", "15", ...bytes].join(":");
}

async function exists(name: string): Promise<boolean> {
  return (await shell({ nothrow: true })`ip link show dev ${name}`).exitCode === 0;
}

async function isPlugged(cable: string, bridge: string): Promise<boolean> {
  const shown = await shell({ nothrow: true })`ip -json link show dev ${cable}`;
  return shown.exitCode === 0 && JSON.parse(shown.stdout)[0]?.master === bridge;
}

async function hasRoute(sandbox: Sandbox, gateway: string): Promise<boolean> {
  const shown = await shell`${entering(sandbox)} ip -json route show default`;
  return shown
    .json<{ gateway?: string; dev?: string }[]>()
    .some((route) => route.gateway === gateway && route.dev === "eth0");
}
