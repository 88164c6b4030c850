import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { writeArchive } from "../images/archive.ts";
import { PAUSE_IMAGE } from "./containerd.ts";
import { builtPause } from "./hyperkube.ts";

/** Path of the archive of the pause image, made from the built pause binary unless it was before. */
export async function pauseArchive(): Promise<string> {
  const path = join(dirname(builtPause()), "pause.tar");
  if (!existsSync(path)) {
    await writeArchive(path, {
      reference: PAUSE_IMAGE,
      layers: [[{ path: "pause", type: "file", source: builtPause(), mode: 0o755 }]],
      entrypoint: ["/pause"],
      user: 65535,
    });
  }
  return path;
}
