import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { printResult, type Result } from "./bench/figures.ts";
import { benchmarkIdle } from "./bench/idle.ts";
import { benchmarkLinks } from "./bench/links.ts";
import { benchmarkMirror } from "./bench/mirror.ts";
import { benchmarkPropagation } from "./bench/propagation.ts";
import { benchmarkScale, SCENARIOS, type ScaleBenchmark, type Scenario } from "./bench/scale.ts";
import { Site } from "./bench/site.ts";
import { messageOf, UsageError } from "./clusters/errors.ts";
import { type Progress, progressOf } from "./clusters/progress.ts";

/** `npm run bench -- NAME`: how fast the mirror controller is, and how small. See docs/benchmarks.md. */
const program = new Command("bench")
  .description(
    "Benchmarks of the mirror controller, each with the reference that its figures are to be compared with",
  )
  .exitOverride()
  .showHelpAfterError();

benchmark("mirror", "first mirroring of many services, against a bare client on the same API server", 1_000)
  .addOption(number("--rounds <number>", "rounds of each", 5))
  .option(
    "--apart",
    "give the API servers half of the processors, and those who ask them the other half",
    false,
  )
  .action((options: { services: number; rounds: number; apart: boolean } & Common) =>
    run(options, (site, progress) => benchmarkMirror(site, options, progress)),
  );

benchmark("propagation", "from an export to its mirror being visible, with many mirrors there already", 1_000)
  .addOption(number("--samples <number>", "exports timed", 200))
  .action((options: { services: number; samples: number } & Common) =>
    run(options, (site, progress) => benchmarkPropagation(site, options, progress)),
  );

benchmark("idle", "what is written while there is nothing to do", 1_000)
  .addOption(number("--minutes <number>", "how long to count", 5))
  .action((options: { services: number; minutes: number } & Common) =>
    run(options, (site, progress) => benchmarkIdle(site, options, progress)),
  );

benchmark("links", "memory and processor time by the number of links", 20)
  .addOption(
    new Option("--links <numbers>", "numbers of links, joined by commas")
      .argParser((text) => text.split(",").map(positive))
      .default([1, 10, 50, 100], "1,10,50,100"),
  )
  .action((options: { services: number; links: number[] } & Common) =>
    run(options, (site, progress) => benchmarkLinks(site, options, progress)),
  );

benchmark("scale", "one controller with much of everything", 10_000)
  .addOption(
    new Option("--scenarios <names>", "which of them, joined by commas")
      .argParser((text) => text.split(",").map(scenario))
      .default([...SCENARIOS], SCENARIOS.join(",")),
  )
  .addOption(number("--links <number>", "links, where there are many", 100))
  .addOption(number("--services-per-link <number>", "exported services of each of them", 20))
  .addOption(number("--namespaces <number>", "namespaces, where there are many", 1_000))
  .addOption(number("--flap-seconds <number>", "how long a target comes and goes", 120))
  .action((options: ScaleBenchmark & Common) =>
    run(options, (site, progress) => benchmarkScale(site, options, progress)),
  );

/** Options of every benchmark. */
interface Common {
  json: boolean;
  keep: boolean;
}

function benchmark(name: string, description: string, services: number): Command {
  return program
    .command(name)
    .description(description)
    .addOption(number("--services <number>", "exported services of the target", services))
    .option("--json", "print the figures as JSON", false)
    .option("--keep", "leave the clusters running, for the next benchmark", false);
}

function number(flags: string, description: string, byDefault: number): Option {
  return new Option(flags, description).argParser(positive).default(byDefault);
}

function positive(text: string): number {
  const value = Number(text);
  if (!(value > 0) || !/^\d+(\.\d+)?$/.test(text))
    throw new InvalidArgumentError("It must be a number above 0.");
  return value;
}

function scenario(text: string): Scenario {
  const found = SCENARIOS.find((each) => each === text);
  if (found === undefined) throw new InvalidArgumentError(`There are ${SCENARIOS.join(", ")}.`);
  return found;
}

async function run(
  { json, keep }: Common,
  measure: (site: Site, progress: Progress) => Promise<Result>,
): Promise<void> {
  if (process.platform !== "linux") {
    throw new UsageError("benchmarks read /proc for the memory of processes: they run on Linux only");
  }
  printResult(await Site.with(keep, (site) => measure(site, progressOf("bench"))), json);
}

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    // Commander has said what is wrong; help that was asked for is no error.
    process.exitCode = error.exitCode === 0 ? 0 : 2;
  } else {
    console.error(messageOf(error));
    process.exitCode = error instanceof UsageError ? 2 : 1;
  }
}
