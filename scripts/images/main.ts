import { Argument, Command, CommanderError, Option } from "commander";
import { ClusterError, messageOf, UsageError } from "../clusters/errors.ts";
import { listClusters } from "../clusters/index.ts";
import { IMAGES, type ImageName } from "./definitions.ts";
import { buildImages, loadImages } from "./images.ts";

/** `npm run images -- …`: the project's container images. See docs/images.md. */
const ALL = Object.keys(IMAGES) as ImageName[];

const program = new Command("images").description("The project's container images").exitOverride();

program
  .command("build")
  .description("build images, all of them unless some are named, into .isthmus/images")
  .addArgument(new Argument("[images...]").choices(ALL))
  .action(async (names: ImageName[]) => {
    const archives = await buildImages(names.length > 0 ? names : ALL);
    for (const archive of archives.values()) console.log(archive);
  });

program
  .command("load")
  .description("build images and load them into clusters, all of the checkout's unless some are named")
  .argument("[clusters...]")
  .addOption(new Option("--image <image...>", "only these").choices(ALL).default(ALL))
  .action(async (clusters: string[], { image }: { image: ImageName[] }) => {
    const targets = clusters.length > 0 ? clusters : await listClusters();
    if (targets.length === 0)
      throw new ClusterError("there are no clusters; start one: npm run clusters -- up local");
    await loadImages(image, targets);
  });

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? 0 : 2;
  } else {
    console.error(messageOf(error));
    process.exitCode = error instanceof UsageError ? 2 : 1;
  }
}
