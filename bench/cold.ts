/**
 * Elements whose headers nobody has fetched yet, against what is usual instead: for each a container from a ready
 * image, `apt-get install linux-headers-…`, make. Toolchains and package indices are there on both sides, and both
 * work on as many elements at once as there are processors. Then the parts that the time consists of, each beside what it
 * takes without us. On a machine that does other things too, processor time says more than the clock.
 *
 *     npm run bench:cold -- [rounds] [kernels of each flavour]
 */
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join, resolve } from "node:path";
import PQueue from "p-queue";
import type { Element } from "../src/matrix/element.ts";
import { DOORBELL, debianRoot, median, PLACE, prepareFarm, spread, timed, usedSeconds } from "./measure.ts";

const [rounds = 3, newest = 4] = process.argv.slice(2).map(Number);
const cores = availableParallelism();
const root = await debianRoot("apt-root", ["gcc-12", "make"]);
const farm = await prepareFarm("cold", {
  drivers: [DOORBELL],
  sources: [{ kind: "apt", releases: ["debian12"] }],
  select: { architectures: ["x86_64"], newest },
});
// Each measurement in places of its own, and nothing is removed before the end: for minutes ext4 looks past every file
// that was, one by one, before it makes a new one.
await mkdir(PLACE, { recursive: true });
const place = await mkdtemp(join(PLACE, "cold-"));
const elements = JSON.parse((await farm.kmodfarm("matrix", "generate")).stdout) as Element[];
const matrix = join(place, "matrix.json");
await writeFile(matrix, JSON.stringify(elements));
// A store that knows the kernels and has nothing built.
await farm.kmodfarm("catalog", "update", "--store", join(place, "catalog"));

/** By the clock, and of processors. */
interface Cost {
  readonly seconds: number;
  readonly used: number;
}
const PARTS = ["kmodfarm", "again", "unpack", "open", "container", "make"] as const;
type Part = (typeof PARTS)[number];
const costs = Object.fromEntries(PARTS.map((part) => [part, [] as Cost[]])) as Record<Part, Cost[]>;
for (let round = 0; round < rounds; round++) {
  costs.kmodfarm.push(await costOf(() => runFarm(round)));
  costs.again.push(await costOf(() => runFarm(round, "again")));
  costs.unpack.push(await costOf(() => forEachPackage(round, "extract")));
  costs.open.push(await costOf(() => forEachPackage(round, "open")));
  const makes: Cost[] = [];
  costs.container.push(await costOf(() => runContainers(round, makes)));
  const sum = (of: keyof Cost) => makes.reduce((total, one) => total + one[of], 0);
  costs.make.push({ seconds: sum("seconds") / cores, used: sum("used") });
  const words = PARTS.map((part) => `${part} ${costs[part].at(-1)?.seconds.toFixed(1)}`);
  console.log(`round ${round + 1}, seconds: ${words.join(", ")}`);
}
const ratio = (part: Part, to: Part, of: keyof Cost = "seconds") =>
  median(costs[part].map((cost, index) => cost[of] / (costs[to][index] as Cost)[of]));
const shown = (part: Part) => {
  const used = median(costs[part].map((cost) => cost.used));
  return `${spread(costs[part].map((cost) => cost.seconds))}, ${used.toFixed(1)} s of processors`;
};
const used = (part: Part) => median(costs[part].map((cost) => cost.used));
console.log(`${elements.length} elements, ${cores} at once, ${rounds} rounds; medians:
  kmodfarm, nothing fetched:  ${shown("kmodfarm")}
  container + apt + make:     ${shown("container")}
  make alone of that:         ${shown("make")}  (nothing that compiles can be quicker)
  kmodfarm / make:            ${ratio("kmodfarm", "make").toFixed(2)}, of processors ${ratio("kmodfarm", "make", "used").toFixed(2)}  (aim 1.25)
  throughput, times:          ${ratio("container", "kmodfarm").toFixed(1)}  (aim 10; with make alone ${ratio("container", "make").toFixed(1)})
what kmodfarm's processor time consists of, and what that takes without us:
  all that is not packages:   ${used("again").toFixed(1)} s  (kmodfarm with its packages unpacked; make alone ${used("make").toFixed(1)} s)
  fetching and unpacking:     ${(used("kmodfarm") - used("again")).toFixed(1)} s  (dpkg-deb to this disk ${used("unpack").toFixed(1)} s, to nowhere ${used("open").toFixed(1)} s, once each)
  the least there can be:     ${((used("make") + used("open")) / used("make")).toFixed(2)} of make  (make, and what undoes the compression)`);
