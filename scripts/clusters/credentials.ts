import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { singleKubeconfig, writeKubeconfig } from "./kubeconfig.ts";

/** Who acts in a cluster with a certificate of its own, and the file that its kubeconfig is in. */
const HOLDERS = [
  { certificate: "admin", file: "kubeconfig", onNode: false },
  { certificate: "node", file: "node.conf", onNode: true },
  { certificate: "proxy", file: "proxy.conf", onNode: true },
];

/** Write a kubeconfig for each holder of one of the cluster's certificates into the cluster's directory. */
export async function writeCredentials(
  directory: string,
  name: string,
  server: string,
  controlPlaneOnly: boolean,
): Promise<void> {
  const read = (file: string) => readFile(join(directory, "pki", file), "utf8");
  const authority = await read("ca.crt");
  for (const { certificate, file, onNode } of HOLDERS) {
    if (onNode && controlPlaneOnly) continue;
    const pair = { certificate: await read(`${certificate}.crt`), key: await read(`${certificate}.key`) };
    await writeKubeconfig(
      join(directory, file),
      singleKubeconfig(name, server, server, { authority, ...pair }),
    );
  }
}
