import { writeMaterial } from "./apply.ts";
import { egressPicture } from "./egress-routes.ts";
import { gatewayFiles } from "./files.ts";
import { ingressPicture } from "./ingress-routes.ts";
import { readMaterial } from "./material.ts";
import type { ResolvedGatewayOptions } from "./options.ts";
import { renderMap } from "./picture.ts";
import { egressSettings, ingressSettings } from "./settings.ts";
import { writeAtomically } from "./write.ts";

/**
 * Write a configuration that starts and lets nothing through, without asking an API server: the agent takes over from
 * there.
 *
 * @throws Error when the mounted certificate or trust bundle is not sound
 */
export async function writeFirstConfiguration(options: ResolvedGatewayOptions): Promise<void> {
  const files = gatewayFiles(options.haproxyDirectory);
  const { config, maps } =
    options.direction === "ingress"
      ? ingressPicture({
          settings: ingressSettings(options),
          services: [],
          slices: [],
          serviceAccounts: [],
        })
      : egressPicture({ settings: egressSettings(options), services: [], links: [] });
  await writeMaterial(files, await readMaterial(options));
  for (const { file, entries } of maps) await writeAtomically(file, renderMap(entries));
  await writeAtomically(files.status, "");
  // A state file without servers, in the form HAProxy expects.
  await writeAtomically(files.servers, "1\n");
  await writeAtomically(files.config, config);
  options.log.info("wrote the first configuration", { file: files.config });
}
