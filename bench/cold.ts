/**
 * Elements whose headers nobody has fetched yet, against what is usual instead: for each a container from a ready
 * image, `apt-get install linux-headers-…`, make. Toolchains and package indices are there on both sides, and both
 * work on as many elements at once as there are processors.
 *
 *     npm run bench:cold -- [rounds] [kernels of each flavour]
 */
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
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

const seconds: Record<"kmodfarm" | "container" | "make" | "unpack", number[]> = {
  ...{ kmodfarm: [], container: [], make: [], unpack: [] },
};
for (let round = 0; round < rounds; round++) {
  seconds.kmodfarm.push(await timeFarm(round));
  seconds.unpack.push(await timeUnpacking(round));
  const { wall, make } = await timeContainers(round);
  seconds.container.push(wall);
  seconds.make.push(make);
  console.log(
    `round ${round + 1}: kmodfarm ${seconds.kmodfarm.at(-1)?.toFixed(1)} s, containers ${seconds.container.at(-1)?.toFixed(1)} s`,
  );
}
const ratios = seconds.kmodfarm.map((own, index) => (seconds.container[index] as number) / own);
const over = seconds.kmodfarm.map((own, index) => own / (seconds.make[index] as number));
const overBoth = seconds.kmodfarm.map(
  (own, index) => own / ((seconds.make[index] as number) + (seconds.unpack[index] as number)),
);
const limits = seconds.make.map((make, index) => (seconds.container[index] as number) / make);
console.log(`${elements.length} elements, ${cores} at once, ${rounds} rounds; medians:
  kmodfarm, nothing fetched:  ${spread(seconds.kmodfarm)}
  container + apt + make:     ${spread(seconds.container)}
  make alone of that:         ${spread(seconds.make)}  (nothing that compiles can be quicker)
  dpkg-deb alone:             ${spread(seconds.unpack)}  (the same packages unpacked to this disk, once each)
  kmodfarm / make:            ${median(over).toFixed(2)}  (aim 1.25)
  kmodfarm / (make + dpkg):   ${median(overBoth).toFixed(2)}  (what it adds to what cannot be left out)
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

/** What Debian's own program takes to unpack each package that the round fetched, with every processor busy. */
async function timeUnpacking(round: number): Promise<number> {
  const inputs = join(place, `cache-${round}`, "inputs");
  const packages = (await readdir(inputs)).filter((name) => name.endsWith(".deb"));
  const queue = new PQueue({ concurrency: cores });
  await mkdir(join(place, `unpacked-${round}`));
  const started = performance.now();
  await queue.addAll(
    packages.map(
      (name) => () =>
        timed(["dpkg-deb", "--extract", join(inputs, name), join(place, `unpacked-${round}`, name)]),
    ),
  );
  return (performance.now() - started) / 1000;
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
