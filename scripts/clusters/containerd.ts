import { statfs } from "node:fs/promises";
import { ClusterError } from "./errors.ts";
import { type Daemon, entering, type Sandbox, STATE } from "./sandbox.ts";
import { shell } from "./shell.ts";

/** In the sandbox: where containerd listens. */
export const CONTAINERD_SOCKET = "/run/containerd/containerd.sock";
/** The image of every pod's first container. */
export const PAUSE_IMAGE = "isthmus-pause:1";

const OVERLAYFS_MAGIC = 0x794c7630;

export function containerd(): Daemon {
  return { name: "containerd", argv: ["containerd", "--config", `${STATE}/containerd.toml`] };
}

/** An overlay cannot lie on an overlay, as in a container: there, layers are copied. */
async function snapshotter(state: string): Promise<string> {
  return (await statfs(state)).type === OVERLAYFS_MAGIC ? "native" : "overlayfs";
}

/** containerd.toml for a cluster whose files are in `state`; `plugins` is the directory of the CNI plugins. */
export async function containerdConfiguration(state: string, plugins: string): Promise<string> {
  return `version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
# It would make a directory outside the sandbox.
disabled_plugins = ["io.containerd.internal.v1.opt"]

[grpc]
  address = "${CONTAINERD_SOCKET}"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${fullName(PAUSE_IMAGE)}"
  # Where root may not lower oom_score_adj (no CAP_SYS_RESOURCE), every pod would fail without this.
  restrict_oom_score_adj = true

  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "${await snapshotter(state)}"

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "${plugins}"
    conf_dir = "${STATE}/cni"
`;
}

/** Give the containerd of a sandbox, whose files are in `state`, the image of a docker archive, unless it has that very one. */
export async function importImage(sandbox: Sandbox, state: string, archive: string): Promise<void> {
  const manifest = await shell`tar --extract --seek --to-stdout --file ${archive} manifest.json`;
  const [image] = manifest.json<{ Config: string; RepoTags: string[] }[]>();
  if (!image?.RepoTags[0]) throw new ClusterError(`${archive} holds no image with a name`);
  const had = await configOf(sandbox, image.RepoTags[0]);
  if (had !== undefined && image.Config.includes(had)) return;
  // The sandbox does not see all of this machine's files, so the archive goes in by standard input.
  const imported = await shell({
    nothrow: true,
  })`${ctr(sandbox)} images import --snapshotter ${await snapshotter(state)} - < ${archive}`;
  if (imported.exitCode !== 0) {
    throw new ClusterError(`${archive} could not be loaded into ${sandbox.id}: ${imported.stderr.trim()}`);
  }
}

/** The digest, in hexadecimal, of the configuration of an image: it says what the image is. */
async function configOf(sandbox: Sandbox, reference: string): Promise<string | undefined> {
  const listed = await shell`${ctr(sandbox)} images list name==${fullName(reference)}`;
  const digest = /sha256:[0-9a-f]{64}/.exec(listed.stdout)?.[0];
  if (digest === undefined) return undefined;
  const manifest = await shell`${ctr(sandbox)} content get ${digest}`;
  return manifest.json<{ config?: { digest: string } }>().config?.digest.replace("sha256:", "");
}

function ctr(sandbox: Sandbox): string[] {
  return [...entering(sandbox), "ctr", "--address", CONTAINERD_SOCKET, "--namespace", "k8s.io"];
}

/** What containerd calls `name:tag`. */
function fullName(reference: string): string {
  return `docker.io/library/${reference}`;
}
