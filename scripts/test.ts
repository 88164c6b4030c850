import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { parseArgs, stripVTControlCharacters } from "node:util";
import { $, chalk, which } from "zx";

/**
 * `npm test [-- TIER…] [--keep]`: every tier that this machine can run, one line for each that it cannot, the failures once
 * more, and a last line with the sum. Clusters that were not up before are taken down again, unless `--keep`.
 */

interface Tier {
  name: string;
  /** Why this machine cannot run it; nothing where it can. */
  missing: () => Promise<string | undefined>;
  /** Local clusters it needs, as `npm run clusters -- up` takes them. */
  clusters?: { names: string[]; options: string[] };
  /** Whether workloads run in its clusters. */
  images?: boolean;
}

const nodes = { names: ["east", "west"], options: [] };

const tiers: Tier[] = [
  { name: "unit", missing: async () => undefined },
  {
    name: "cluster",
    missing: clustersMissing,
    clusters: { names: ["source", "target"], options: ["--control-plane-only"] },
  },
  { name: "traffic", missing: clustersMissing, clusters: nodes, images: true },
  {
    name: "engine",
    missing: async () =>
      (await which("pulumi", { nothrow: true })) ? clustersMissing() : "no `pulumi` on the PATH",
    clusters: nodes,
    images: true,
  },
];

async function clustersMissing(): Promise<string | undefined> {
  if ((await $({ nothrow: true, quiet: true })`docker info`).exitCode === 0) return undefined;
  if (process.platform !== "linux") return "no Docker engine answers, and clusters without one need Linux";
  if (process.getuid?.() !== 0) return "no Docker engine answers, and clusters without one need root";
  return undefined;
}

interface Sum {
  passed: number;
  failed: number;
  skipped: number;
}

/** What this program reads of the report that Jest writes for a tier. */
interface Report {
  numPassedTests: number;
  numFailedTests: number;
  numPendingTests: number;
  numTodoTests: number;
  numRuntimeErrorTestSuites: number;
  testResults: {
    name: string;
    status: string;
    /** All that went wrong in it, with the names of its tests. */
    message: string;
  }[];
}

async function runTier(tier: Tier, folder: string): Promise<Report> {
  const report = join(folder, `${tier.name}.json`);
  const options = ["--selectProjects", tier.name, "--json", "--outputFile", report];
  // Tests that share clusters run one file at a time, and a connection that one of them left open holds nobody up.
  if (tier.clusters) options.push("--runInBand", "--forceExit");
  const run = await $({
    nothrow: true,
    stdio: ["ignore", "ignore", "inherit"],
  })`npm run -s jest -- ${options}`;
  const text = await readFile(report, "utf8").catch(() => undefined);
  if (text === undefined)
    throw new Error(`the ${tier.name} tier ended without a report (exit code ${run.exitCode})`);
  return JSON.parse(text);
}

/** Each file in which something failed, and what: Jest prints it too, but far up, or cut off, where a log ends. */
function failuresOf({ testResults }: Report): string[] {
  return testResults
    .filter(({ status }) => status === "failed")
    .map(({ name, message }) => `failed: ${relative(process.cwd(), name)}\n${message}`);
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { keep: { type: "boolean", default: false } },
  });
  const unknown = positionals.filter((name) => !tiers.some((tier) => tier.name === name));
  if (unknown.length > 0) {
    console.error(`no tier ${unknown.join(", ")}: choose of ${tiers.map((tier) => tier.name).join(", ")}`);
    return 2;
  }
  const clusters = (...args: string[]) =>
    $({ stdio: ["ignore", 2, 2] })`node scripts/clusters/main.ts ${args}`;
  const headline = (text: string) => console.error(chalk.bold(`\n── ${text}`));

  if (positionals.length === 0) {
    headline("check");
    await $({ stdio: ["ignore", 2, 2] })`npm run -s check`;
  }
  const chosen = tiers.filter((tier) => positionals.length === 0 || positionals.includes(tier.name));
  const folder = await mkdtemp(join(tmpdir(), "isthmus-test-"));
  const before = new Set<string>(
    JSON.parse(
      (await $({ nothrow: true, quiet: true })`node scripts/clusters/main.ts status --json`).stdout || "[]",
    ).map((cluster: { name: string }) => cluster.name),
  );
  const sum: Sum = { passed: 0, failed: 0, skipped: 0 };
  const notRun: string[] = [];
  const failures: string[] = [];
  const started = new Set<string>();
  try {
    for (const [index, tier] of chosen.entries()) {
      const reason = await tier.missing();
      if (reason !== undefined) {
        notRun.push(`${tier.name}: not run here, ${reason}`);
        continue;
      }
      headline(tier.name);
      if (tier.clusters) {
        for (const name of tier.clusters.names) if (!before.has(name)) started.add(name);
        await clusters("up", ...tier.clusters.names, ...tier.clusters.options);
      }
      if (tier.images)
        await $({ stdio: ["ignore", 2, 2] })`node scripts/images/main.ts load ${tier.clusters?.names ?? []}`;
      const report = await runTier(tier, folder);
      sum.passed += report.numPassedTests;
      // A file that could not even be loaded is a failure, though no test of it ran.
      sum.failed += report.numFailedTests + report.numRuntimeErrorTestSuites;
      sum.skipped += report.numPendingTests + report.numTodoTests;
      failures.push(...failuresOf(report));
      const needed = new Set(chosen.slice(index + 1).flatMap((later) => later.clusters?.names ?? []));
      const done = [...started].filter((name) => !needed.has(name));
      if (!values.keep && done.length > 0) {
        await clusters("down", ...done);
        for (const name of done) started.delete(name);
      }
    }
  } finally {
    for (const failure of failures) console.log(`${stripVTControlCharacters(failure)}\n`);
    if (!values.keep && started.size > 0) await clusters("down", ...started);
    await rm(folder, { recursive: true, force: true });
  }
  for (const line of notRun) console.log(line);
  console.log(`${sum.passed} passed, ${sum.failed} failed, ${sum.skipped} skipped`);
  return sum.failed === 0 && sum.passed > 0 ? 0 : 1;
}

process.exitCode = await main();
