/**
 * The live Debian catalog: a first crawl and an unchanged one, each by a fresh `kmodfarm catalog update`.
 * kernel-crawler crawls one architecture at a time and needs 19 s (13 s CPU) for Debian's x86_64 on a machine
 * of two cores; give `--peer PATH` to its checkout to measure it in the same run.
 *
 *     npm run bench:catalog -- [--peer PATH] [pairs]
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { stringify } from "yaml";
import { run } from "../src/base/run.ts";
import { openScratch } from "../src/base/scratch.ts";
import { loadConfig } from "../src/farm/config/index.ts";
import { type ArchitectureName, ArchitectureName as Architectures } from "../src/kernel/architecture.ts";

interface Time {
  readonly wall: number;
  readonly cpu: number;
}

interface Crawl {
  /** From the command's start to its end, Node's start and the loading of our own code included. */
  readonly command: Time;
  /** Seconds of the crawl itself. */
  readonly crawl: number;
  readonly kernels: number;
  readonly mebibytes: number;
}

const RECORDED_PEER: Time = { wall: 19, cpu: 13 };

const { values, positionals } = parseArgs({ options: { peer: { type: "string" } }, allowPositionals: true });
const pairs = Number(positionals[0] ?? 3);
const { sources } = await loadConfig({ config: "examples/demo.yaml" });
const ratios: { first: number; again: number; firstCommand: number; againCommand: number }[] = [];
for (let pair = 0; pair < pairs; pair++) {
  const [first, again] = await crawlTwice(["x86_64"]);
  const peer = values.peer === undefined ? RECORDED_PEER : await timePeer(values.peer);
  ratios.push({
    first: first.crawl / peer.wall,
    again: again.crawl / peer.wall,
    firstCommand: first.command.wall / peer.wall,
    againCommand: again.command.wall / peer.wall,
  });
  console.log(`pair ${pair + 1}, x86_64: ${describe(first, again)}`);
  console.log(
    `  kernel-crawler ${peer.wall.toFixed(1)} s, ${peer.cpu.toFixed(1)} s CPU${values.peer === undefined ? " (recorded)" : ""}`,
  );
}
const [first, again] = await crawlTwice(Architectures.options);
console.log(`${Architectures.options.join(" and ")}: ${describe(first, again)}`);
console.log(`${pairs} pairs of x86_64, medians, of kernel-crawler's wall time:`);
console.log(
  `  first:     crawl ${median("first")} (budget 0.100), with the command's start ${median("firstCommand")}`,
);
console.log(
  `  unchanged: crawl ${median("again")} (budget 0.020), with the command's start ${median("againCommand")}`,
);

async function crawlTwice(architectures: readonly ArchitectureName[]): Promise<[Crawl, Crawl]> {
  const place = await mkdtemp(join(tmpdir(), "kmodfarm-bench-"));
  const scratch = await openScratch(join(place, "tmp"));
  const apt = sources.map((source) => ({ ...source, architectures }));
  await scratch.write(join(place, "kmodfarm.yaml"), stringify({ sources: apt }));
  try {
    return [await crawl(place), await crawl(place)];
  } finally {
    await scratch.close();
    await rm(place, { recursive: true });
  }
}

async function crawl(place: string): Promise<Crawl> {
  const argv = [join(process.cwd(), "bin/kmodfarm"), "catalog", "update", "--json"];
  const { time, stdout } = await timed(argv, place);
  const { ms, kernels, traffic } = JSON.parse(stdout) as {
    ms: number;
    kernels: number;
    traffic: { bytes: number };
  };
  return { command: time, crawl: ms / 1000, kernels, mebibytes: traffic.bytes / 2 ** 20 };
}

async function timePeer(path: string): Promise<Time> {
  const argv = ["python3", "-m", "kernel_crawler.main", "crawl", "--distro", "debian", "--arch", "x86_64"];
  return (await timed(argv, path)).time;
}

/** Wall and CPU time of a program and everything it starts. */
async function timed(argv: readonly string[], cwd: string): Promise<{ time: Time; stdout: string }> {
  const script = `TIMEFORMAT='%R %U %S'; time "$@"`;
  const result = await run(["bash", "-c", script, "time", ...argv], { cwd, timeoutMs: 600_000 });
  if (result.exitCode !== 0) throw new Error(result.stderr.slice(-2000));
  const [wall = 0, user = 0, system = 0] = (result.stderr.trim().split("\n").at(-1) ?? "")
    .split(" ")
    .map(Number);
  return { time: { wall, cpu: user + system }, stdout: result.stdout };
}

function describe(first: Crawl, again: Crawl): string {
  const words = ({ crawl, command, mebibytes }: Crawl) =>
    `${crawl.toFixed(2)} s (command ${command.wall.toFixed(2)} s, ${command.cpu.toFixed(2)} s CPU, ${mebibytes.toFixed(1)} MiB)`;
  return `${first.kernels} kernels, first ${words(first)}, unchanged ${words(again)}`;
}

function median(what: keyof (typeof ratios)[number]): string {
  const sorted = ratios.map((ratio) => ratio[what]).toSorted((a, b) => a - b);
  return (sorted[Math.floor(sorted.length / 2)] ?? Number.NaN).toFixed(3);
}