await rm(place, { recursive: true, force: true });

/** Runs work of one kind, when nothing else is under way here. */
async function costOf(work: () => Promise<unknown>): Promise<Cost> {
  const [started, before] = [performance.now(), usedSeconds()];
  await work();
  return { seconds: (performance.now() - started) / 1000, used: usedSeconds() - before };
}

/**
 * The whole program, from a store that knows the catalog and a cache with nothing but toolchains; `again`: and the
 * packages of the round.
 */
async function runFarm(round: number, again?: "again"): Promise<void> {
  const name = again === undefined ? `${round}` : `${round}-${again}`;
  const [store, cache] = [join(place, `store-${name}`), join(place, `cache-${name}`)];
  await cp(join(place, "catalog"), store, { recursive: true, verbatimSymlinks: true });
  await mkdir(cache);
  await symlink(join(farm.cache, "roots"), join(cache, "roots"));
  if (again !== undefined)
    for (const room of ["inputs", "trees"])
      await symlink(join(place, `cache-${round}`, room), join(cache, room));
  await farm.kmodfarm("build", "--matrix", matrix, "--store", store, "--cache", cache);
}

const EACH = {
  extract: 'dpkg-deb --extract "$1" "$2"',
  open: 'dpkg-deb --fsys-tarfile "$1" >/dev/null',
} as const;

/** What Debian's own program does with each package that the round fetched, with every processor busy. */
async function forEachPackage(round: number, what: keyof typeof EACH): Promise<void> {
  const inputs = join(place, `cache-${round}`, "inputs");
  const packages = (await readdir(inputs)).filter((name) => name.endsWith(".deb"));
  const queue = new PQueue({ concurrency: cores });
  const target = join(place, `unpacked-${round}`);
  await mkdir(target, { recursive: true });
  await queue.addAll(
    packages.map(
      (name) => () => timed(["sh", "-c", EACH[what], "sh", join(inputs, name), join(target, name)]),
    ),
  );
}

async function runContainers(round: number, makes: Cost[]): Promise<void> {
  const queue = new PQueue({ concurrency: cores });
  await queue.addAll(
    elements.map((element, index) => async () => {
      makes.push(await container(element, `${round}-${index}`));
    }),
  );
}

/** Returns what its make cost. */
async function container({ kversion, compiler }: Element, name: string): Promise<Cost> {
  const work = join(place, `container-${name}`);
  const compilerName = `${compiler?.family}-${compiler?.version}`;
  const argv = [resolve("bench/apt-element.sh"), root, work, DOORBELL.source, kversion, compilerName];
  await timed(["unshare", "--mount", "--propagation", "private", ...argv]);
  const read = (file: string) => readFile(join(work, file), "utf8");
  const uptime = async (file: string) => Number.parseFloat(await read(file));
  const used = async (file: string) => childrenOf(await read(file));
  return {
    seconds: (await uptime("after")) - (await uptime("before")),
    used: (await used("used-after")) - (await used("used-before")),
  };
}

/** Seconds in the second line of what a shell's `times` says: `1m2.5s 0m0.4s`. */
function childrenOf(text: string): number {
  const times = [...(text.split("\n")[1] ?? "").matchAll(/(\d+)m([\d.]+)s/g)];
  return times.reduce((sum, [, minutes, seconds]) => sum + Number(minutes) * 60 + Number(seconds), 0);
}
