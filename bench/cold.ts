/**
 * Elements whose headers nobody has fetched yet, against what is usual instead: for each a container from a ready
 * image, `apt-get install linux-headers-…`, make. Toolchains and package indices are there on both sides, and both
 * work on as many elements at once as there are processors.
 *
 *     npm run bench:cold -- [rounds] [kernels of each flavour]
 */
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join, resolve } from "node:path";
import PQueue from "p-queue";
import type { Element } from "../src/matrix/element.ts";
import { DOORBELL, debianRoot, median, PLACE, prepareFarm, spread, timed } from "./measure.ts";

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

const seconds: { kmodfarm: number[]; container: number[]; make: number[] } = {
  ...{ kmodfarm: [], container: [], make: [] },
};
for (let round = 0; round < rounds; round++) {
  seconds.kmodfarm.push(await timeFarm(round));
  const { wall, make } = await timeContainers(round);
  seconds.container.push(wall);
  seconds.make.push(make);
  console.log(
    `round ${round + 1}: kmodfarm ${seconds.kmodfarm.at(-1)?.toFixed(1)} s, containers ${seconds.container.at(-1)?.toFixed(1)} s`,
  );
}
const ratios = seconds.kmodfarm.map((own, index) => (seconds.container[index] as number) / own);
const limits = seconds.make.map((make, index) => (seconds.container[index] as number) / make);
console.log(`${elements.length} elements, ${cores} at once, ${rounds} rounds; medians:
  kmodfarm, nothing fetched:  ${spread(seconds.kmodfarm)}
  container + apt + make:     ${spread(seconds.container)}
  make alone of that:         ${spread(seconds.make)}  (nothing that compiles can be quicker)
  throughput, times:          ${median(ratios).toFixed(1)}  (aim 10; with make alone ${median(limits).toFixed(1)})`);
await rm(place, { recursive: true, force: true });

/** The whole program, from a store that knows the catalog and a cache with nothing but toolchains. */
async function timeFarm(round: number): Promise<number> {
  const [store, cache] = [join(place, `store-${round}`), join(place, `cache-${round}`)];
  await cp(join(place, "catalog"), store, { recursive: true, verbatimSymlinks: true });
  await mkdir(cache);
  await symlink(join(farm.cache, "roots"), join(cache, "roots"));
  return (await farm.kmodfarm("build", "--matrix", matrix, "--store", store, "--cache", cache)).seconds;
}

/** `make` is what compiling alone would take with every processor busy. */
async function timeContainers(round: number): Promise<{ wall: number; make: number }> {
  const queue = new PQueue({ concurrency: cores });
  const started = performance.now();
  const made = await Promise.all(
    elements.map((element, index) => queue.add(() => container(element, `${round}-${index}`))),
  );
  const make = made.reduce((sum, one) => sum + one, 0) / cores;
  return { wall: (performance.now() - started) / 1000, make };
}

/** Returns the seconds of its make. */
async function container({ kversion, compiler }: Element, name: string): Promise<number> {
  const work = join(place, `container-${name}`);
  const compilerName = `${compiler?.family}-${compiler?.version}`;
  const argv = [resolve("bench/apt-element.sh"), root, work, DOORBELL.source, kversion, compilerName];
  await timed(["unshare", "--mount", "--propagation", "private", ...argv]);
  const uptime = async (file: string) => Number.parseFloat(await readFile(join(work, file), "utf8"));
  return (await uptime("after")) - (await uptime("before"));
}
